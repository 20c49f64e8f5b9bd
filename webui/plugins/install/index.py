"""The index of extensions: a JSON file as A1111's, of this machine or of the web, read only when somebody asks."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from webui.core.errors import InvalidRequest
from webui.core.extensions import IndexEntry, InstalledExtension
from webui.core.web import Line, Web, get

MAX_BYTES = 8 * 1024 * 1024
MAX_ENTRIES = 20_000
MAX_TEXT = 1000
NO_INDEX = "No index is set. Give one as extensions_index in the settings: an https:// address, or a JSON file in the data folder."


def read_index(place: str, data: Path, web: Web, installed: Iterable[InstalledExtension]) -> tuple[IndexEntry, ...]:
    """What an index offers, in its order.

    place: an address, or the name of a JSON file below `data`.   web: which hosts may be asked.   Entries that are of no use are left out.
    Raises InvalidRequest.
    """
    if not place.strip():
        raise InvalidRequest(NO_INDEX)
    text = _fetched(place.strip(), web) if "://" in place else _stored(place.strip(), data)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("The index is no JSON.") from None
    listed = content.get("extensions") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise InvalidRequest('The index lists no extensions; it has to be an object with a list called "extensions", as A1111\'s is.')
    here = {_plain(one.source): one for one in installed if one.source and not one.removed}
    entries = (_entry(one, web, here) for one in listed[:MAX_ENTRIES])
    return tuple(entry for entry in entries if entry is not None)


def _entry(one: Any, web: Web, installed: Mapping[str, InstalledExtension]) -> IndexEntry | None:
    """None for what has no name, or no address that could be installed from."""
    if not isinstance(one, dict):
        return None
    name, url = _text(one.get("name")), str(one.get("url") or "")
    if not name or not (url.startswith("pypi:") or url.partition("://")[0] in web.schemes):
        return None
    tags, stars, here = one.get("tags"), one.get("stars"), installed.get(_plain(url))
    return IndexEntry(
        name=name,
        url=url[:MAX_TEXT],
        description=_text(one.get("description")),
        tags=tuple(filter(None, map(_text, tags[:50]))) if isinstance(tags, list) else (),
        added=_text(one.get("added"))[:20],
        stars=stars if isinstance(stars, int) and 0 <= stars < 10**9 else 0,
        folder=here.folder if here else "",
        update=here.update if here else "",
    )


def _text(value: Any) -> str:
    """One line of plain text: some indexes have HTML in their descriptions, which is not shown as such here."""
    text = re.sub(r"<[^<>]{0,200}>", " ", value[: 4 * MAX_TEXT]) if isinstance(value, str) else ""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:MAX_TEXT]


def _plain(url: str) -> str:
    """The same for two spellings of one repository's address."""
    return url.strip().rstrip("/").removesuffix(".git").casefold()


def _stored(name: str, data: Path) -> bytes:
    file = (data / name).resolve()
    if not file.is_relative_to(data.resolve()) or file.suffix.lower() != ".json":
        raise InvalidRequest(f"{name[:80]!r} is no JSON file in the data folder.")
    try:
        with file.open("rb") as opened:
            return _whole(opened.read(MAX_BYTES + 1))
    except OSError as error:
        raise InvalidRequest(f"The index {name[:80]!r} cannot be read: {error.strerror}.") from None


def _fetched(url: str, web: Web) -> bytes:
    try:
        connection, response = get(url, {"Accept": "application/json"}, web, Line())
        try:
            if response.status != http.client.OK:
                raise InvalidRequest(f"The index is not there: the server answered {response.status}.")
            return _whole(response.read(MAX_BYTES + 1))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise InvalidRequest(f"The index cannot be fetched ({type(error).__name__}). Check its address and the connection.") from None


def _whole(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise InvalidRequest(f"The index is larger than {MAX_BYTES // 1024**2} MiB.")
    return content
