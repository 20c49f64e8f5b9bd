"""Prompts that change while a picture is drawn, [a:b:n] [a:n] [a::n] [a|b], and AND, which joins several prompts.

Emphasis, which is read later, passes through unchanged. What is malformed is literal text, never an error. The language is A1111's
(its 1.10 grammar was run on many thousands of prompts and compared):

    text       anything but brackets, ":", "|" and backslashes; or a backslash and any character but a line feed
    emphasis   ( prompt )   ( prompt : prompt )   [ prompt ]
    edit       [ before : after : number ]   [ after : number ]     spaces around the number are dropped
    turn       [ prompt | prompt | ... ]

A bracket that is none of these, every bracket around it, and a ":" outside of these are literal. A "|" outside of turns, or a backslash
before a line feed or at the end, makes the whole prompt literal. A1111's parser is ambiguous where a literal bracket or colon
follows an edit, "[a:b:5][c": whether it is an edit or literal text there differs between its runs. Here it is always an edit.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from webui.core.errors import InvalidRequest

# A prompt of 100,000 characters in 100 versions, or one of 10,000 that differs in each of 1,000 steps; a second or two of work.
MAX_CHARACTERS = 10_000_000

_T = TypeVar("_T")

# Possessive (++): a run of text is never tried at another length.
_LEXEME = re.compile(r"(?P<mark>[()\[\]:|])|(?P<text>(?:[^\\()\[\]:|]++|\\.)++)|\\")
# The last part of an edit.
STEP_NUMBER = re.compile(r"\s*+([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*+")
_AND = re.compile(r"\bAND\b")
_AND_WEIGHT = re.compile(r"\s*+([-+]?(?:\d+\.?|\d*\.\d+))\s*+")


@dataclass(frozen=True)
class Segment:
    """The text to draw up to and with a step; steps are model calls counted from 1."""

    last_step: int
    text: str


@dataclass(frozen=True)
class SubPrompt:
    """One of the prompts that AND joins, and how strongly it counts."""

    text: str
    weight: float


def timeline(prompt: str, steps: int, *, hires_steps: int | None = None, old: bool = False) -> tuple[Segment, ...]:
    """What to draw in which steps; the last segment ends at the last step.

    steps: of the first pass.   hires_steps: those of the second pass, to ask for its timeline; numbers with a "." are then 1 to 2
    in it, others count on from `steps`.   old: a number below 1 is a fraction, with a "." or not, and both passes are alike.
    A turn gives a segment for each step, even where neighbours are equal.
    Raises InvalidRequest where all versions of the prompt together exceed MAX_CHARACTERS.
    """
    clock = _Clock(steps, hires_steps, old)
    program: list[_Item] = []
    _compile(prompt, (), program, clock)
    spans = _play(prompt, program, clock, lambda items: "".join(item for item in items if isinstance(item, str)))
    return tuple(Segment(last_step, text) for last_step, text in spans)


def places_timeline(
    prompt: str, places: Sequence[int], steps: int, *, hires_steps: int | None = None, old: bool = False
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Which places of the prompt are drawn in which steps, as (last step, indices into `places`); the rest as `timeline`.

    places: ascending; 3 is between the third and the fourth character.   A place beside the number of an edit belongs to what is
    around the edit.   Prompts that AND joins are read apart.   Neighbouring spans differ.
    """
    clock = _Clock(steps, hires_steps, old)
    program: list[_Item] = []
    first = 0
    for start, end in _and_spans(prompt):
        within = [(index, max(places[index] - start, 0)) for index in range(first, bisect_right(places, end))]
        _compile(prompt[start:end], within, program, clock)
        first += len(within)
    joined: list[tuple[int, tuple[int, ...]]] = []
    for span in _play(prompt, program, clock, lambda items: tuple(item.index for item in items if isinstance(item, _Place))):
        if joined and joined[-1][1] == span[1]:
            joined.pop()
        joined.append(span)
    return tuple(joined)


def split_and(prompt: str) -> tuple[SubPrompt, ...]:
    """The prompts joined by the word AND, at least one; "a cat :1.2 AND a dog" weighs 1.2 and 1.

    Space in front of a text is kept, behind it dropped, as in A1111.
    """
    return tuple(_weigh(text) for text in _AND.split(prompt))


def _and_spans(prompt: str) -> Iterator[tuple[int, int]]:
    """Where each of the prompts that AND joins begins and ends, its weight included."""
    start = 0
    for word in _AND.finditer(prompt):
        yield start, word.start()
        start = word.end()
    yield start, len(prompt)


def _weigh(text: str) -> SubPrompt:
    head, colon, tail = text.rpartition(":")
    weight = _AND_WEIGHT.fullmatch(tail) if colon else None
    return SubPrompt(head.rstrip(), float(weight[1])) if weight else SubPrompt(text.rstrip(), 1.0)


# A prompt is compiled to a list that is walked once for each version: text to draw, places to note, and where to go on. All ways
# lead forward, so a walk ends, and nothing here recurses however deep the brackets are.


@dataclass(frozen=True)
class _Place:
    index: int


@dataclass(frozen=True)
class _Edit:
    """Go on at `before` up to and with `last_step`, later at `after`."""

    last_step: int
    before: int
    after: int


@dataclass(frozen=True)
class _Turn:
    """Go on at the first option in the first step, at the second in the second, and so on, round and round."""

    options: tuple[int, ...]


# An int is where to go on.
_Item = str | int | _Place | _Edit | _Turn


@dataclass(frozen=True)
class _Clock:
    """Turns the numbers of edits into steps."""

    first_steps: int
    hires_steps: int | None
    old: bool

    @property
    def steps(self) -> int:
        return self.first_steps if self.hires_steps is None or self.old else self.hires_steps

    def last_step(self, number: str) -> int:
        """The last step before the change; 0 if it changes before the first."""
        value, is_second = float(number), self.hires_steps is not None
        if self.old:
            value = value * self.steps if value < 1 else value
        elif "." in number:
            value = (value - is_second) * self.steps
        else:
            value -= self.first_steps * is_second
        # "1e999" is infinite.
        return int(min(max(value, 0.0), self.steps))


@dataclass
class _Bracket:
    """An open bracket: its kind, where it stands in the program, and the ":" and "|" directly in it."""

    kind: str
    at: int
    separators: list[int] = field(default_factory=list)
    turns: bool = False


def _compile(prompt: str, places: Sequence[tuple[int, int]], program: list[_Item], clock: _Clock) -> None:
    """Append a prompt to the program.  places: (index, place)."""
    start = len(program)
    if not _read(prompt, deque(places), program, clock):
        del program[start:]
        program.extend((*(_Place(index) for index, _ in places), prompt))


def _read(prompt: str, places: deque[tuple[int, int]], program: list[_Item], clock: _Clock) -> bool:
    """Append a prompt to the program; False if it is literal."""
    opened: list[_Bracket] = []
    for lexeme in _LEXEME.finditer(prompt):
        while places and places[0][1] < lexeme.end():
            program.append(_Place(places.popleft()[0]))
        mark, at = lexeme["mark"], len(program)
        program.append(lexeme.group())
        if mark is None:
            if lexeme["text"] is None:
                return False
        elif mark in "([":
            opened.append(_Bracket(mark, at))
        elif mark in ":|":
            if opened:
                opened[-1].separators.append(at)
                opened[-1].turns |= mark == "|"
            elif mark == "|":
                return False
        elif opened and _close(opened[-1], program, clock):
            opened.pop()
        elif any(bracket.turns for bracket in opened):
            return False
        else:
            opened.clear()
    program.extend(_Place(index) for index, _ in places)
    return not any(bracket.turns for bracket in opened)


def _close(bracket: _Bracket, program: list[_Item], clock: _Clock) -> bool:
    """Give the bracket that the last item closes its meaning, if it has one."""
    at, end, separators = bracket.at, len(program) - 1, bracket.separators
    if bracket.kind == "(":
        return program[end] == ")" and not bracket.turns and len(separators) <= 1
    if program[end] == ")":
        return False
    if not separators:
        return True
    if bracket.turns:
        if any(program[separator] == ":" for separator in separators):
            return False
        program[at] = _Turn((at + 1, *(separator + 1 for separator in separators)))
        for separator in separators:
            program[separator] = end
    else:
        last = separators[-1]
        number = [item for item in range(last + 1, end) if not isinstance(program[item], _Place)]
        value = STEP_NUMBER.fullmatch(str(program[number[0]])) if len(number) == 1 and len(separators) <= 2 else None
        if value is None:
            return False
        last_step = clock.last_step(value[1])
        program[at] = _Edit(last_step, at + 1, separators[0] + 1) if len(separators) == 2 else _Edit(last_step, last, at + 1)
        program[separators[0]] = last
        program[last] = program[number[0]] = ""
    program[end] = ""
    return True


def _play(prompt: str, program: Sequence[_Item], clock: _Clock, read: Callable[[Iterator[_Item]], _T]) -> list[tuple[int, _T]]:
    """What `read` makes of the program in each of its versions, with the last step of each."""
    edits = sorted({item.last_step for item in program if isinstance(item, _Edit) and item.last_step >= 1})
    periods = sorted({len(item.options) for item in program if isinstance(item, _Turn)})
    last_steps = sorted({clock.steps, *(range(1, clock.steps + 1) if periods else edits)})
    # Steps between the same edits and at the same place of every turn are alike.
    keys = [(bisect_left(edits, step), *((step - 1) % period for period in periods)) for step in last_steps]
    if len(set(keys)) * len(prompt) > MAX_CHARACTERS:
        raise InvalidRequest(
            f"The prompt has {len(prompt):,} characters and {len(set(keys)):,} versions in {clock.steps:,} steps; multiplied they "
            f"may be at most {MAX_CHARACTERS:,}. Shorten it, or let it change less often."
        )
    versions: dict[tuple[int, ...], _T] = {}
    for step, key in zip(last_steps, keys, strict=True):
        if key not in versions:
            versions[key] = read(_walk(program, step))
    return [(step, versions[key]) for step, key in zip(last_steps, keys, strict=True)]


def _walk(program: Sequence[_Item], step: int) -> Iterator[_Item]:
    """Text and places in one step."""
    at = 0
    while at < len(program):
        item = program[at]
        if isinstance(item, int):
            at = item
        elif isinstance(item, _Edit):
            at = item.before if step <= item.last_step else item.after
        elif isinstance(item, _Turn):
            at = item.options[(step - 1) % len(item.options)]
        else:
            yield item
            at += 1
