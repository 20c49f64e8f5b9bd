"""Which running process a job belongs to, and how another process can tell that its owner is gone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


class Ownership:
    """This process's own lock file, held as long as it lives; the operating system lets go of it however the process ends.

    id: the name under which this process owns jobs; new at each start.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.id = uuid.uuid4().hex
        self._folder = folder
        self._lock = FileLock(self._path(self.id), thread_local=False)
        self._lock.acquire()

    def others(self) -> set[str]:
        """Everybody else who has left a lock file, alive or dead."""
        return {path.stem for path in self._folder.glob("*.lock")} - {self.id}

    @contextmanager
    def inherit(self, owner: str) -> Iterator[bool]:
        """Whether an owner is dead; if so, only this process deals with what it left, until the block ends."""
        lock = FileLock(self._path(owner), thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            is_dead = False
        else:
            is_dead = True
        try:
            yield is_dead
            if is_dead:
                self._remove(owner)
        finally:
            lock.release()

    def release(self) -> None:
        """Own nothing any more."""
        self._remove(self.id)
        self._lock.release()

    def _remove(self, owner: str) -> None:
        # Only ever while holding its lock: a lock file that vanishes under a living owner would declare that owner dead.
        with suppress(OSError):  # Windows keeps open files; filelock removes it there
            self._path(owner).unlink(missing_ok=True)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.lock"
