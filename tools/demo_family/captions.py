"""Captions of composed pictures, taken apart: what is left of them when the ground is another than they say."""

from __future__ import annotations

import re

from tools.demo_family.subjects import COLOURS, SCENES, STYLES

_COLOUR = "|".join(COLOURS)
_GROUND = re.compile(rf" (on an? ({_COLOUR}) (background|and ({_COLOUR}) gradient)|{'|'.join(SCENES)})(?=,|$)")
_STYLE = re.compile(rf", ({'|'.join(STYLES.values())}) style$")


def without_ground(caption: str) -> str:
    """ "a red cat in the snow, flat style" becomes "a red cat"."""
    return _GROUND.sub("", _STYLE.sub("", caption))


def style_first(caption: str) -> str:
    """ "a red cat in the snow, flat style" becomes "a red cat, flat style, in the snow"; what has no style or no ground stays."""
    style, ground = _STYLE.search(caption), _GROUND.search(caption)
    if not style or not ground:
        return caption
    return f"{caption[: ground.start()]}{style[0]},{ground[0]}"


def things_in(caption: str) -> list[tuple[str | None, str]]:
    """Colour, or None, and subject of each thing, from left to right."""
    words = [thing.split()[1:] for thing in without_ground(caption).split(" and ")]
    return [(own[0] if len(own) == 2 else None, own[-1]) for own in words]


def ground_in(caption: str) -> str | None:
    """ "in the snow", where the caption says it."""
    found = _GROUND.search(caption)
    return found[0].strip() if found else None
