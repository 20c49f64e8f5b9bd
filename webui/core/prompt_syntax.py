"""Prompt text to weighted parts: emphasis ( ) [ ] (x:1.2), escapes, BREAK, comments. What is malformed is literal text, never an error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

ROUND_WEIGHT = 1.1
SQUARE_WEIGHT = 1 / 1.1
# Up to so many brackets around a word their weights are multiplied in A1111's order, innermost first, so that the last bit is
# A1111's too; deeper, in an order that takes no time.
EXACT_DEPTH = 16

# Possessive quantifiers (++, *+) keep a long run of digits or spaces from being tried at every length.
_LEXEME = re.compile(
    r"""
    \\(?P<escaped>[()\[\]\\])
  | (?P<stray>\\)
  | :\s*+(?P<weight>[+-]?(?:\d++(?:\.\d*+)?+|\.\d++))\s*+\)
  | (?P<bracket>[()\[\]])
  | (?P<text>[^\\()\[\]:]+|:)
    """,
    re.VERBOSE,
)
_COMMENT_LINE = re.compile(r"(?:\A|\n)#[^\n]*+\n?")
_COMMENT = re.compile(r"#[^\n]*+\n?")
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Break:
    """A BREAK: what follows starts a new chunk."""


@dataclass(frozen=True)
class Weighted:
    """A stretch of text and how strongly it counts; 1.0 is plain."""

    text: str
    weight: float = 1.0


@dataclass(eq=False)
class _Bracket:
    """One pair of brackets. What follows is known only when it closes; an unclosed one reaches to the end.

    rank: its place in the order of closing.
    """

    kind: str
    weight: float
    rank: int = 0


def parse_emphasis(prompt: str) -> list[Weighted | Break]:
    """The prompt's parts in order, neighbours of equal weight joined; [Weighted("")] for an empty prompt.

    A BREAK within brackets is what A1111 makes of it, the word "BREAK" with minus the weight of its brackets.
    Time is linear in the length of the prompt.
    """
    parts = _join_equal(_weigh(_read(prompt)))
    return [Break() if part == Weighted("BREAK", -1.0) else part for part in parts if part.text] or [Weighted("")]


def plain_prompt(prompt: str) -> list[Weighted | Break]:
    """The prompt without any syntax, for emphasis mode "None"."""
    return [Weighted(prompt)]


def without_comments(prompt: str) -> str:
    """The prompt without what follows a "#" in each line; a line that is all comment goes with its line feed.

    As in A1111: there is no escape, and what begins with a comment, or ends with one behind text, keeps a line feed there.
    """
    return _COMMENT.sub("\n", _COMMENT_LINE.sub("\n", prompt))


def _read(prompt: str) -> list[Weighted | _Bracket]:
    """Text and brackets in order; a bracket stands once where it opens and once where it closes.

    Round and square brackets are matched apart from each other, so "(a [b) c]" is read as A1111 reads it.
    """
    items: list[Weighted | _Bracket] = []
    opened: dict[str, list[_Bracket]] = {"(": [], "[": []}
    closed: list[_Bracket] = []

    def close(kind: str, weight: float) -> None:
        bracket = opened[kind].pop()
        bracket.weight = weight
        closed.append(bracket)
        items.append(bracket)

    for lexeme in _LEXEME.finditer(prompt):
        text = lexeme.group()
        if lexeme["escaped"] or lexeme["stray"]:
            # A stray backslash is nothing, but what is around it is not joined.
            items.append(Weighted(lexeme["escaped"] or ""))
        elif lexeme["weight"] and opened["("]:
            close("(", float(lexeme["weight"]))
        elif text in ("(", "["):
            bracket = _Bracket(text, ROUND_WEIGHT if text == "(" else SQUARE_WEIGHT)
            opened[text].append(bracket)
            items.append(bracket)
        elif text == ")" and opened["("]:
            close("(", ROUND_WEIGHT)
        elif text == "]" and opened["["]:
            close("[", SQUARE_WEIGHT)
        else:
            items.extend(_split_breaks(text))
    for rank, bracket in enumerate((*closed, *opened["("], *opened["["])):
        bracket.rank = rank
    return items


def _split_breaks(text: str) -> Iterator[Weighted]:
    """The text around each BREAK, stripped where it meets one, and the word itself at weight -1, A1111's sign of it."""
    texts = _BREAK.split(text)
    for number, text in enumerate(texts):
        if number:
            yield Weighted("BREAK", -1.0)
            text = text.lstrip()
        yield Weighted(text if number == len(texts) - 1 else text.rstrip())


def _weigh(items: Sequence[Weighted | _Bracket]) -> Iterator[Weighted]:
    """Each text with the product of the brackets around it."""
    # Of each kind the open brackets, with the product of their weights from the outermost on.
    around: dict[str, list[tuple[_Bracket, float]]] = {"(": [], "[": []}
    factor = 1.0
    for item in items:
        if isinstance(item, Weighted):
            yield Weighted(item.text, item.weight * factor)
            continue
        stack = around[item.kind]
        if stack and stack[-1][0] is item:
            stack.pop()
        else:
            stack.append((item, item.weight * (stack[-1][1] if stack else 1.0)))
        if len(around["("]) + len(around["["]) <= EXACT_DEPTH:
            brackets = sorted((bracket for bracket, _ in (*around["("], *around["["])), key=lambda bracket: bracket.rank)
            factor = math.prod((bracket.weight for bracket in brackets), start=1.0)
        else:
            factor = math.prod((stack[-1][1] for stack in around.values() if stack), start=1.0)


def _join_equal(parts: Iterable[Weighted]) -> list[Weighted]:
    joined: list[tuple[list[str], float]] = []
    for part in parts:
        if joined and joined[-1][1] == part.weight:
            joined[-1][0].append(part.text)
        else:
            joined.append(([part.text], part.weight))
    return [Weighted("".join(texts), weight) for texts, weight in joined]
