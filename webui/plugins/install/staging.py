"""Where extensions are made ready, and how one takes its place: in one step, or not at all.

    extensions/NAME                 an extension
    extensions/.staging/ID.lock     held by the process that works in extensions/.staging/ID, as long as it lives
    extensions/.staging/ID/N/       one thing being made;   ready/: what it is;   swap: whose place it takes;   old/: what was there
    extensions/.trash/NAME          what was removed

What a crash leaves is put right by the next start, of whichever process: what was on its way out comes back if nothing took its place.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from webui.core.errors import InvalidRequest
from webui.core.files import write_atomically
from webui.plugins.manifest import check_folder_name

log = logging.getLogger(__name__)

STAGING, TRASH = ".staging", ".trash"
SWAP, OLD, READY = "swap", "old", "ready"
SECONDS_FOR_OTHERS = 30.0


class Staging:
    """The places of one process. Nothing is on the disk until the first is asked for.  extensions: the folder of all extensions."""

    def __init__(self, extensions: Path) -> None:
        self._extensions = extensions
        self._folder = extensions / STAGING
        self._id = uuid.uuid4().hex
        self._guard = threading.Lock()
        self._lock: FileLock | None = None

    def new_place(self) -> Path:
        """A fresh folder on the disk of the extensions."""
        with self._guard:
            if self._lock is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock(self._folder / f"{self._id}.lock", thread_local=False)
                self._lock.acquire()
        place = self._folder / self._id / uuid.uuid4().hex
        place.mkdir(parents=True)
        return place

    def discard(self, place: Path) -> None:
        """A place is not needed any more."""
        shutil.rmtree(place, ignore_errors=True)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Held while extensions/ is changed: by one process, and one of its threads, at a time.  Raises InvalidRequest."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self._folder / "changing.lock").acquire(timeout=SECONDS_FOR_OTHERS)
        except Timeout:
            raise InvalidRequest("Another extension is being installed just now. Try again when it is done.") from None
        with lock:
            yield

    def put(self, place: Path, name: str) -> None:
        """Let a folder take its place as extensions/NAME. On any error what was there is there again.  Raises InvalidRequest.

        place: one of the places; the folder is its `ready`.
        """
        target = self._extensions / name
        write_atomically(place / SWAP, json.dumps(name).encode())
        try:
            if os.path.lexists(target):
                target.rename(place / OLD)
            (place / READY).rename(target)
        except BaseException as error:
            _bring_back(place / OLD, target)
            if isinstance(error, OSError):
                raise InvalidRequest(f"extensions/{name} cannot be replaced: {error.strerror}. {_WAY_OUT}") from None
            raise
        self.discard(place)

    def throw_away(self, name: str) -> Path:
        """Move an extension out of the way; where it is then.  Raises InvalidRequest."""
        folder, number = self._extensions / TRASH, 0
        try:
            folder.mkdir(exist_ok=True)
            while os.path.lexists(target := folder / f"{name}{f'-{number}' if number else ''}"):
                number += 1
            (self._extensions / name).rename(target)
        except OSError as error:
            raise InvalidRequest(f"extensions/{name} cannot be moved into the trash: {error.strerror}. {_WAY_OUT}") from None
        return target

    def sweep(self) -> None:
        """Put right what processes that are gone have left unfinished."""
        if not self._folder.is_dir():
            return
        for lock in self._folder.glob("?" * 32 + ".lock"):
            if lock.stem != self._id:
                self._sweep_one(lock)

    def close(self) -> None:
        """Nothing is made ready any more."""
        if self._lock is not None:
            shutil.rmtree(self._folder / self._id, ignore_errors=True)
            with suppress(OSError):  # Windows keeps open files; filelock removes it there
                (self._folder / f"{self._id}.lock").unlink()
            self._lock.release()
            self._lock = None

    def _sweep_one(self, path: Path) -> None:
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return
        try:
            left = self._folder / path.stem
            for place in left.iterdir() if left.is_dir() else ():
                self._recover(place)
            shutil.rmtree(left, ignore_errors=True)
            if not left.exists():
                with suppress(OSError):
                    path.unlink()
        finally:
            lock.release()

    def _recover(self, place: Path) -> None:
        try:
            name = check_folder_name(str(json.loads((place / SWAP).read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            return
        if _bring_back(place / OLD, self._extensions / name):
            log.warning("extensions/%s is again what it was before its update, which was cut short", name)


_WAY_OUT = "If the program is using it, stop the program, and use python launch.py extensions."


def _bring_back(old: Path, target: Path) -> bool:
    """Whether what was taken out of its place is there again, because nothing else is."""
    if not os.path.lexists(old) or os.path.lexists(target):
        return False
    old.rename(target)
    return True
