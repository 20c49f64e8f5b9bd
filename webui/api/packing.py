"""Answers that carry pictures as base64, packed for clients that take gzip.

Base64 of a packed picture repeats nothing, so looking for repetitions takes most of gzip's time and makes the answer larger;
Huffman's codes alone give back the quarter that base64 adds. All other answers are left to the usual middleware around this one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from zlib_ng import zlib_ng

MINIMUM_BYTES = 32 * 1024
# Looked at in three places of an answer to tell what it is made of.
_SAMPLE_BYTES = 4096
PICTURE_PATHS = ("/sdapi/", "/v1/")
_GZIP = 16 + zlib.MAX_WBITS


def picture_answer(images: Sequence[str], rest: Mapping[str, Any]) -> Response:
    """{"images": [...], ...} as JSON.  images: base64, in which a JSON writer would look at each letter in vain.   rest: not empty."""
    listed = ",".join(f'"{image}"' for image in images)
    return Response(b"".join((b'{"images":[', listed.encode("ascii"), b"],", JSONResponse(rest).body[1:])), media_type="application/json")


class PicturePacking:
    """ASGI middleware, inside GZipMiddleware, which passes on what is packed already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            await self._app(scope, receive, _Answer(send).send)
        else:
            await self._app(scope, receive, send)


class PlainForNeighbours:
    """ASGI middleware, outside GZipMiddleware: what a program on this machine posts is answered unpacked.

    Packing pictures and unpacking them again takes 4 ms, which is longer than their way. Whom a proxy asks for counts, not the proxy:
    uvicorn reads X-Forwarded-For.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(PICTURE_PATHS) and _is_near(scope):
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}
        await self._app(scope, receive, send)


def _is_near(scope: Scope) -> bool:
    try:
        return ip_address((scope.get("client") or ("",))[0]).is_loopback
    except ValueError:
        return False


class _Answer:
    """Holds the beginning of a JSON answer back until its body is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            if headers.get("content-type", "").startswith("application/json") and "content-encoding" not in headers:
                self._start = message
                return
        elif self._start is not None:
            start, self._start = self._start, None
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                message = await _packed(start, message)
            await self._send(start)
        await self._send(message)


async def _packed(start: Message, message: Message) -> Message:
    body = message.get("body", b"")
    if len(body) < MINIMUM_BYTES or not repeats_nothing(body):
        return message
    packed = await run_in_threadpool(pack, body)
    headers = MutableHeaders(raw=start["headers"])
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(packed))
    headers.add_vary_header("Accept-Encoding")
    return {**message, "body": packed}


def repeats_nothing(body: bytes) -> bool:
    """Whether looking for repetitions would gain nothing, as far as samples tell."""
    places = (len(body) * quarter // 4 for quarter in (1, 2, 3))
    samples = [body[place : place + _SAMPLE_BYTES] for place in places]
    return all(len(pack(one)) <= len(zlib.compress(one, 1, _GZIP)) for one in samples)


def pack(body: bytes) -> bytes:
    """As gzip, by Huffman's codes alone."""
    packer = zlib_ng.compressobj(1, zlib_ng.DEFLATED, _GZIP, 9, zlib_ng.Z_HUFFMAN_ONLY)
    return packer.compress(body) + packer.flush()
