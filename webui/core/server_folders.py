"""Folders on this machine that a page may name: those under a few roots, and the pictures in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from webui.core.errors import InvalidRequest

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp"})
MAX_FILE_BYTES = 256 * 1024 * 1024


def find_folder(named: str, roots: Iterable[Path], *, base: Path) -> Path:
    """The real folder of that name, absolute or relative to `base`.

    Raises InvalidRequest for a folder that is not there, and alike for one that does not lie under a root when all links are
    followed, so that nobody learns what there is elsewhere.
    """
    roots = tuple(roots)
    try:
        folder = (base / named.strip()).resolve(strict=True)
        inside = folder.is_dir() and any(folder.is_relative_to(root.resolve()) for root in roots)
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        allowed = " or ".join(f"{root.name}/" for root in roots)
        raise InvalidRequest(f"The folder {named.strip()[:200]!r} is not there, or not in {allowed} of the data folder. Put it there.")
    return folder


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder by name, without those of its subfolders, links, and hidden files."""
    files = sorted(folder.iterdir(), key=lambda file: file.name.lower())
    return [
        file
        for file in files
        if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file() and not file.is_symlink() and file.name[0] != "."
    ]


def read_picture_file(file: Path) -> bytes:
    """A file's bytes.  Raises InvalidRequest when it is gone, too large, or may not be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"{file.name} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRequest(f"{file.name} has more than {MAX_FILE_BYTES} bytes, which is too much for a picture.")
    return data
