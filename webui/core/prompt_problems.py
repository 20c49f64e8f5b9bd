"""Where a prompt is malformed, and what it is taken to mean there, for the page to mark. Nothing here changes what is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from webui.core.errors import InvalidRequest
from webui.core.extra_networks import find_networks, read_hypernet_tag, read_lora_tag
from webui.core.prompt_schedule import STEP_NUMBER

MAX_PROBLEMS = 100

# Stands for characters that mean nothing to what is read next, so that all places stay.
_BLANK = "\0"
# What a number may be made of while wildcards and networks are in it.
_VARIABLE = re.compile(rf"{_BLANK}|__")
# No weight or step is written longer; what is looked at for each bracket is bounded by it.
_LONGEST_NUMBER = 100

_COMMENT = re.compile(r"#[^\n]*+")
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):")
_BRACE_MARK = re.compile(r"\\.|[{}\[\]|]", re.DOTALL)
_COUNT = re.compile(r"\s*+[0-9]*+-?[0-9]*+\$\$(?:[^$|{}]*+\$\$)?")
_OPTION_WEIGHT = re.compile(r"\s*+[0-9.]++::")
_AND = re.compile(r"\bAND\b")
_MARK = re.compile(r"\\.|[()\[\]:|\\]", re.DOTALL)
_WEIGHT = re.compile(r"\s*+[+-]?(?:\d++(?:\.\d*+)?+|\.\d++)\s*+")
# What is taken for a weight, be it one or not; "(in 16:9 format)" is text.
_WORD = re.compile(rf"\s*+[^\s()\[\]:|_{_BLANK}]*+\s*+")


@dataclass(frozen=True)
class Problem:
    """A stretch of the prompt, from character `start` to before `end`, and a sentence: what is wrong and how it is taken."""

    start: int
    end: int
    message: str


def problems(prompt: str) -> tuple[Problem, ...]:
    """What is malformed, in order, at most MAX_PROBLEMS of it. Comments and wildcards are taken as such. Time is linear."""
    text = _COMMENT.sub(lambda comment: _BLANK * len(comment[0]), prompt)
    characters = list(text)
    found = [*_network_problems(text, characters), *_brace_problems(characters)]
    text, start = "".join(characters), 0
    for word in _AND.finditer(text):
        found += _Reading(text[start : word.start()], start).problems()
        start = word.end()
    found += _Reading(text[start:], start).problems()
    return tuple(sorted(found, key=lambda problem: (problem.start, problem.end))[:MAX_PROBLEMS])


@dataclass
class _Open:
    """An open bracket, the ":" and "|" directly in it, and whether something in it is malformed."""

    kind: str
    at: int
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)
    is_broken: bool = False


def _network_problems(text: str, characters: list[str]) -> Iterator[Problem]:
    """Those of <lora:...>; blanks all such tags."""
    for start, end, tag in find_networks(text):
        characters[start:end] = _BLANK * (end - start)
        if not _NETWORK.match(text, start):
            continue
        if "<" in text[start + 1 : end]:
            yield Problem(start, end, "There is a '<' within this network, which is taken to reach to the '>'; is an earlier '>' missing?")
            continue
        try:
            (read_hypernet_tag if tag.kind == "hypernet" else read_lora_tag)(tag)
        except InvalidRequest as error:
            yield Problem(start, end, f"This network is left out: {error}")
    for match in _NETWORK.finditer(text, text.rfind(">") + 1):
        yield Problem(*match.span(), "This network has no '>', so it is drawn as text.")


def _brace_problems(characters: list[str]) -> Iterator[Problem]:
    """Those of {a|b}; blanks what is syntax in each."""
    text = "".join(characters)
    opened: list[_Open] = []
    braces = 0
    for match in _BRACE_MARK.finditer(text):
        mark, at = match[0], match.start()
        if mark in ("{", "["):
            opened.append(_Open(mark, at))
            braces += mark == "{"
        elif mark == "|" and opened:
            opened[-1].bars.append(at)
        elif mark == "]" and opened and opened[-1].kind == "[":
            opened.pop()
        elif mark == "}" and braces:
            braces -= 1
            bars: list[int] = []
            while (bracket := opened.pop()).kind == "[":
                bars += bracket.bars
            bars += bracket.bars
            count = _COUNT.match(text, bracket.at + 1)
            if bars or count:
                first = count.end() if count else bracket.at + 1
                _blank(characters, bracket.at, first)
                _blank(characters, at, at + 1)
                for bar in bars:
                    _blank(characters, bar, bar + 1)
                for option in (first, *(bar + 1 for bar in bars)):
                    weight = _OPTION_WEIGHT.match(text, option)
                    _blank(characters, option, weight.end() if weight else option)
    for bracket in opened:
        if bracket.kind == "{":
            yield Problem(bracket.at, bracket.at + 1, "This '{' has no '}', so it is drawn as text.")


def _blank(characters: list[str], start: int, end: int) -> None:
    characters[start:end] = _BLANK * (end - start)


class _Reading:
    """Reads the brackets of one of the prompts that AND joins, twice at once.

    Weights match round and square brackets apart; prompt editing needs them properly within each other.
    """

    def __init__(self, text: str, offset: int) -> None:
        self._text = text
        self._offset = offset
        self._found: list[Problem] = []
        self._unclosed: dict[str, list[int]] = {"(": [], "[": []}
        self._opened: list[_Open] = []
        # How many brackets of a kind are open.
        self._within = {"(": 0, "[": 0}
        # What makes the whole prompt literal, and how many edits and turns that concerns.
        self._fatal: list[int] = []
        self._edits = 0

    def problems(self) -> list[Problem]:
        for match in _MARK.finditer(self._text):
            mark, at = match[0], match.start()
            if mark in ("\\", "\\\n"):
                self._fatal.append(at)
            elif mark in ("(", "["):
                self._unclosed[mark].append(at)
                self._within[mark] += 1
                self._opened.append(_Open(mark, at))
            elif mark == ":" and self._opened:
                self._opened[-1].colons.append(at)
            elif mark == "|":
                (self._opened[-1].bars if self._opened else self._fatal).append(at)
            elif mark in (")", "]"):
                self._close("(" if mark == ")" else "[", at)
        for bracket in self._opened:
            self._fatal += bracket.bars
        for kind, factor in (("(", "1.1"), ("[", "0.91")):
            for at in self._unclosed[kind]:
                self._add(at, at + 1, f"This {kind!r} is not closed, so all that follows counts {factor} times.")
        for at in self._fatal if self._edits else ():
            mark = "'|' is in no [a|b]" if self._text[at] == "|" else "'\\' ends a line"
            self._add(at, at + 1, f"This {mark}, so all [a:b:n] and [a|b] of the prompt are drawn as text.")
        return self._found

    def _add(self, start: int, end: int, message: str) -> None:
        self._found.append(Problem(self._offset + start, self._offset + end, message))

    def _close(self, kind: str, at: int) -> None:
        if self._unclosed[kind]:
            self._unclosed[kind].pop()
        else:
            self._add(at, at + 1, f"This {self._text[at]!r} closes nothing, so it is drawn as text.")
        if not self._within[kind]:
            if self._opened:
                self._opened[-1].is_broken = True
            return
        crossed = False
        while (bracket := self._opened.pop()).kind != kind:
            self._within[bracket.kind] -= 1
            self._fatal += bracket.bars
            crossed = True
        self._within[kind] -= 1
        if crossed:
            bracket.is_broken = True
            self._add(
                bracket.at, at + 1, "A bracket of the other kind crosses these; both are weights, but prompt editing here is drawn as text."
            )
        (self._round if kind == "(" else self._square)(bracket, at)
        if bracket.is_broken and self._opened:
            self._opened[-1].is_broken = True

    def _round(self, bracket: _Open, at: int) -> None:
        self._fatal += bracket.bars
        bracket.is_broken |= bool(bracket.bars) or len(bracket.colons) > 1
        if not bracket.colons or at - bracket.colons[-1] > _LONGEST_NUMBER:
            return
        weight = self._text[bracket.colons[-1] + 1 : at]
        if _WEIGHT.fullmatch(weight) or not _WORD.fullmatch(weight):
            return
        self._add(bracket.colons[-1], at, f"{weight!r} is no weight like 1.2, so it is drawn as text; the words here count 1.1 times.")

    def _square(self, bracket: _Open, at: int) -> None:
        if not bracket.colons and not bracket.bars:
            return
        number = self._text[bracket.colons[-1] + 1 : min(at, bracket.colons[-1] + _LONGEST_NUMBER)] if bracket.colons else ""
        if bracket.colons and bracket.bars:
            reason = "This has both ':' and '|'"
        elif len(bracket.colons) > 2:
            reason = "This has more than two ':'"
        elif bracket.colons and not STEP_NUMBER.fullmatch(number) and not _VARIABLE.search(number):
            reason = "The last part of this is no step like 10 and no part of the steps like 0.5"
        elif bracket.is_broken:
            reason = "There is something malformed within this"
        else:
            self._edits += 1
            return
        bracket.is_broken = True
        self._fatal += bracket.bars
        self._add(bracket.at, at + 1, f"{reason}, so it is drawn as text.")
