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
