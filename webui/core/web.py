"""Reaching an address on the web that somebody else named, in such a way that nobody gets at our own network by it.

The address that is connected to is the one that was judged: a name is resolved once, every address of it is checked, the connection goes to
such an address, and its peer is checked again. Every redirect is judged anew. No proxy and no credentials are taken from anywhere.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from webui.core.errors import InvalidRequest

MAX_URL = 4096
MAX_HOPS = 6
SECONDS_TO_ANSWER = 30.0
REDIRECTS = (301, 302, 303, 307, 308)
# Address spaces whose addresses carry another one, which a gateway on our network may reach.
_TUNNELS = ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")


class LocalAddress(InvalidRequest):
    """An address leads to this machine's own network."""


def is_public(address: str) -> bool:
    """Whether an address belongs to the open internet: not this machine, its network, a cloud's metadata, or a tunnel to such."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped or parsed.sixtofour or parsed.teredo:
            return False
        if any(parsed in ipaddress.ip_network(tunnel) for tunnel in _TUNNELS):
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host.  Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Web:
    """What may be reached, and how; tests give another one to reach a server of their own.

    schemes, ports: which are allowed; ports None for any.
    """

    resolve: Callable[[str, int], Sequence[str]] = resolve
    allows: Callable[[str], bool] = is_public
    schemes: frozenset[str] = frozenset({"https"})
    ports: frozenset[int] | None = frozenset({443})
    seconds_between_tries: float = 3.0

    def check(self, url: str) -> SplitResult:
        """The parts of a URL that may be asked for.  Raises InvalidRequest, without the URL, in which there may be a password."""
        if len(url) > MAX_URL or not url.isascii() or any(sign <= " " or sign in '\x7f\\"<>' for sign in url):
            raise InvalidRequest("The address is too long, or has spaces or signs that no URL has. Copy it again.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidRequest("The address cannot be read as a URL. Copy it again.") from None
        if parts.scheme not in self.schemes:
            raise InvalidRequest(f"The address begins with {parts.scheme[:20]!r}; it has to begin with https://.")
        if not parts.hostname or "@" in parts.netloc or "%" in parts.netloc:
            raise InvalidRequest("The address has no plain host name, or a user in it. Give https:// and the host without a user.")
        if self.ports is not None and port is not None and port not in self.ports:
            raise InvalidRequest(f"The address has the port {port}, which is not asked. Leave it out.")
        return parts

    def connect(self, parts: SplitResult) -> socket.socket:
        """A connection to a host all of whose addresses are allowed.  Raises InvalidRequest, OSError."""
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        addresses = self.resolve(host, port)
        if not addresses or not all(self.allows(address) for address in addresses):
            raise self._local(host)
        raw = self._connect_to_one(addresses, port)
        try:
            if not self.allows(str(raw.getpeername()[0])):
                raise self._local(host)
            return ssl.create_default_context().wrap_socket(raw, server_hostname=host) if parts.scheme == "https" else raw
        except BaseException:
            raw.close()
            raise

    @staticmethod
    def _connect_to_one(addresses: Sequence[str], port: int) -> socket.socket:
        errors: list[OSError] = []
        for address in dict.fromkeys(addresses):
            try:
                return socket.create_connection((address, port), timeout=SECONDS_TO_ANSWER)
            except OSError as error:
                errors.append(error)
        raise errors[0]

    @staticmethod
    def _local(host: str) -> LocalAddress:
        return LocalAddress(f"{host[:100]} is on this machine's own network, from which nothing is fetched. Give a public address.")


class Line:
    """The connection of one download, which another thread may cut. Once cut it stays cut."""

    def __init__(self) -> None:
        self.cut_off = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cut(self) -> None:
        """End whatever waits for the connection."""
        with self._lock:
            self.cut_off.set()
            if self._socket:
                try:
                    # Not an SSLSocket's own method, which would take its state away under the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    return  # the other side was faster

    def hold(self, opened: socket.socket | None) -> None:
        """This is the connection now."""
        with self._lock:
            self._socket = opened


def get(url: str, headers: Mapping[str, str], web: Web, line: Line) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Ask for a URL, going where it redirects to; the connection is the caller's to close.

    Raises InvalidRequest for addresses that are not allowed, OSError, http.client.HTTPException.
    """
    for _ in range(MAX_HOPS):
        parts = web.check(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS_TO_ANSWER)
        try:
            connection.auto_open = 0  # it must never connect by the name, which was judged once
            connection.sock = web.connect(parts)
            line.hold(connection.sock)
            if line.cut_off.is_set():
                raise ConnectionAbortedError("cut off")
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"Host": parts.netloc, "Accept-Encoding": "identity", **headers})
            response = connection.getresponse()
            location = response.getheader("Location")
            if response.status not in REDIRECTS or not location:
                return connection, response
            url = urljoin(url, location)
        except BaseException:
            connection.close()
            raise
        connection.close()
    raise InvalidRequest(f"The address leads on more than {MAX_HOPS - 1} times. Give the one it leads to.")
