"""The lists of tags that a user has put into a folder, for the completion of prompts.

A list is a CSV file in the format known from A1111's tag completion: name, category, how often it is used, other names.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.core.file_stamps import FileStamp

MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_TAGS = 200_000
MAX_NAME = 200


@dataclass(frozen=True)
class Tag:
    """One line of a list.  count: how often it is used, 0 where the list does not say.   others: other names, separated by commas."""

    name: str
    category: str
    count: int
    others: str


class TagFiles:
    """A folder of lists, read again when one changes. For any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamps: dict[Path, FileStamp] = {}
        self._tags: tuple[Tag, ...] = ()

    def tags(self) -> tuple[Tag, ...]:
        """The tags of all lists, the most used first, each name once; at most MAX_TAGS. A file that cannot be read counts as empty."""
        with self._lock:
            files = self._files()
            if set(files) != set(self._stamps) or not all(stamp.holds(path) for path, stamp in self._stamps.items()):
                self._stamps = {path: FileStamp.of(path) for path in files}
                found: dict[str, Tag] = {}
                for path in files:
                    for tag in _read(path):
                        found.setdefault(tag.name, tag)
                self._tags = tuple(sorted(found.values(), key=lambda tag: -tag.count)[:MAX_TAGS])
            return self._tags

    def _files(self) -> list[Path]:
        """The folder itself and what is in it, not what is below it or what a link leads to."""
        try:
            entries = sorted(self._folder.iterdir())
        except OSError:
            return []
        return [path for path in entries if path.suffix.lower() == ".csv" and path.is_file() and not path.is_symlink()]


def _read(path: Path) -> Iterator[Tag]:
    """A list's usable lines, up to the first that is no CSV."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            for row in csv.reader(lines):
                name = row[0].strip() if row else ""
                if name and len(name) <= MAX_NAME and name.isprintable():
                    category, count, others = (*row[1:4], "", "", "")[:3]
                    yield Tag(name, category.strip()[:MAX_NAME], int(count) if count.strip().isdecimal() else 0, others[:2000])
    except (OSError, csv.Error):
        return
