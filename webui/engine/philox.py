"""The random numbers of an NVIDIA card, computed on the processor, so that its pictures can be drawn anywhere."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF
_UNIT = 2.0**-32
# One turn in units of a word, rounded to float32 as in the tables that A1111 draws by.
_TURN = 1.462918119976564e-09


class Philox:
    """Normal noise as torch.randn draws it on CUDA from one seed.

    Source: Salmon et al. 2011 (Philox 4x32-10), Box & Muller 1958; which counters torch uses was measured.
    """

    def __init__(self, seed: int) -> None:
        self._key = (seed & _LOW, seed >> 32 & _LOW)
        self._drawn = 0

    def randn(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The next standard normal numbers: one call is one step of the counter, whatever its size."""
        count = math.prod(shape)
        zero = np.zeros(count, dtype=np.uint64)
        counter = (zero + np.uint64(self._drawn), zero, np.arange(count, dtype=np.uint64), zero)
        self._drawn += 1
        first, second, _, _ = _philox(counter, self._key)
        return _box_muller(first, second).reshape(shape)


_Words = npt.NDArray[np.uint64]


def _philox(counter: tuple[_Words, _Words, _Words, _Words], key: tuple[int, int]) -> tuple[_Words, _Words, _Words, _Words]:
    """Ten rounds on four 32-bit words, each held in 64 bits."""
    a, b, c, d = counter
    low, half = np.uint64(_LOW), np.uint64(32)
    for number in range(ROUNDS):
        keys = [np.uint64((word + number * weyl) & _LOW) for word, weyl in zip(key, WEYL, strict=True)]
        left, right = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = (right >> half) ^ b ^ keys[0], right & low, (left >> half) ^ d ^ keys[1], left & low
    return a, b, c, d


def _box_muller(first: _Words, second: _Words) -> npt.NDArray[np.float32]:
    """Two uniform words to one normal number, the first of the pair."""
    radius = first * _UNIT + _UNIT / 2
    angle = second * _TURN + _TURN / 2
    return (np.sqrt(-2.0 * np.log(radius)) * np.sin(angle)).astype(np.float32)
