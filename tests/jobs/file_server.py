"""A real HTTP server of one file, that can break connections, redirect, and forget to say things."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from webui.core.web import Web


@dataclass
class Served:
    """What the server does.  breaks: after how many bytes it hangs up, one for each of the next answers.   asked: paths and ranges."""

    content: bytes
    tag: str = '"one"'
    modified: str = ""
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    says_length: bool = True
    knows_ranges: bool = True
    gate: threading.Event = field(default_factory=threading.Event)
    waits_after: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    address: str = ""

    @property
    def web(self) -> Web:
        """What lets only this server be reached: it is on loopback, without TLS."""
        return Web(lambda _host, _port: ["127.0.0.1"], lambda address: address == "127.0.0.1", frozenset({"http"}), None, 0.01)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        served = self.served
        served.asked.append((self.path, self.headers.get("Range")))
        served.seen.append(dict(self.headers))
        if self.path in served.redirects:
            self._answer(302, {"Location": served.redirects[self.path], "Content-Length": "0"})
        elif served.statuses:
            self._answer(served.statuses.pop(0), {"Content-Length": "0"})
        else:
            self._send()

    def _send(self) -> None:
        served = self.served
        data, status, headers = served.content, 200, dict(served.headers)
        wanted = self.headers.get("Range")
        fits = self.headers.get("If-Range") in (served.tag, served.modified)
        if wanted and fits and served.knows_ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(data):
                self._answer(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"})
                return
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            data, status = data[begin:], 206
        headers |= {"ETag": served.tag} if served.tag else {}
        headers |= {"Last-Modified": served.modified} if served.modified else {}
        if served.says_length:
            headers["Content-Length"] = str(len(data))
        else:
            self.close_connection = True
        self._answer(status, headers)
        stop = served.breaks.pop(0) if served.breaks else len(data)
        if served.waits_after is not None:
            self.wfile.write(data[: served.waits_after])
            served.gate.wait(20)
            data, stop = data[served.waits_after :], stop - served.waits_after
        self.wfile.write(data[: max(0, stop)])
        if stop < len(data):
            self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Clients of these tests hang up."""


@contextmanager
def serving(content: bytes) -> Iterator[Served]:
    """Serve a file under every path."""
    served = Served(content)
    handler = type("Handler", (_Handler,), {"served": served})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    served.address = f"http://models.example:{server.server_address[1]}"
    try:
        yield served
    finally:
        served.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
