"""Walking the model folders: which files are there, under which names, and which of them cannot even be looked at."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from webui.catalog.diffusers_folder import MARK, size_and_time
from webui.core.model_paths import stem_of

# Where models go that were thrown away; in each root.
TRASH = ".trash"
_DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True)
class ModelFile:
    """One usable file, or folder in diffusers' layout.  name: its path below its root, with "/"; unique in its list."""

    name: str
    path: Path
    size: int
    mtime_ns: int

    @property
    def stem(self) -> str:
        """Its name without folders and suffix."""
        return stem_of(self.path)

    @property
    def model_name(self) -> str:
        """The name without suffix, separators written as "_": A1111's name in infotexts and file names."""
        suffix = self.path.name.removeprefix(self.stem)
        return re.sub(r"[/\\]", "_", self.name.removesuffix(suffix))


@dataclass(frozen=True)
class Broken:
    """A file or folder that cannot be used.  reason: ends a sentence that begins with the name."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True)
class Scan:
    """What one walk found, in natural order of the names."""

    files: tuple[ModelFile, ...]
    broken: tuple[Broken, ...]


def scan(roots: Iterable[Path], suffixes: frozenset[str], *, model_folders: bool = False) -> Scan:
    """Find files with these suffixes (lower case, with the dot) in all roots (absolute paths) and below; no file is opened.

    model_folders: take a folder in diffusers' layout for one model, and not look at the files in it.

    Links are followed, but each folder is entered once and each real file listed once, under its own name rather than a
    link's where both are there. Of two files with the same name in different roots the first keeps it; the second gets its
    root's name before it. Whatever is wrong with an entry becomes Broken, never an exception.
    """
    walk = _Walk(suffixes, model_folders)
    for root in roots:
        walk.enter_root(root)
    return Scan(
        tuple(sorted(walk.files, key=lambda file: natural_key(file.name))),
        tuple(sorted(walk.broken, key=lambda broken: natural_key(broken.name))),
    )


def natural_key(name: str) -> tuple[Sequence[int | str], str]:
    """Sorts as people count: "v2" before "v10", whatever the case."""
    parts = _DIGITS.split(name.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


class RealPaths:
    """Where paths lead, with links followed. A folder is looked at once for all files in it: of 10,000 files that is most of the time."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """As os.path.realpath."""
        folder, name = os.path.split(path)
        if os.path.islink(path):  # noqa: PTH114  of very many
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)  # noqa: PTH118


class _Walk:
    """One walk over all roots; remembers where it has been."""

    def __init__(self, suffixes: frozenset[str], model_folders: bool) -> None:
        self.files: list[ModelFile] = []
        self.broken: list[Broken] = []
        self._suffixes = suffixes
        self._model_folders = model_folders
        self._folders: set[str] = set()
        self._targets: set[str] = set()
        self._names: set[str] = set()

    def enter_root(self, root: Path) -> None:
        """Walk one root. Links wait until everything that is really there has been seen, so that real names win."""
        if not _is_folder(root):
            return
        folders: deque[Path] = deque([root])
        links: deque[Path] = deque()
        while folders or links:
            path = folders.popleft() if folders else links.popleft()
            if _is_folder(path):
                self._enter_folder(root, path, folders, links)
            elif self._is_wanted(path.name):
                self._take(root, path, os.path.realpath(path))

    def _enter_folder(self, root: Path, folder: Path, folders: deque[Path], links: deque[Path]) -> None:
        real = os.path.realpath(folder)
        if real in self._folders:
            return
        self._folders.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError as error:
            self._report(root, folder, f"cannot be opened: {error.strerror}")
            return
        if self._model_folders and any(entry.name == MARK for entry in entries):
            self._take_folder(root, folder)
            return
        for entry in entries:
            if entry.is_symlink():
                links.append(folder / entry.name)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name != TRASH:
                    folders.append(folder / entry.name)
            elif self._is_wanted(entry.name):
                self._take(root, folder / entry.name, f"{real}{os.sep}{entry.name}")

    def _take_folder(self, root: Path, folder: Path) -> None:
        try:
            size, mtime_ns = size_and_time(folder)
        except OSError as error:
            self._report(root, folder, f"cannot be looked at: {error.strerror}")
            return
        self.files.append(ModelFile(self._unique_name(root, folder), folder, size, mtime_ns))

    def _is_wanted(self, name: str) -> bool:
        # Files that begin with a dot are what writers leave unfinished and what macOS puts beside every file.
        return not name.startswith(".") and os.path.splitext(name)[1].lower() in self._suffixes  # noqa: PTH122  of very many

    def _take(self, root: Path, path: Path, real: str) -> None:
        if real in self._targets:
            return
        self._targets.add(real)
        try:
            status = path.stat()
        except OSError as error:
            self._report(root, path, "is a broken link" if path.is_symlink() else f"cannot be looked at: {error.strerror}")
            return
        reason = _fault(path, status)
        if reason:
            self._report(root, path, reason)
            return
        self.files.append(ModelFile(self._unique_name(root, path), path, status.st_size, status.st_mtime_ns))

    def _unique_name(self, root: Path, path: Path) -> str:
        name = _below(root, path)
        candidate, number = name, 1
        while candidate in self._names:
            candidate = f"{root.name}/{name}" if number == 1 else f"{root.name}-{number}/{name}"
            number += 1
        self._names.add(candidate)
        return candidate

    def _report(self, root: Path, path: Path, reason: str) -> None:
        self.broken.append(Broken(_printable(_below(root, path)) or root.name, path, reason))


def _below(root: Path, path: Path) -> str:
    """The path from a root to what was found by walking down from it, with "/"; as `relative_to`, which takes longer."""
    return str(path)[len(str(root)) :].replace(os.sep, "/").lstrip("/")


def _is_folder(path: Path) -> bool:
    # Unlike Path.is_dir(), this answers False where even looking is forbidden.
    return os.path.isdir(path)  # noqa: PTH112


def _fault(path: Path, status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size == 0:
        return "is empty; download it again"
    if _printable(str(path)) != str(path):
        return "has a name that is not valid UTF-8; rename it"
    return None


def _printable(name: str) -> str:
    """The name as text that can be sent and stored; bytes that are no text show as question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def named_apart(files: Iterable[ModelFile], others: Iterable[ModelFile]) -> Iterable[ModelFile]:
    """The files, those whose name is taken under that of the folder they lie in."""
    taken = {other.name for other in others}
    return (replace(file, name=f"{file.path.parent.name}/{file.name}") if file.name in taken else file for file in files)
