"""Pictures that a client names by URL: refused unless the settings allow it, and then fetched as core/web.py reaches any address."""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Callable
from typing import TypeVar

from webui.core.errors import InvalidRequest
from webui.core.settings import Settings
from webui.core.web import Line, LocalAddress, Web, get

MAX_BYTES = 32 * 1024 * 1024
SECONDS = 30.0
PART = 64 * 1024
PORTS, SCHEMES = frozenset({80, 443}), frozenset({"http", "https"})
T = TypeVar("T")


def is_url(text: str) -> bool:
    """Whether a client means an address where it could have sent base64."""
    return text[:8].lower().startswith(("http://", "https://"))


def fetch_picture(text: str, settings: Settings) -> str:
    """The picture as base64, fetched if the text is a URL.  Raises InvalidRequest, also when URLs are not allowed."""
    if not is_url(text):
        return text
    if not settings.api_enable_requests:
        raise InvalidRequest(
            "Requests not allowed: pictures are not fetched from URLs. Send the file as base64, or turn on "
            "api_enable_requests in config.json."
        )
    try:
        return base64.b64encode(_fetch(text, settings)).decode("ascii")
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise InvalidRequest(f"Invalid image url: {type(error).__name__}. The picture could not be fetched; send it as base64.") from None


def web_for(settings: Settings) -> Web:
    """What may be reached under these settings."""
    if settings.api_forbid_local_requests:
        return Web(schemes=SCHEMES, ports=PORTS)
    return Web(schemes=SCHEMES, ports=None, allows=lambda address: True)


def _fetch(url: str, settings: Settings) -> bytes:
    deadline = time.monotonic() + SECONDS
    headers = {"User-Agent": settings.api_useragent or "webui", "Accept": "image/*"}
    try:
        connection, response = get(url, headers, web_for(settings), Line())
    except LocalAddress as error:
        raise InvalidRequest(f"Request to local resource not allowed: {error}") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"Invalid image url: {error} Or send the picture as base64.") from None
    try:
        if response.status != 200:
            raise InvalidRequest(f"Invalid image url: it answers {response.status}. Send the picture as base64.")
        return _read(response, deadline)
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/"):
        raise InvalidRequest(f"Invalid image url: it is of type {kind[:80]!r}, not a picture.")
    data = bytearray()
    while part := response.read1(PART):
        data += part
        if len(data) > MAX_BYTES:
            raise InvalidRequest(f"Invalid image url: the picture has more than {MAX_BYTES} bytes. Send a smaller one.")
        if time.monotonic() > deadline:
            raise InvalidRequest(f"Invalid image url: the picture did not come within {SECONDS:g} seconds. Send it as base64.")
    return bytes(data)


def replace_urls(values: T, fetch: Callable[[str], str]) -> T:
    """The same value with each text that is a URL replaced by what it names, in lists and objects too."""
    if isinstance(values, str):
        return fetch(values) if is_url(values) else values  # type: ignore[return-value]
    if isinstance(values, list):
        return [replace_urls(value, fetch) for value in values]  # type: ignore[return-value]
    if isinstance(values, dict):
        return {key: replace_urls(value, fetch) for key, value in values.items()}  # type: ignore[return-value]
    return values
