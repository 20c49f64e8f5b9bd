"""Noticing that a file or folder changed since it was read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

# The coarsest clock of a file system in use (FAT): within it a second change may leave the same time.
SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class FileStamp:
    """A file's state just before it was read.

    identity: of the file and its last change; None where there was none.   is_settled: that change was long enough ago for
    another one to be told from it.
    """

    identity: tuple[int, int, int] | None
    is_settled: bool

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """The state now; to be taken before reading, so that a change during it is noticed."""
        now = time.time_ns()
        try:
            stat = path.stat()
        except OSError:
            return cls(None, True)
        return cls((stat.st_mtime_ns, stat.st_size, stat.st_ino), now - stat.st_mtime_ns > SETTLED_NS)

    def holds(self, path: Path) -> bool:
        """Whether what was read then is right now; a recent change is never trusted."""
        return self.is_settled and FileStamp.of(path).identity == self.identity
