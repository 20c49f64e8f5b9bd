"""The files of wildcards/: names and their options. Which one is drawn, and what it means in a prompt, is wildcards.py's.

    colours.txt         one option a line; empty lines and lines that begin with "#" are none
    animals/pets.txt    its name is animals/pets
    things.yaml, .json  a list, named like the file; or a tree of lists, {clothes: {warm: [coat]}} is clothes/warm, in the file's folder

An option may begin with its weight, "2::red"; in JSON and YAML it may be {text: red, weight: 2}. The files are strangers' work: YAML
is read as bare text, so that no tag or alias does anything, and no name or link leads out of the folder.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from webui.core.file_stamps import FileStamp

MAX_BYTES = 20_000_000
# Of lists and trees within each other.
MAX_LEVELS = 20
STRUCTURED = (".yaml", ".yml", ".json")
TOO_DEEP = f"lists and trees are nested deeper than {MAX_LEVELS}."

_WEIGHT = re.compile(r"\s*+([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})::")
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class Options:
    """Texts to draw from and how often each is drawn in relation to the others; weights are not negative."""

    texts: tuple[str, ...]
    weights: tuple[float, ...]


class WildcardFolder:
    """A folder of option files. Nothing is read before it is asked for, and what changed is read again. For any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._listing = _Listing()
        self._texts: dict[Path, _Text] = {}

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        with self._lock:
            return tuple(sorted(self._fresh().sources))

    def find(self, name: str) -> Options:
        """The options of a name, each text once; none if the name is not there.

        "*" and "?" stand for any characters, "/" too, and find several names. A name that is not there is looked for in
        all subfolders.
        """
        with self._lock:
            sources = self._fresh().sources
            names = [name] if name in sources else _matching(name, sources) or _matching(f"*/{name}", sources)
            found = [self._read(source) for each in names for source in sources[each]]
        return found[0] if len(found) == 1 else _distinct(pair for each in found for pair in zip(each.texts, each.weights, strict=True))

    def damage(self) -> tuple[str, ...]:
        """A sentence for each file that could not be read; text files count once something of them was asked for."""
        with self._lock:
            listed = self._fresh().damage
            return (*listed, *(read.damage for read in self._texts.values() if read.damage))

    def _fresh(self) -> _Listing:
        if not self._listing.stamps or not all(stamp.holds(path) for path, stamp in self._listing.stamps.items()):
            self._listing = _list_folder(self._folder)
            texts = {source for sources in self._listing.sources.values() for source in sources if isinstance(source, Path)}
            self._texts = {path: read for path, read in self._texts.items() if path in texts}
        return self._listing

    def _read(self, source: Path | Options) -> Options:
        """A text file's options."""
        if isinstance(source, Options):
            return source
        if source not in self._texts or not self._texts[source].stamp.holds(source):
            stamp, lines, damage = FileStamp.of(source), [], ""
            try:
                lines = [line.strip() for line in _read_inside(source, self._folder).split("\n")]
            except (OSError, ValueError) as error:
                damage = _sentence(source, self._folder, error)
            options = _distinct(split_weight(line) for line in lines if line and not line.startswith("#"))
            self._texts[source] = _Text(stamp, options, damage)
        return self._texts[source].options


def split_weight(option: str) -> tuple[str, float]:
    """An option without its weight, and the weight: "2::red" is ("red", 2.0), "red" is ("red", 1.0)."""
    match = _WEIGHT.match(option)
    return (option[match.end() :], float(match[1])) if match else (option, 1.0)


@dataclass(frozen=True)
class _Text:
    """A text file as it was read.  damage: empty, or why it could not be."""

    stamp: FileStamp
    options: Options
    damage: str


@dataclass(frozen=True)
class _Listing:
    """What a folder held.

    stamps: of all that the names depend on.   sources: by name, text files still to read and options already read.
    damage: a sentence for each of the other files that could not be read.
    """

    stamps: dict[Path, FileStamp] = field(default_factory=dict)
    sources: dict[str, list[Path | Options]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)


def _list_folder(root: Path) -> _Listing:
    listing = _Listing()
    folders = [root]
    while folders:
        folder = folders.pop()
        listing.stamps[folder] = FileStamp.of(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_file() and path.suffix.lower() in (".txt", *STRUCTURED):
                _list_file(path, root, listing)
    return listing


def _list_file(path: Path, root: Path, listing: _Listing) -> None:
    name = path.relative_to(root).with_suffix("").as_posix()
    if path.suffix.lower() == ".txt":
        listing.sources.setdefault(name, []).append(path)
        return
    listing.stamps[path] = FileStamp.of(path)
    try:
        text = _read_inside(path, root)
        content = json.loads(text) if path.suffix.lower() == ".json" else _read_yaml(text)
        found = dict(_named_lists(content, name))
    except (OSError, ValueError, RecursionError) as error:
        listing.damage.append(_sentence(path, root, error))
        return
    for each, options in found.items():
        listing.sources.setdefault(each, []).append(options)


def _sentence(path: Path, root: Path, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return f"{root.name}/{path.relative_to(root).as_posix()} is left out: {' '.join(reason.split())[:200]}"


def _read_inside(path: Path, root: Path) -> str:
    """A file's text.  Raises OSError, or ValueError when it is too large or a link leads out of the folder."""
    real = path.resolve(strict=True)
    if not real.is_relative_to(root.resolve()):
        raise ValueError("it is a link that leads out of the folder.")
    with real.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes.")
    return content.decode("utf-8-sig", errors="replace")


def _read_yaml(text: str) -> object:
    """The first document as lists, dicts and text; nothing in it is interpreted.  Raises ValueError."""
    opened = [_Open([])]
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("aliases (*name) are not read.")
            if isinstance(event, yaml.DocumentEndEvent):
                break
            if isinstance(event, yaml.CollectionStartEvent):
                if len(opened) > MAX_LEVELS:
                    raise ValueError(TOO_DEEP)
                opened.append(_Open([] if isinstance(event, yaml.SequenceStartEvent) else {}))
            elif isinstance(event, yaml.CollectionEndEvent):
                content = opened.pop().content
                opened[-1].put(content)
            elif isinstance(event, yaml.ScalarEvent):
                opened[-1].put(None if event.implicit[0] and event.value in _NULLS else event.value)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return next(iter(opened[0].content), None)


@dataclass
class _Open:
    """A list or tree that is being read, and in a tree the key whose value comes next."""

    content: list[object] | dict[str, object]
    key: str | None = None

    def put(self, value: object) -> None:
        if isinstance(self.content, list):
            self.content.append(value)
        elif self.key is None:
            self.key = value if isinstance(value, str) else ""
        else:
            self.content[self.key] = value
            self.key = None


def _named_lists(content: object, name: str) -> Iterator[tuple[str, Options]]:
    """The lists of a structured file.  name: the file's, with its folder.  Raises ValueError."""
    folder = name.rpartition("/")[0]
    waiting = [(name if isinstance(content, list) else folder, content, 0)]
    while waiting:
        path, value, level = waiting.pop()
        if level > MAX_LEVELS:
            raise ValueError(TOO_DEEP)
        if isinstance(value, list):
            yield path, _distinct(pair for item in value for pair in _item(item))
        elif isinstance(value, dict):
            waiting.extend((f"{path}/{key}" if path else key, each, level + 1) for key, each in value.items() if key)


def _item(item: object) -> Iterator[tuple[str, float]]:
    """An option of a structured file, or nothing."""
    if isinstance(item, str) and item.strip():
        yield split_weight(item.strip())
    elif isinstance(item, int | float) and not isinstance(item, bool):
        yield str(item), 1.0
    elif isinstance(item, dict):
        text, weight = item.get("text") or item.get("content"), _WEIGHT.match(f"{item.get('weight', 1)}::")
        if isinstance(text, str) and weight:
            yield text, float(weight[1])


def _distinct(pairs: Iterable[tuple[str, float]]) -> Options:
    """Each text once, with its first weight."""
    weights: dict[str, float] = {}
    for text, weight in pairs:
        weights.setdefault(text, weight)
    return Options(tuple(weights), tuple(weights.values()))


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern with "*" or "?" finds, sorted."""
    return sorted(name for name in names if fnmatchcase(name, pattern)) if "*" in pattern or "?" in pattern else []
