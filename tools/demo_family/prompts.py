"""The prompts that the base is judged by: 200 of one thing and 100 of two, none of which it has been trained on."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tools.demo_family.subjects import COLOURS, SCENES, STYLES, SUBJECTS, with_article

SINGLE, DOUBLE = 200, 100
_SCENE_SHARE = 0.4


@dataclass(frozen=True)
class Wish:
    """A prompt and what is to be seen.   things: (colour, subject), from left to right.   ground: words as captions have them."""

    prompt: str
    things: tuple[tuple[str, str], ...]
    ground: str


@cache
def held_out() -> Sequence[Wish]:
    """Always the same: "a COLOUR THING, STYLE, BACKGROUND", then "a COLOUR THING and a COLOUR THING BACKGROUND"."""
    chance = random.Random("held out")
    return (*(_wish(chance, 1) for _ in range(SINGLE)), *(_wish(chance, 2) for _ in range(DOUBLE)))


def is_held_out(caption: str) -> bool:
    """Whether a caption of a composed picture says what one of these prompts says, in whatever style."""
    return re.sub(r", \w+ style$", "", caption) in _without_style()


@cache
def _without_style() -> frozenset[str]:
    return frozenset(f"{_said(wish.things)} {wish.ground}" for wish in held_out())


def _wish(chance: random.Random, count: int) -> Wish:
    scene = chance.random() < _SCENE_SHARE
    colours = chance.sample(tuple(COLOURS), count + 1)
    ground = chance.choice(tuple(SCENES)) if scene else f"on {with_article(colours[-1])} background"
    subjects = chance.sample(tuple(SUBJECTS), count)
    things = tuple(zip(colours[:count], subjects, strict=True))
    style = chance.choice(tuple(STYLES.values()))
    prompt = f"{_said(things)}, {style} style, {ground}" if count == 1 else f"{_said(things)} {ground}, {style} style"
    return Wish(prompt, things, ground)


def _said(things: Sequence[tuple[str, str]]) -> str:
    return " and ".join(with_article(f"{colour} {subject}") for colour, subject in things)
