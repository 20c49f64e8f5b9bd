"""Writing files so that nobody ever meets half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from webui.core.errors import InvalidRequest

SPARE_BYTES = 128 * 1024 * 1024


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a crash, meets either the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def written_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden file beside this one to write to, which gets this one's name in one step when the block ends without an error.

    Raises FileExistsError when the name is taken and may not be overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        elif not publish(temporary, path):
            raise FileExistsError(path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> bool:
    """Give a whole file its final name, in one step; False when the name is taken. The temporary name may be left."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: reserve the name, then put the file in its place.
        try:
            path.open("xb").close()
        except FileExistsError:
            return False
        try:
            temporary.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return True


def check_room(folder: Path, size: int) -> None:
    """Raises InvalidRequest when a file of so many bytes does not fit into a folder's disk, with some room to spare."""
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise InvalidRequest(
            f"The file needs {size / 1e9:.2f} GB, and {folder.name}/ has {free / 1e9:.2f} GB free. Make room on that disk."
        )


def sweep(folder: Path, pattern: str, *, seconds: float) -> None:
    """Remove unfinished files of that pattern that nobody has written to for so long: what a crash has left."""
    oldest = time.time() - seconds
    for path in folder.glob(pattern):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
