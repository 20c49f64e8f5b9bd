"""Whether a picture drawn again is the picture it was made from, and what is different."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from webui.core.infotext import read_infotext

HIGHEST = 255


@dataclass(frozen=True)
class Difference:
    """One pair of the infotexts that is not the same; "" where it is missing."""

    key: str
    then: str
    now: str


@dataclass(frozen=True)
class Verdict:
    """How near a picture drawn again comes.

    identical: every value of every pixel.   psnr: dB, None when identical or of another size; from about 40 on nobody sees it.
    largest: the greatest difference of a value, 0..255.   share: of values that differ, 0..1.   differences: of what was said.
    """

    identical: bool
    psnr: float | None
    largest: int
    share: float
    differences: tuple[Difference, ...]


def judge(original: Image, then: Mapping[str, str], again: Image, now: Mapping[str, str]) -> Verdict:
    """Compare pixels, and what was said of both.  then, now: read infotexts, and "Device" where known."""
    pairs = [(key, then.get(key, ""), now.get(key, "")) for key in dict.fromkeys([*then, *now])]
    differences = tuple(Difference(*pair) for pair in pairs if pair[1] != pair[2])
    if original.size != again.size:
        return Verdict(False, None, HIGHEST, 1.0, differences)
    distance = np.abs(np.asarray(original.convert("RGB"), dtype=np.int16) - np.asarray(again.convert("RGB"), dtype=np.int16))
    largest = int(distance.max())
    if not largest:
        return Verdict(True, None, 0, 0.0, differences)
    mean_square = float((distance.astype(np.float64) ** 2).mean())
    return Verdict(False, 10 * math.log10(HIGHEST**2 / mean_square), largest, float((distance > 0).mean()), differences)


def facts_of(infotext: str, device: str) -> dict[str, str]:
    """What a picture's infotext says, and the device that drew it, if known."""
    return {**read_infotext(infotext), **({"Device": device} if device else {})}
