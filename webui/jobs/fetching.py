"""Fetching a large file: into a part file beside its place, going on where an earlier try has ended."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from webui import __version__
from webui.core.errors import InvalidRequest, ModelError, NotFound, WebuiError
from webui.core.files import check_room, write_atomically
from webui.core.web import Line, Web, get

TRIES = 5
BLOCK = 1024 * 1024
MAX_NOTE = 16 * 1024
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_LATER = (408, 425, 429, 500, 502, 503, 504)


class CutOff(WebuiError):
    """Somebody ended the download."""


@dataclass(frozen=True)
class Received:
    """Bytes so far, and of the whole file where that is known."""

    bytes: int
    total: int | None


@dataclass(frozen=True)
class Parts:
    """Where an unfinished file lies.  file: its bytes.   note: which file on the server they belong to."""

    file: Path
    note: Path

    def remove(self) -> None:
        """Throw all away."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(url: str, parts: Parts, *, limit: int, web: Web, line: Line) -> Iterator[Received]:
    """Fetch a file, trying again when the connection breaks.  limit: bytes.

    Raises CutOff, NotFound, InvalidRequest, ModelError. What has come so far stays for the next time.
    """
    failures = 0
    while True:
        before = _size(parts.file)
        try:
            yield from _attempt(url, parts, limit=limit, web=web, line=line)
        except (ConnectionError, TimeoutError, OSError, http.client.HTTPException) as error:
            if line.cut_off.is_set():
                raise CutOff("The download was ended.") from None
            failures = 0 if _size(parts.file) > before else failures + 1
            if failures >= TRIES:
                raise ModelError(
                    f"The file could not be fetched ({type(error).__name__}: {error}). What has come is kept: try again to go on."
                ) from None
            line.cut_off.wait(web.seconds_between_tries)
        else:
            return


def _attempt(url: str, parts: Parts, *, limit: int, web: Web, line: Line) -> Iterator[Received]:
    have, note = _resumable(url, parts)
    headers = {"User-Agent": f"webui/{__version__}"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": note}
    connection, response = get(url, headers, web, line)
    try:
        if response.status == 416 and have and response.getheader("Content-Range") == f"bytes */{have}":
            yield Received(have, have)  # all had come before
            return
        have, total = _read_beginning(response, have)
        if total is not None:
            _check_size(total, limit)
            check_room(parts.file.parent, total - have)
        if not have:
            parts.remove()
            _note(url, response, parts)
        yield from _receive(response, parts.file, Received(have, total), limit=limit, line=line)
    except _StartAgain:
        parts.remove()
        raise
    finally:
        line.hold(None)
        connection.close()


def _receive(response: http.client.HTTPResponse, path: Path, so_far: Received, *, limit: int, line: Line) -> Iterator[Received]:
    have, total = so_far.bytes, so_far.total
    with path.open("ab") as file:
        while block := response.read1(BLOCK):
            have += len(block)
            _check_size(have, limit)
            if total is not None and have > total:
                raise ModelError("The server sent more than it said. Try again, or another address.")
            _write(file, block, path)
            if line.cut_off.is_set():
                raise ConnectionAbortedError("cut off")
            yield Received(have, total)
    if line.cut_off.is_set() or (total is not None and have < total):
        raise ConnectionError(f"the connection ended after {have} bytes")


def _write(file: BinaryIO, block: bytes, path: Path) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise ModelError(
            f"{path.parent.name}/ cannot be written to: {error.strerror}. Make room, and try again to go on from there."
        ) from None


class _StartAgain(ConnectionError):
    """What has come cannot be gone on from."""


def _read_beginning(response: http.client.HTTPResponse, asked_from: int) -> tuple[int, int | None]:
    """From which byte on the answer is, and how long the whole file is.  Raises what `fetch` does."""
    status = response.status
    if status == 206 and asked_from:
        found = _RANGE.fullmatch(response.getheader("Content-Range") or "")
        if not found or int(found[1]) != asked_from:
            raise _StartAgain("the server sent another part than was asked for")
        return asked_from, int(found[3])
    if status == 416 and asked_from:
        raise _StartAgain("the server does not go on from there")
    if status in _LATER:
        raise ConnectionError(f"the server answers {status}")
    if status in (401, 403):
        raise InvalidRequest(f"The server answers {status}: the file is only for those who have logged in there. Fetch it in the browser.")
    if status in (404, 410):
        raise NotFound(f"The server answers {status}: there is no such file. Check the address.")
    if status != 200:
        raise ModelError(f"The server answers {status}. Check the address.")
    if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
        raise ModelError("The server sends the file compressed, which was not asked for. Try another address.")
    if (response.getheader("Content-Type") or "").partition(";")[0].strip().lower() == "text/html":
        raise ModelError("The address leads to a web page, not to a file. Copy the address of the download itself.")
    length = response.getheader("Content-Length") or ""
    return 0, int(length) if length.isdecimal() else None


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise InvalidRequest(
            f"The file has {size / 1e9:.2f} GB or more, and {limit / 1e9:.2f} GB may be fetched; model_download_limit_gb in the settings "
            "says how much."
        )


def _resumable(url: str, parts: Parts) -> tuple[int, str]:
    """How many bytes are there to go on from, and what the server called that version; 0 when it is not sure that they fit."""
    try:
        note = json.loads(parts.note.read_bytes()[:MAX_NOTE])
    except (OSError, ValueError):
        return 0, ""
    version = note.get("version") if isinstance(note, dict) and note.get("url") == url else None
    return (_size(parts.file), version) if isinstance(version, str) and version else (0, "")


def _note(url: str, response: http.client.HTTPResponse, parts: Parts) -> None:
    tag = response.getheader("ETag") or ""
    # A weak tag is not for ranges, as RFC 9110 (13.1.5) has it.
    version = tag if tag and not tag.startswith("W/") else response.getheader("Last-Modified") or ""
    if version and (response.getheader("Accept-Ranges") or "bytes").lower() == "bytes":
        write_atomically(parts.note, json.dumps({"url": url, "version": version}).encode())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
