"""Extensions as the page, the API and the command line see them: what is installed, what would be, and what an index offers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

PYTHON = (".py", ".pyw")
JAVASCRIPT = (".js", ".mjs")
# What runs, and nobody can read.
NATIVE = (".so", ".pyd", ".dll", ".dylib", ".exe")


@dataclass(frozen=True)
class SheetFile:
    """One file of an extension.  path: within its folder, with slashes.   size: bytes.   sha256: of its content, in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ResolvedPackage:
    """One package that would be installed for an extension, exactly.  sha256: of its wheel, in hexadecimal."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class ConsentSheet:
    """Everything that would be installed, shown before any of it runs. Who agrees gives its `digest` back, and gets this and nothing else.

    kind: "git", "folder", "zip" or "pypi".   source: where it was fetched from.   ref: the branch, tag or commit that was asked for.
    commit, commit_date: of git; the date in Unix seconds.   folder: its place under extensions/.   replaces: what is there now, or "".
    left_out: files of the source that are not installed.   packages: what its requirements become, beside what this program has.
    hooks: of this program, that its code implements.   remarks: sentences that whoever agrees has to know.
    """

    kind: str
    source: str
    folder: str
    name: str
    version: str = ""
    description: str = ""
    author: str = ""
    homepage: str = ""
    ref: str = ""
    commit: str = ""
    commit_date: int = 0
    replaces: str = ""
    files: tuple[SheetFile, ...] = ()
    left_out: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    packages: tuple[ResolvedPackage, ...] = ()
    hooks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A SHA-256 of all of it, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def files_of(self, suffixes: Sequence[str]) -> tuple[SheetFile, ...]:
        """The files with one of these suffixes."""
        return tuple(file for file in self.files if PurePosixPath(file.path).suffix.lower() in suffixes)

    def shown(self) -> dict[str, Any]:
        """As JSON, with the digest and the files that run apart."""
        kinds: Mapping[str, Sequence[str]] = {"python_files": PYTHON, "javascript_files": JAVASCRIPT, "native_files": NATIVE}
        named = {kind: [file.path for file in self.files_of(suffixes)] for kind, suffixes in kinds.items()}
        return {**asdict(self), **named, "size": self.size, "digest": self.digest}


@dataclass(frozen=True)
class InstalledExtension:
    """One folder under extensions/.

    enabled: whether it will be loaded at the next start.   running: whether it was loaded at this one.   error: why it was not, or
    cannot be.   restart_needed: what runs is not what is installed.   kind: as a consent sheet's; "git" also for a clone made by hand, ""
    for what was put here by hand.   source, branch, commit, commit_date: of where it came from.   updatable: whether an update can
    be asked for.   update: the newer commit or version that the last check found.   removed: it is not there any more, and still runs.
    """

    folder: str
    name: str
    enabled: bool
    version: str = ""
    description: str = ""
    author: str = ""
    homepage: str = ""
    tags: tuple[str, ...] = ()
    running: bool = False
    error: str = ""
    restart_needed: bool = False
    kind: str = ""
    source: str = ""
    branch: str = ""
    commit: str = ""
    commit_date: int = 0
    updatable: bool = False
    update: str = ""
    removed: bool = False


@dataclass(frozen=True)
class IndexEntry:
    """One extension that an index offers.

    added: the day, as the index writes it.   folder: under which it is installed, or "".   update: the newer commit or version that the
    last check found for that one.
    """

    name: str
    url: str
    description: str = ""
    tags: tuple[str, ...] = ()
    added: str = ""
    stars: int = 0
    folder: str = ""
    update: str = ""


class LoadedExtension(Protocol):
    """What the host of the extensions says of one."""

    @property
    def name(self) -> str:
        """Its folder."""
        ...

    @property
    def enabled(self) -> bool:
        """Whether it was loaded."""
        ...

    @property
    def error(self) -> str | None:
        """Why it was not."""
        ...
