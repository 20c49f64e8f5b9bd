"""Writing the files of a stranger's archive, repository or folder into a fresh folder, and nowhere else."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from webui.core.errors import InvalidRequest
from webui.core.extensions import SheetFile
from webui.plugins.manifest import RESERVED, SITE_PACKAGES

RECORD = ".installed.json"

MAX_FILES = 20_000
MAX_TOTAL = 10**9
MAX_DEPTH = 24
MAX_NAME_BYTES = 200
# Text is packed to a tenth at best; a bomb to a thousandth. Small archives may be anything.
MAX_RATIO = 100
RATIO_COUNTS_FROM = 20 * 10**6
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Unpacked:
    """What was written, by path, and what was not."""

    files: tuple[SheetFile, ...]
    left_out: tuple[str, ...]


class Unpacker:
    """Takes files one by one and writes them below a fresh folder. Raises InvalidRequest on the first one that must not be.

    It makes every folder and file itself, never a link, so that no path can lead out.
    """

    def __init__(self, target: Path) -> None:
        target.mkdir(parents=True)
        self._target = target
        self._files: list[SheetFile] = []
        self._left_out: list[str] = []
        self._seen: set[str] = set()
        self._total = 0

    def add(self, path: str, content: Iterable[bytes]) -> None:
        """Write one file."""
        parts = checked_parts(path)
        if is_compiled(parts):
            # It would be run in place of the source beside it, which is what can be read.
            self._left_out.append(path)
            return
        folded = "/".join(parts).casefold()
        if folded in self._seen:
            raise InvalidRequest(f"{path[:120]!r} is there twice, or in two spellings that some systems take for one.")
        self._seen.add(folded)
        if len(self._seen) > MAX_FILES:
            raise InvalidRequest(f"It has more than {MAX_FILES} files, which no extension has.")
        file = self._target.joinpath(*parts)
        digest, size = hashlib.sha256(), 0
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as opened:
                for chunk in content:
                    size += len(chunk)
                    if self._total + size > MAX_TOTAL:
                        raise InvalidRequest(f"Its files are larger than {MAX_TOTAL / 1e9:.0f} GB together, which no extension's are.")
                    digest.update(chunk)
                    opened.write(chunk)
        except (FileExistsError, NotADirectoryError):
            raise InvalidRequest(f"{path[:120]!r} is a file and a folder at once.") from None
        self._total += size
        self._files.append(SheetFile("/".join(parts), size, digest.hexdigest()))

    def done(self) -> Unpacked:
        """Everything that was taken, by path."""
        return Unpacked(tuple(sorted(self._files, key=lambda file: file.path)), tuple(sorted(self._left_out)))


def checked_parts(path: str) -> tuple[str, ...]:
    """The parts of a relative path that every system takes.  Raises InvalidRequest on all that could lead elsewhere."""
    shown = repr(path[:120])
    parts = tuple(path.split("/"))
    if not path or len(parts) > MAX_DEPTH:
        raise InvalidRequest(f"{shown} is no path of a file, or one of more than {MAX_DEPTH} folders.")
    for part in parts:
        if part in ("", ".", "..") or part.casefold() == ".git":
            raise InvalidRequest(f"{shown} leads out of the extension's folder, or into git's.")
        odd = any(not sign.isprintable() or sign in '\\:*?"<>|' for sign in part)
        if odd or part[-1] in ". " or RESERVED.fullmatch(part) or len(part.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            raise InvalidRequest(f"{shown} is no name of a file on every system.")
    if parts[0].casefold() in (SITE_PACKAGES, RECORD):
        raise InvalidRequest(f"{shown} is a name that this program keeps for itself.")
    return parts


def is_compiled(parts: tuple[str, ...]) -> bool:
    """Whether a file is Python's own compiled form of another."""
    return "__pycache__" in parts or PurePosixPath(parts[-1]).suffix.lower() in (".pyc", ".pyo")


def unpack_zip(archive: Path, target: Path, *, below: str | None = None) -> Unpacked:
    """Write what is in a zip file.  below: only what is in this folder of it, "" for all; None: in its only folder, if it has but one.

    Raises InvalidRequest on paths that lead out, links, encryption, bombs, and on what is no zip file.
    """
    unpacker = Unpacker(target)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            if len(entries) > MAX_FILES:
                raise InvalidRequest(f"It has {len(entries)} files; no extension has more than {MAX_FILES}.")
            for entry in entries:
                _check_entry(entry)
            folder = only_folder(entries) if below is None else below
            _check_ratio(entries, archive)
            for entry in entries:
                if entry.orig_filename.startswith(folder):
                    unpacker.add(entry.orig_filename[len(folder) :], _content(opened, entry))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The zip file cannot be read: {str(error)[:200] or type(error).__name__}.") from None
    return unpacker.done()


def only_folder(entries: Iterable[zipfile.ZipInfo]) -> str:
    """The folder in which all of them are, with its slash, as in an archive of GitHub's; "" when there is none."""
    firsts = {entry.orig_filename.partition("/")[0] if "/" in entry.orig_filename else "" for entry in entries}
    first = firsts.pop() if len(firsts) == 1 else ""
    return f"{first}/" if first else ""


def copy_folder(source: Path, target: Path) -> Unpacked:
    """Write what is in a folder of this machine, without git's own and without what this program put there.  Raises InvalidRequest."""
    unpacker = Unpacker(target)
    for place, folders, names in os.walk(source):
        top = Path(place) == source
        folders[:] = sorted(name for name in folders if name != ".git" and not (top and name == SITE_PACKAGES))
        for name in sorted((*names, *(folder for folder in folders if Path(place, folder).is_symlink()))):
            file = Path(place, name)
            if not stat.S_ISREG(file.lstat().st_mode):
                raise InvalidRequest(f"{name[:120]!r} is a link or no plain file; an extension is made of plain files.")
            if name != ".git" and not (top and name == RECORD):
                unpacker.add(file.relative_to(source).as_posix(), _chunks_of(file))
    return unpacker.done()


def measure(folder: Path, files: Iterable[Path]) -> tuple[SheetFile, ...]:
    """Size and SHA-256 of files below a folder, by path."""
    found = []
    for file in files:
        digest, size = hashlib.sha256(), 0
        for chunk in _chunks_of(file):
            digest.update(chunk)
            size += len(chunk)
        found.append(SheetFile(file.relative_to(folder).as_posix(), size, digest.hexdigest()))
    return tuple(sorted(found, key=lambda one: one.path))


def _chunks_of(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from _chunks(opened)


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as opened:
        yield from _chunks(opened)


def _chunks(opened: IO[bytes]) -> Iterator[bytes]:
    while chunk := opened.read(CHUNK):
        yield chunk


def _check_entry(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InvalidRequest(f"{entry.orig_filename[:120]!r} is a link or no plain file; an extension is made of plain files.")
    if entry.flag_bits & 0x1:
        raise InvalidRequest("The zip file is encrypted; unpack it, and pack it again without a password.")
    checked_parts(entry.orig_filename)


def _check_ratio(entries: Iterable[zipfile.ZipInfo], archive: Path) -> None:
    """What a zip says of itself; what it then really holds is counted while it is written."""
    total, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if total > MAX_TOTAL or total > max(RATIO_COUNTS_FROM, MAX_RATIO * packed):
        raise InvalidRequest(f"The zip file of {packed / 1e6:.1f} MB would become {total / 1e6:.0f} MB; no extension is packed like that.")
