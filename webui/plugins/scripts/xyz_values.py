"""The values of an axis as a user writes them: lists, and ranges of numbers like "1-10 (+2)" and "1-3 [5]"."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator

from webui.core.errors import InvalidRequest

MOST_VALUES = 1000

_NUMBER = r"([+-]?\s*(?:\d+\.?\d*|\.\d+))"
_RANGE = re.compile(rf"{_NUMBER}\s*-\s*{_NUMBER}\s*(?:\(\s*{_NUMBER}\s*\)|\[\s*(\d+)\s*\])?", re.ASCII)
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def split_list(text: str) -> tuple[str, ...]:
    """What stands between commas and line ends, without outer spaces; quotation marks keep commas. Empty ones are left out."""
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error as error:
        raise InvalidRequest(f"got {text[:80]!r}, which cannot be read ({error}). Write values between commas.") from None
    return tuple(value.strip() for row in rows for value in row if value.strip())


def join_list(values: tuple[str, ...]) -> str:
    """The text that `split_list` reads as these values."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()


def read_integers(texts: tuple[str, ...]) -> tuple[int, ...]:
    """Whole numbers and ranges of them, both ends included.  Raises InvalidRequest."""
    values = [number for text in texts for number in _expand(text, whole=True)]
    return tuple(int(number) for number in _bounded(values))


def read_floats(texts: tuple[str, ...]) -> tuple[float, ...]:
    """Numbers and ranges of them, both ends included where the step meets them.  Raises InvalidRequest."""
    return tuple(_bounded([round(number, 10) for text in texts for number in _expand(text, whole=False)]))


def read_booleans(texts: tuple[str, ...]) -> tuple[bool, ...]:
    """True and False, in several words for each.  Raises InvalidRequest."""
    for text in texts:
        if text.lower() not in _TRUE + _FALSE:
            raise InvalidRequest(f"got {text[:80]!r}; write True or False.")
    return tuple(text.lower() in _TRUE for text in texts)


def _expand(text: str, *, whole: bool) -> Iterator[float]:
    found = _RANGE.fullmatch(text)
    if not found:
        yield _number(text, whole=whole)
        return
    first, last = _number(found[1], whole=whole), _number(found[2], whole=whole)
    if found[4]:
        yield from _spread(first, last, int(found[4]), whole=whole)
        return
    step = _number(found[3], whole=whole) if found[3] else 1
    if step == 0 or (last - first) * step < 0:
        raise InvalidRequest(f"got the range {text!r}; its step leads away from its end. Give a step with the other sign.")
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise InvalidRequest(f"got the range {text!r} of {count} values; an axis has at most {MOST_VALUES}. Make the step larger.")
    yield from (first + place * step for place in range(count))


def _spread(first: float, last: float, count: int, *, whole: bool) -> Iterator[float]:
    """So many values at equal distances, the ends among them."""
    if not 1 <= count <= MOST_VALUES:
        raise InvalidRequest(f"got [{count}]; an axis has 1 to {MOST_VALUES} values.")
    for place in range(count):
        value = first + (last - first) * (place / (count - 1) if count > 1 else 0)
        yield math.trunc(value + math.copysign(1e-9, value)) if whole else value


def _number(text: str, *, whole: bool) -> float:
    try:
        plain = text.replace(" ", "")
        value = int(plain) if whole else float(plain)
    except ValueError:
        rule = "whole numbers" if whole else "numbers"
        raise InvalidRequest(f"got {text[:80]!r}; write {rule}, or ranges like 1-10, 1-10 (+2), 1-10 [5].") from None
    if not whole and not math.isfinite(value):
        raise InvalidRequest(f"got {text[:80]!r}; write a finite number.")
    return value


def _bounded(values: list[float]) -> list[float]:
    if len(values) > MOST_VALUES:
        raise InvalidRequest(f"got {len(values)} values; an axis has at most {MOST_VALUES}.")
    return values
