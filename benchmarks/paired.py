"""Two ways of doing the same thing, timed in turn, so that their ratio holds when the machine's speed drifts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Paired:
    """Seconds of each run of both ways."""

    ours: tuple[float, ...]
    other: tuple[float, ...]

    def __str__(self) -> str:
        ratios = [a / b for a, b in zip(self.ours, self.other, strict=True)]
        seconds = f"{median(self.ours):.3f} s against {median(self.other):.3f} s"
        return f"{seconds}, ratio {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def time_in_turn(ours: Callable[[int], object], other: Callable[[int], object], pairs: int) -> Paired:
    """Time both so many times, after one run of each that does not count; each is given the number of the pair."""
    ours(0)
    other(0)
    seconds = [(_seconds(ours, number), _seconds(other, number)) for number in range(1, pairs + 1)]
    return Paired(*zip(*seconds, strict=True))


def _seconds(work: Callable[[int], object], number: int) -> float:
    started = time.perf_counter()
    work(number)
    return time.perf_counter() - started
