"""Finding a checkpoint by any of the names A1111 accepts, and by what it does when none fits exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from webui.catalog.scan import ModelFile

Found = TypeVar("Found", bound=ModelFile)

SHORT_HASH = 10
_WITH_HASH = re.compile(r"(?P<name>.*?)\s*\[(?P<hash>[^\[\]]+)\]", re.DOTALL)
_LEGACY = re.compile(r"[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{10}|[0-9a-f]{64}")


def find_exactly(
    wanted: str, files: Sequence[Found], *, sha256: Callable[[Found], str | None], legacy: Callable[[Found], str | None]
) -> Found | None:
    """The file with that name, stem, model name or hash, or that name with that hash in brackets.

    sha256, legacy: a file's hashes as far as they are known.
    """
    wanted = wanted.strip().replace("\\", "/")
    named = _by_name(wanted, files)
    if named:
        return named[0]
    bracketed = _WITH_HASH.fullmatch(wanted)
    if bracketed:
        files = _by_name(bracketed["name"], files)
        wanted = bracketed["hash"]
    hashed = _by_hash(wanted.lower(), files, sha256, legacy)
    return hashed[0] if hashed else None


def find_closest(wanted: str, files: Sequence[Found], *, sha256: Callable[[Found], str | None]) -> Found | None:
    """The file whose title is the shortest that contains the text; failing that, contains it without its bracketed end.

    This is what A1111 does with a name it does not know, and old infotexts rely on it.
    """
    wanted = wanted.strip()
    bracketed = _WITH_HASH.fullmatch(wanted)
    titles = [(title_of(file, sha256(file)), file) for file in files]
    for text in (wanted, bracketed["name"] if bracketed else ""):
        matches = [(title, file) for title, file in titles if text and text in title]
        if matches:
            return min(matches, key=lambda match: len(match[0]))[1]
    return None


def title_of(file: ModelFile, sha256: str | None) -> str:
    """A1111's title: the name, and ten digits of the hash once it is known."""
    return f"{file.name} [{sha256[:SHORT_HASH]}]" if sha256 else file.name


def _names(file: ModelFile) -> tuple[str, ...]:
    return file.name, file.path.name, file.model_name, file.stem


def _by_name(wanted: str, files: Sequence[Found]) -> list[Found]:
    """Files of that name; where several files answer to it, those whose full name it is come first."""
    matches = [(_names(file).index(wanted), file) for file in files if wanted in _names(file)]
    return [file for _, file in sorted(matches, key=lambda match: match[0])]


def _by_hash(
    digits: str, files: Sequence[Found], sha256: Callable[[Found], str | None], legacy: Callable[[Found], str | None]
) -> list[Found]:
    if _SHA256.fullmatch(digits):
        return [file for file in files if (sha256(file) or "").startswith(digits)]
    if _LEGACY.fullmatch(digits):
        return [file for file in files if legacy(file) == digits]
    return []
