"""Prompt text to weighted parts: emphasis ( ) [ ] (x:1.2), escapes, BREAK. What is malformed is literal text, never an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

ROUND_WEIGHT = 1.1
SQUARE_WEIGHT = 1 / 1.1

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
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^<>]++>")
_SQUARE = re.compile(r"\[([^\[\]]*+)\]")
_AND = re.compile(r"\bAND\b")
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Break:
    """A BREAK: what follows starts a new chunk."""


@dataclass(frozen=True)
class Weighted:
    """A stretch of text and how strongly it counts; 1.0 is plain."""

    text: str
    weight: float = 1.0


@dataclass
class _Bracket:
    """One pair of brackets; its weight is known only when it closes, and an unclosed one reaches to the end."""

    kind: str
    weight: float


def parse_emphasis(prompt: str) -> list[Weighted | Break]:
    """The prompt's parts in order, neighbours of equal weight joined; [Weighted("")] for an empty prompt.

    Time is linear in the length of the prompt.
    """
    return _split_breaks(_weigh(_read(prompt))) or [Weighted("")]


def unread_syntax(prompt: str) -> list[str]:
    """What of A1111's syntax stands in the prompt and is drawn as plain text by this version, for a remark to the user."""
    found = ["extra networks <...>"] if _NETWORK.search(prompt) else []
    if any(":" in content or "|" in content for content in _SQUARE.findall(prompt)):
        found.append("prompt editing [a:b:n] and [a|b]")
    return [*found, "AND"] if _AND.search(prompt) else found


def plain_prompt(prompt: str) -> list[Weighted | Break]:
    """The prompt without any syntax, for emphasis mode "None"."""
    return [Weighted(prompt)]


def _read(prompt: str) -> list[str | _Bracket]:
    """Text and brackets in order; a bracket stands once where it opens and once where it closes.

    Round and square brackets are matched apart from each other, so "(a [b) c]" is read as A1111 reads it.
    """
    items: list[str | _Bracket] = []
    opened: dict[str, list[_Bracket]] = {"(": [], "[": []}
    for lexeme in _LEXEME.finditer(prompt):
        text = lexeme.group()
        if lexeme["escaped"]:
            items.append(lexeme["escaped"])
        elif lexeme["weight"] and opened["("]:
            items.append(_close(opened["("], float(lexeme["weight"])))
        elif text in ("(", "["):
            bracket = _Bracket(text, ROUND_WEIGHT if text == "(" else SQUARE_WEIGHT)
            opened[text].append(bracket)
            items.append(bracket)
        elif text == ")" and opened["("]:
            items.append(_close(opened["("], ROUND_WEIGHT))
        elif text == "]" and opened["["]:
            items.append(_close(opened["["], SQUARE_WEIGHT))
        elif not lexeme["stray"]:
            items.append(text)
    return items


def _close(opened: list[_Bracket], weight: float) -> _Bracket:
    bracket = opened.pop()
    bracket.weight = weight
    return bracket


def _weigh(items: Sequence[str | _Bracket]) -> list[Weighted]:
    """Each text with the product of the brackets around it."""
    around: dict[str, list[tuple[_Bracket | None, float]]] = {"(": [(None, 1.0)], "[": [(None, 1.0)]}
    parts: list[Weighted] = []
    for item in items:
        if isinstance(item, str):
            parts.append(Weighted(item, around["("][-1][1] * around["["][-1][1]))
            continue
        stack = around[item.kind]
        if stack[-1][0] is item:
            stack.pop()
        else:
            stack.append((item, stack[-1][1] * item.weight))
    return parts


def _split_breaks(parts: Sequence[Weighted]) -> list[Weighted | Break]:
    """BREAK splits only outside brackets, as in A1111; equal neighbours are joined first so that words stay whole."""
    result: list[Weighted | Break] = []
    for part in _join_equal(parts):
        if part.weight != 1.0:
            result.append(part)
            continue
        texts = _BREAK.split(part.text)
        for number, text in enumerate(texts):
            if number:
                result.append(Break())
                text = text.lstrip()
            result.append(Weighted(text.rstrip() if number < len(texts) - 1 else text))
    return [part for part in result if part != Weighted("")]


def _join_equal(parts: Sequence[Weighted]) -> list[Weighted]:
    joined: list[tuple[list[str], float]] = []
    for part in parts:
        if joined and joined[-1][1] == part.weight:
            joined[-1][0].append(part.text)
        else:
            joined.append(([part.text], part.weight))
    return [Weighted("".join(texts), weight) for texts, weight in joined]
