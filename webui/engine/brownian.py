"""Brownian paths that are a function of a seed alone, whatever places are asked about and in whatever order.

A path over an interval is a tree. Its increment over the whole is drawn first; then an interval is cut in half, again and again, by
drawing what the left half has of the increment. Every cut draws from its own generator, whose seed follows from the path's seed and the
cut's place in the tree, so that a part can be found without the rest. Seeds, places and numbers are those of torchsde 0.2.6's
BrownianTree, which k-diffusion takes.
Source: Lévy's construction; Li et al. 2020 (Scalable Gradients for Stochastic Differential Equations), virtual Brownian tree.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Randn = Callable[[int, tuple[int, ...]], torch.Tensor]

POOL_SIZE = 24
DIGITS = 6
KEPT_CUTS = 64


class BrownianTrees:
    """Noise for SDE samplers: one path a picture, over noise levels.

    seeds: one a picture.   shape: of one picture's noise.   low, high: the levels that the paths span.
    randn(seed, shape): standard normal noise from a fresh generator of that seed.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], low: float, high: float, randn: Randn) -> None:
        self._paths = [BrownianPath(seed, shape, low, high, randn) for seed in seeds]

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        """The paths' increments from one level to another, scaled to be standard normal: (pictures, *shape). 0 between equal levels."""
        low, high = sorted((float(sigma), float(sigma_next)))
        increments = torch.stack([path.increment(low, high) for path in self._paths])
        if low == high:
            return increments
        direction = 1 if sigma < sigma_next else -1
        return increments * direction / (sigma_next - sigma).abs().sqrt()


@dataclass(frozen=True)
class _Interval:
    """A node of the tree.  place, depth: the place-th of the 2**depth halves of halves."""

    start: float
    end: float
    place: int = 0
    depth: int = 0

    def halves(self) -> tuple[_Interval, _Interval]:
        middle = round(0.5 * (self.end + self.start), DIGITS)
        left = _Interval(self.start, middle, 2 * self.place, self.depth + 1)
        return left, _Interval(middle, self.end, 2 * self.place + 1, self.depth + 1)


class BrownianPath:
    """One path over [start, end], with places rounded to 6 digits.

    It keeps the last 64 cuts, which is more than two places need, and finds older ones again when they are asked for.
    """

    def __init__(self, seed: int, shape: tuple[int, ...], start: float, end: float, randn: Randn) -> None:
        self._seed = seed
        self._shape = shape
        self._randn = randn
        self._root = _Interval(round(start, DIGITS), round(end, DIGITS))
        first = np.random.SeedSequence(entropy=seed, pool_size=POOL_SIZE).generate_state(3)[0]
        self._whole = randn(int(first), shape) * math.sqrt(end - start)
        self._lefts: OrderedDict[tuple[int, int], torch.Tensor] = OrderedDict()

    def increment(self, low: float, high: float) -> torch.Tensor:
        """W(high) - W(low), low <= high; places outside the interval count as its ends."""
        low, high = (round(min(max(place, self._root.start), self._root.end), DIGITS) for place in (low, high))
        total = torch.zeros_like(self._whole)
        # Depth first from left to right, so that the parts are added in their order.
        waiting = [(self._root, self._whole)] if low < high else []
        while waiting:
            interval, w = waiting.pop()
            if low <= interval.start and interval.end <= high:
                total = total + w
                continue
            left, right = interval.halves()
            w_left = self._left_of(interval, left, w)
            if high > right.start:
                waiting.append((right, w - w_left))
            if low < left.end:
                waiting.append((left, w_left))
        return total

    def _left_of(self, interval: _Interval, left: _Interval, w: torch.Tensor) -> torch.Tensor:
        """What the left half has of an interval's increment w: a Brownian bridge's value at the cut."""
        key = interval.place, interval.depth
        if key in self._lefts:
            self._lefts.move_to_end(key)
            return self._lefts[key]
        seed = np.random.SeedSequence(entropy=self._seed, spawn_key=key, pool_size=POOL_SIZE).generate_state(4)[0]
        before, after = left.end - interval.start, interval.end - left.end
        share = 1 / (interval.end - interval.start)
        value = before * w * share + math.sqrt(before * after * share) * self._randn(int(seed), self._shape)
        self._lefts[key] = value
        if len(self._lefts) > KEPT_CUTS:
            self._lefts.popitem(last=False)
        return value
