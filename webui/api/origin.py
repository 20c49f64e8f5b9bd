"""Whether a request may come from where it comes: the Host and Origin checks of the gate.

They keep web pages of other sites away: a page can make a browser send requests to 127.0.0.1 (cross-site request forgery), or
rename 127.0.0.1 to its own host name (DNS rebinding). Programs that are not browsers send no Origin and are not concerned.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from webui.core.errors import StartupError

ANY_HOST = "*"
ANY_ADDRESS = "<address>"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class HostRule:
    """Which Host headers are answered: the loopback names and `allowed`, whatever their port.

    allowed: host names; "*" turns the check off; ANY_ADDRESS adds every literal IP address, which is safe on a network
    because a rebinding page always comes under a name.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        names = tuple(allowed)
        self._off = ANY_HOST in names
        self._any_address = ANY_ADDRESS in names
        self._names = frozenset(_plain_host(name) for name in (*LOOPBACK_NAMES, *names))

    def refusal(self, headers: Headers) -> str | None:
        """Why this Host is not answered, or None."""
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            return f"Got {len(hosts)} Host headers; send exactly one."
        if self._off:
            return None
        host = _host_name(hosts[0])
        if host is not None and (host in self._names or (self._any_address and _is_address(host))):
            return None
        return (
            f"This server does not answer to the host {hosts[0][:100]!r}. Use http://127.0.0.1 with its port, "
            "or start it with --allowed-hosts and that name."
        )


class OriginRule:
    """Which web pages may talk to the server: its own, and those of the allowed origins.

    origins: exact origins ("https://example.com").   regex: a pattern that a whole origin matches.
    """

    def __init__(self, origins: Iterable[str] = (), regex: str | None = None) -> None:
        self.origins = tuple(_checked_origin(origin) for origin in origins)
        self._regex = re.compile(regex) if regex else None

    def refusal(self, headers: Headers, *, changes_state: bool) -> str | None:
        """Why a request from that page is not answered, or None.  changes_state: also look at Sec-Fetch-Site."""
        origins = headers.getlist("origin")
        if len(origins) > 1:
            return f"Got {len(origins)} Origin headers; send at most one."
        if origins and not self._allows(origins[0], headers.get("host", "")):
            return f"Pages of {origins[0][:100]!r} may not use this server. If they are yours, start it with --cors-allow-origins."
        if not origins and changes_state and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "Pages of other sites may not use this server. Open its own page, or start it with --cors-allow-origins."
        return None

    def _allows(self, origin: str, host: str) -> bool:
        if origin == "null":
            return False
        if origin in self.origins or (self._regex is not None and self._regex.fullmatch(origin)):
            return True
        scheme, _, rest = origin.partition("://")
        # The scheme is not compared with ours: behind a proxy that ends TLS we see http where the browser sees https.
        return scheme in ("http", "https") and rest.lower() == host.lower()


def _checked_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or f"{parts.scheme}://{parts.netloc}" != origin:
        raise StartupError(
            f"--cors-allow-origins got {origin!r}; give exact origins such as https://example.com (no path, no '*', not 'null'), "
            "because every page allowed there can use this server in its visitors' names."
        )
    return origin


def _host_name(header: str) -> str | None:
    """The name in a Host header without its port; None if it is malformed."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", header)
    return _plain_host(match[1]) if match else None


def _plain_host(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
