"""Hashes of model files: the sha256 that infotexts carry, A1111's old short one, and a thread that computes them ahead."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from webui.catalog.diffusers_folder import files_of, size_and_time
from webui.catalog.scan import ModelFile
from webui.core.errors import WebuiError

log = logging.getLogger(__name__)

BLOCK = 4 * 1024 * 1024
LEGACY_OFFSET = 0x100000
LEGACY_LENGTH = 0x10000
LEGACY_DIGITS = 8


class HashingStopped(WebuiError):
    """The hash was no longer wanted before it was finished."""


def sha256_of(path: Path, stop: threading.Event | None = None) -> str:
    """The sha256 of the whole file, of a folder in diffusers' layout that of its UNet, as hex.

    Raises HashingStopped soon after `stop` is set, OSError.
    """
    return _sha256_from(files_of(path)[0] if path.is_dir() else path, 0, stop)


def addnet_hash_of(path: Path, stop: threading.Event | None = None) -> str:
    """The sha256 of a safetensors file without its header, so that notes in the metadata change nothing: kohya's hash of LoRAs.

    Errors as of sha256_of.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    return _sha256_from(path, 8 + length, stop)


def _sha256_from(path: Path, begin: int, stop: threading.Event | None) -> str:
    digest = hashlib.sha256()
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        file.seek(min(begin, path.stat().st_size))
        while count := file.readinto(block):
            digest.update(block[:count])
            if stop is not None and stop.is_set():
                raise HashingStopped(f"Hashing {path.name} was stopped.")
    return digest.hexdigest()


def legacy_hash_of(path: Path) -> str | None:
    """The first eight digits A1111 once used, of 64 KB at 1 MB; None for folders, and files too short to have any.  Raises OSError."""
    if path.is_dir():
        return None
    with path.open("rb") as file:
        file.seek(LEGACY_OFFSET)
        part = file.read(LEGACY_LENGTH)
    return hashlib.sha256(part).hexdigest()[:LEGACY_DIGITS] if part else None


def as_it_is_now(file: ModelFile) -> ModelFile:
    """The same file with its present size and modification time.  Raises OSError."""
    size, mtime_ns = size_and_time(file.path)
    return replace(file, size=size, mtime_ns=mtime_ns)


class BackgroundHashing:
    """A thread that hashes what has no hash yet, small files first, so that most are known soon.

    pending: the files without a hash.   hash_file: hashes and notes one; it ends early, with HashingStopped, when the event is set.
    """

    def __init__(self, pending: Callable[[], Sequence[ModelFile]], hash_file: Callable[[ModelFile, threading.Event], object]) -> None:
        self._pending = pending
        self._hash_file = hash_file
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._tried: set[tuple[Path, int, int]] = set()
        self._thread = threading.Thread(target=self._run, name="hashing", daemon=True)

    def start(self) -> None:
        """Begin; returns at once. Idempotent."""
        if self._thread.ident is None:
            self._thread.start()

    def wake(self) -> None:
        """There may be new files."""
        self._wake.set()

    def close(self) -> None:
        """Stop in the middle of whatever file it is. Idempotent."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            waiting = [file for file in self._pending() if _version(file) not in self._tried]
            if waiting:
                self._hash(min(waiting, key=lambda file: file.size))
            else:
                self._wake.wait()

    def _hash(self, file: ModelFile) -> None:
        # Each version of a file is tried once: one that cannot be read, or is being written, must not be tried for ever.
        self._tried.add(_version(file))
        try:
            self._hash_file(file, self._stop)
        except HashingStopped:
            return
        except (OSError, WebuiError) as error:
            log.warning("%s cannot be hashed: %s", file.name, error)


def _version(file: ModelFile) -> tuple[Path, int, int]:
    return file.path, file.size, file.mtime_ns
