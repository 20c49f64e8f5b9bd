"""Styles: named texts put around prompts, kept in A1111's CSV files.

A file has the columns name, prompt and negative_prompt (older: name and text). Rows whose name begins with "#" are comments;
they, and columns of other programs, stay when a style is saved. The reader is our own because Python's has a limit for the
length of a field that holds for the whole process.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.core.errors import InvalidRequest, NotFound
from webui.core.file_stamps import FileStamp
from webui.core.files import write_atomically

PLACEHOLDER = "{prompt}"
COLUMNS = ("name", "prompt", "negative_prompt")
# Of a file, and of a prompt with its styles: a style that holds the prompt twice doubles it each time it is applied.
MAX_BYTES = 20_000_000
MAX_CHARACTERS = 1_000_000

# A field: spaces, text in quotes (in which "" is a quote; without an end it reaches to the end of the file), bare text, and its end.
_FIELD = re.compile(r' *+(?:"(?P<quoted>(?:[^"]++|"")*+)"?+)?(?P<bare>[^,\r\n]*+)(?P<end>,|\r\n|\r|\n|\Z)')
_SPECIAL = re.compile(r'[",\r\n]|\A ')


@dataclass(frozen=True)
class Style:
    """Texts for the prompt and the negative prompt; "{prompt}" in one is where the prompt goes, else it goes before it."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


def read_styles(content: bytes) -> tuple[Style, ...]:
    """The styles of a CSV file; of equal names the last.  Raises InvalidRequest when it is not a file of styles."""
    table = _Table.read(content)
    return tuple({style.name: style for style in map(table.style, table.rows) if table.is_style(style)}.values())


def write_styles(styles: Iterable[Style]) -> bytes:
    """A CSV file of styles, as A1111 and spreadsheets read it."""
    return _Table(list(COLUMNS), [[style.name, style.prompt, style.negative_prompt] for style in styles]).write()


def apply_styles(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str]:
    """Both prompts with these styles, one after the other.  Raises InvalidRequest when that is longer than MAX_CHARACTERS."""
    for style in styles:
        prompt, negative_prompt = _merge(style.prompt, prompt), _merge(style.negative_prompt, negative_prompt)
    return prompt, negative_prompt


def extract_styles(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[tuple[str, ...], str, str]:
    """The names of the styles that these prompts were made with, in the order to apply them, and the prompts without.

    A style is found only where applying it again gives the same text; A1111 finds "cat" in "bobcat" too. Prompts are stripped.
    """
    left = list(styles)
    names: list[str] = []
    prompt, negative_prompt = prompt.strip(), negative_prompt.strip()
    while (applied := _find_applied(left, prompt, negative_prompt)) is not None:
        style, prompt, negative_prompt = applied
        left.remove(style)
        names.append(style.name)
    return tuple(reversed(names)), prompt, negative_prompt


class StyleStore:
    """The styles of several files, read again when a file changes. For any thread.

    paths: the files, whether they are there or not; a new style goes to the first. Of equal names the last file's counts.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[FileStamp, tuple[Style, ...], str]] = {}

    def styles(self) -> tuple[Style, ...]:
        """All styles, each name once, in the order of the files."""
        return tuple({style.name: style for _, styles in self.files() for style in styles}.values())

    def files(self) -> tuple[tuple[Path, tuple[Style, ...]], ...]:
        """Each file with its styles."""
        with self._lock:
            return tuple((path, self._load(path)[0]) for path in self._paths)

    def file_of(self, name: str) -> Path | None:
        """The file that the style of this name comes from."""
        return next((path for path, styles in reversed(self.files()) if any(style.name == name for style in styles)), None)

    def problems(self) -> tuple[str, ...]:
        """A sentence for each file that cannot be read; such a file is never written to."""
        with self._lock:
            return tuple(problem for path in self._paths if (problem := self._load(path)[1]))

    def save(self, style: Style, path: Path | None = None) -> None:
        """Add the style, or replace the one of its name, in the file that one comes from; or in `path`, one of the store's.

        The file as it was stays beside it as .bak.   Raises InvalidRequest when the name cannot be one, or the file is not one of
        styles, and OSError.
        """
        if not style.name.strip() or style.name.startswith("#"):
            raise InvalidRequest(f"Got {style.name!r} as the name of a style; it may not be empty or begin with '#'.")
        self._rewrite(path or self.file_of(style.name) or self._paths[0], {style.name: style})

    def add(self, styles: Sequence[Style]) -> None:
        """Put new styles into the first file, all at once.  Raises as `save`."""
        for style in styles:
            if not style.name.strip() or style.name.startswith("#"):
                raise InvalidRequest(f"Got {style.name!r} as the name of a style; it may not be empty or begin with '#'.")
        if styles:
            self._rewrite(self._paths[0], {style.name: style for style in styles})

    def delete(self, name: str) -> None:
        """Remove the style from the file it comes from.  Raises NotFound, InvalidRequest and OSError as `save`."""
        path = self.file_of(name)
        if path is None:
            raise NotFound(f"There is no style {name!r}.")
        self._rewrite(path, {name: None})

    def _load(self, path: Path) -> tuple[tuple[Style, ...], str]:
        """A file's styles, or none and why."""
        if path not in self._read or not self._read[path][0].holds(path):
            stamp = FileStamp.of(path)
            try:
                styles, problem = read_styles(_read_file(path)), ""
            except (OSError, InvalidRequest) as error:
                styles, problem = (), f"{path.name}: {error}"
            self._read[path] = (stamp, styles, problem)
        return self._read[path][1:]

    def _rewrite(self, path: Path, changes: Mapping[str, Style | None]) -> None:
        if path not in self._paths:
            raise InvalidRequest(f"{path.name} is none of the files of styles.")
        with self._lock:
            content = _read_file(path)
            table = _Table.read(content)
            for name, style in changes.items():
                table.put(name, style)
            if content:
                write_atomically(path.with_name(f"{path.name}.bak"), content)
            write_atomically(path, table.write())
            self._read.pop(path, None)


def _merge(style: str, prompt: str) -> str:
    times = style.count(PLACEHOLDER)
    if len(style) + times * len(prompt) > MAX_CHARACTERS:
        raise InvalidRequest(f"The styles make the prompt longer than {MAX_CHARACTERS:,} characters. Use fewer.")
    return style.replace(PLACEHOLDER, prompt) if times else ", ".join(filter(None, (prompt.strip(), style.strip())))


def _find_applied(styles: Iterable[Style], prompt: str, negative_prompt: str) -> tuple[Style, str, str] | None:
    """The first style that could have been applied last and changed something, and the prompts before it."""
    for style in styles:
        positive, negative = _unmerge(style.prompt.strip(), prompt), _unmerge(style.negative_prompt.strip(), negative_prompt)
        if positive is not None and negative is not None and (positive, negative) != (prompt, negative_prompt):
            return style, positive, negative
    return None


def _unmerge(style: str, prompt: str) -> str | None:
    """The stripped prompt that this style made this prompt of."""
    before, *after = style.split(PLACEHOLDER)
    if not after:
        rest = prompt.removesuffix(style).removesuffix(", ").strip()
    else:
        length = max(len(prompt) - len(style) + len(PLACEHOLDER) * len(after), 0) // len(after)
        rest = prompt[len(before) : len(before) + length].strip()
    return rest if _merge(style, rest).strip() == prompt else None


def _read_file(path: Path) -> bytes:
    """Empty if there is none.  Raises InvalidRequest when it is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    if len(content) > MAX_BYTES:
        raise InvalidRequest(f"it has more than {MAX_BYTES:,} bytes.")
    return content


@dataclass
class _Table:
    """A CSV file: its header and its rows, of as many fields as they have."""

    header: list[str]
    rows: list[list[str]]

    @classmethod
    def read(cls, content: bytes) -> _Table:
        try:
            rows = list(_read_rows(content.decode("utf-8-sig").replace("\0", "")))
        except UnicodeDecodeError:
            raise InvalidRequest("it is not UTF-8 text; save it as CSV UTF-8.") from None
        if not rows:
            return cls(list(COLUMNS), [])
        header = ["prompt" if column == "text" and "prompt" not in rows[0] else column for column in rows[0]]
        if not {"name", "prompt"}.issubset(header):
            raise InvalidRequest(f"it has the columns {', '.join(header)[:200]!r}; styles need 'name' and 'prompt'.")
        if "negative_prompt" in header:
            return cls(header, rows[1:])
        # What a row has beyond its columns must not become its negative prompt.
        return cls([*header, "negative_prompt"], [row[: len(header)] for row in rows[1:]])

    def style(self, row: Sequence[str]) -> Style:
        """A row as a style, missing fields empty."""
        return Style(**{column: row[place] if place < len(row) else "" for column, place in self._places()})

    @staticmethod
    def is_style(style: Style) -> bool:
        """Whether it is neither a comment nor empty."""
        return bool(style.name) and not style.name.startswith("#")

    def put(self, name: str, style: Style | None) -> None:
        """Replace the rows of this name by one, or by none; a new one comes last."""
        places = [place for place, row in enumerate(self.rows) if self.style(row).name == name]
        if style is not None and not places:
            places = [len(self.rows)]
            self.rows.append([])
        for place in reversed(places):
            if style is None or place != places[-1]:
                del self.rows[place]
            else:
                self.rows[place] += [""] * (len(self.header) - len(self.rows[place]))
                for column, index in self._places():
                    self.rows[place][index] = getattr(style, column)

    def write(self) -> bytes:
        lines = (",".join(map(_quote, row)) for row in (self.header, *self.rows))
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8-sig", errors="replace")

    def _places(self) -> list[tuple[str, int]]:
        return [(column, self.header.index(column)) for column in COLUMNS]


def _read_rows(text: str) -> Iterator[list[str]]:
    """The rows that are not empty lines."""
    row: list[str] = []
    for field in _FIELD.finditer(text):
        # After the last field there is an empty match, which is a field only behind a comma.
        if field.start() == len(text) and not row:
            return
        row.append((field["quoted"] or "").replace('""', '"') + field["bare"])
        if field["end"] != ",":
            if row != [""]:
                yield row
            row = []


def _quote(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if _SPECIAL.search(field) else field
