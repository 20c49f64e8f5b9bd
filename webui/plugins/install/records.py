"""What is written beside an installed extension about where it came from; and what a clone made by hand says of itself.

A clone is read as text, never by git, which would obey what its configuration says.
"""

from __future__ import annotations

import configparser
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from webui.core.files import write_atomically
from webui.plugins.install.sources import COMMIT
from webui.plugins.install.unpacking import RECORD, is_compiled
from webui.plugins.manifest import SITE_PACKAGES

MAX_RECORD = 16 * 1024 * 1024
MAX_GIT_FILE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Record:
    """Where an extension came from.  All but the last two as on its consent sheet.

    digest: of that sheet.   files: SHA-256 by path, of what was installed, so that what was changed or added since can be told.
    """

    kind: str
    source: str
    ref: str = ""
    branch: str = ""
    local: bool = False
    commit: str = ""
    commit_date: int = 0
    version: str = ""
    digest: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def write_record(folder: Path, record: Record) -> None:
    """Leave a record in an extension's folder."""
    write_atomically(folder / RECORD, json.dumps(asdict(record), indent=1).encode())


def read_record(folder: Path) -> Record | None:
    """The record in an extension's folder; None when this program did not install it, or the record is damaged."""
    try:
        file = folder / RECORD
        if file.is_symlink() or file.stat().st_size > MAX_RECORD:
            return None
        record = Record(**json.loads(file.read_text(encoding="utf-8")))
        texts = (record.kind, record.source, record.ref, record.branch, record.commit, record.version, record.digest)
        whole = all(isinstance(each, str) for each in texts) and isinstance(record.commit_date, int)
        return record if whole and all(isinstance(each, str) for pair in record.files.items() for each in pair) else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def files_in(folder: Path) -> Iterator[Path]:
    """The plain files of an extension, without compiled ones, its packages, its record, and git's own."""
    for path in sorted(folder.iterdir()):
        if path.name in (".git", SITE_PACKAGES, RECORD):
            continue
        found = path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)
        for file in found:
            if file.is_file() and not file.is_symlink() and not is_compiled(file.relative_to(folder).parts):
                yield file


def read_clone(folder: Path) -> Record | None:
    """What the .git of a clone made by hand says; None when there is none."""
    git = folder / ".git"
    head = _text(git / "HEAD").strip()
    if not head:
        return None
    name = head.removeprefix("ref: ")
    commit = head if COMMIT.fullmatch(head) else _commit_of(git, name)
    branch = name.removeprefix("refs/heads/") if name != head else ""
    remote = _without_user(_remote(git, branch))
    return Record(kind="git", source=remote, branch=branch, commit=commit, commit_date=_date_of(git, commit))


def _commit_of(git: Path, name: str) -> str:
    if not re.fullmatch(r"refs/[A-Za-z0-9._/-]+", name) or ".." in name:
        return ""
    loose = _text(git / name).strip()
    packed = re.search(rf"^([0-9a-f]{{40,64}}) {re.escape(name)}$", _text(git / "packed-refs"), re.MULTILINE)
    commit = loose or (packed[1] if packed else "")
    return commit if COMMIT.fullmatch(commit) else ""


def _remote(git: Path, branch: str) -> str:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(_text(git / "config"))
    except configparser.Error:
        return ""
    name = parser.get(f'branch "{branch}"', "remote", fallback="origin") or "origin"
    return parser.get(f'remote "{name}"', "url", fallback="") or ""


def _without_user(url: str) -> str:
    """There may be a password in it."""
    try:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.scheme else url
    except ValueError:
        return ""


def _date_of(git: Path, commit: str) -> int:
    """From the commit itself, or else from the last line of the log of what was checked out."""
    text = ""
    if commit:
        try:
            with (git / "objects" / commit[:2] / commit[2:]).open("rb") as opened:
                text = zlib.decompressobj().decompress(opened.read(MAX_GIT_FILE), MAX_GIT_FILE).decode("utf-8", "replace")
        except (OSError, zlib.error):
            text = ""
    dated = re.search(r"^committer .* (\d{1,12}) [+-]\d{4}$", text, re.MULTILINE)
    logged = re.findall(r"^.* (\d{1,12}) [+-]\d{4}\t.*$", _text(git / "logs" / "HEAD"), re.MULTILINE)
    return int(dated[1] if dated else logged[-1] if logged else 0)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_GIT_FILE).decode("utf-8", "replace")
    except OSError:
        return ""
