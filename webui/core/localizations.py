"""The page's words in other languages: JSON files {"English text": "translation"}, in A1111's format.

Files of one name are one language: the program's own, over it those of extensions, and over these the user's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.core.extension_points import Assets
from webui.core.paths import PROGRAM, Paths

log = logging.getLogger(__name__)

OWN = PROGRAM / "webui" / "localizations"
COMPLETE = "zh_CN.json"
NONE, AUTO = "None", "Auto"
MAX_BYTES = 4 * 1024 * 1024
MAX_TEXTS = 50_000
MAX_CHARACTERS = 5_000
# A key of A1111's that is no text: it has the page laid out from right to left.
RTL = "rtl"


@dataclass(frozen=True)
class Words:
    """A language.  name: of its files; "" for the page's own English.   rtl: whether it is written from right to left.

    problems: why a file, or a part of one, is left out.
    """

    name: str = ""
    texts: Mapping[str, str] | None = None
    rtl: bool = False
    problems: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The language as browsers name it: zh_CN is zh-CN; "en" where the name is none of a language."""
        tag = self.name.replace("_", "-")
        first = tag.split("-", 1)[0]
        return tag if first.isalpha() and first.isascii() and 2 <= len(first) <= 3 and tag.replace("-", "").isalnum() else "en"


def find_localizations(paths: Paths, assets: Iterable[Assets]) -> Mapping[str, Sequence[Path]]:
    """The files there are by their names' stems, the later to be preferred.  assets: the files of extensions."""
    of_extensions = [one.folder / path for one in assets for path in one.localizations]
    found: dict[str, list[Path]] = {}
    for file in (*_listed(OWN), *of_extensions, *_listed(paths.localizations)):
        if file.stem not in (NONE, AUTO):
            found.setdefault(file.stem, []).append(file)
    return found


def own_texts() -> tuple[str, ...]:
    """Every text of the page: a language that ships is complete (tests/ui/test_localization.py)."""
    return tuple(_read(OWN / COMPLETE))


def choose(wanted: str, available: Iterable[str], accepted: str) -> str:
    """The name of the language to show; "" for English.

    wanted: the setting.   accepted: the browser's Accept-Language header, which counts when the setting is Auto: the first language in it
    that is English or is there. A region that is not there is given another one of its language.
    """
    names = {name.replace("_", "-").lower(): name for name in sorted(available)}
    if wanted != AUTO:
        return wanted if wanted in names.values() else ""
    for tag in _preferred(accepted):
        if tag in names:
            return names[tag]
        first = tag.split("-", 1)[0]
        if first == "en":
            return ""
        if near := next((name for other, name in names.items() if other.split("-", 1)[0] == first), None):
            return near
    return ""


def read_words(name: str, files: Sequence[Path]) -> Words:
    """The words of one language. What cannot be read is left out, with its reason.  files: the later are preferred."""
    texts: dict[str, str] = {}
    rtl, problems = False, []
    for file in files:
        try:
            content = _read(file)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"localizations/{file.name} is left out: {error}")
            log.warning("%s is left out: %s", file, error)
            continue
        rtl = rtl or content.get(RTL) is True
        texts |= {key: value for key, value in content.items() if isinstance(value, str) and _is_text(key) and _is_text(value)}
    return Words(name, texts, rtl, tuple(problems))


def _read(file: Path) -> dict[str, object]:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes; at most {MAX_BYTES} are read.")
    content = json.loads(file.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError('it must hold one JSON object, {"English text": "translation"}.')
    if len(content) > MAX_TEXTS:
        raise ValueError(f"it has {len(content)} texts; at most {MAX_TEXTS} are read.")
    return content


def _is_text(value: str) -> bool:
    return bool(value.strip()) and len(value) <= MAX_CHARACTERS


def _listed(folder: Path) -> list[Path]:
    """The JSON files right in a folder, without links that lead out of it."""
    if not folder.is_dir():
        return []
    root = folder.resolve()
    return sorted(file for file in folder.iterdir() if file.suffix == ".json" and file.is_file() and file.resolve().is_relative_to(root))


def _preferred(accepted: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first."""
    weighed = []
    for part in accepted[:1000].lower().split(","):
        tag, _, parameter = part.partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        if tag.strip() and weight > 0:
            weighed.append((-weight, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda one: one[0])]
