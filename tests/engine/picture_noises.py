"""Noise for samplers as the program gives it: each picture has its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from webui.engine.brownian import BrownianTrees
from webui.engine.samplers import BrownianNoise


def randn(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class PictureNoises:
    """A generator and a Brownian path a picture.  drawn: how often fresh noise was asked for."""

    def __init__(self, seeds: Sequence[int] = (1, 2), shape: tuple[int, int, int] = (4, 8, 8)) -> None:
        self.seeds, self.shape, self.drawn = list(seeds), shape, 0
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(self) -> torch.Tensor:
        self.drawn += 1
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in self._generators])

    def brownian(self, low: float, high: float) -> BrownianNoise:
        return BrownianTrees(self.seeds, self.shape, low, high, randn)
