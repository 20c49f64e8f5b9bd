"""Noise: every picture has its own generator, so that a picture of a batch is the picture drawn alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class PictureNoise:
    """Fresh standard normal noise for the pictures of one batch.

    seeds: one a picture.   source: "GPU" draws on the device that draws the picture, "CPU" on the processor (the same
    numbers on every machine).
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, int, int], *, source: str, device: torch.device) -> None:
        self._shape = shape
        self._device = device
        self._drawn_on = torch.device("cpu") if source == "CPU" or device.type == "mps" else device
        self._generators = [torch.Generator(self._drawn_on).manual_seed(seed) for seed in seeds]

    def draw(self) -> torch.Tensor:
        """The next noise of every picture: (B, C, h, w), float32, on the device."""
        drawn = [torch.randn(self._shape, generator=generator, device=self._drawn_on) for generator in self._generators]
        return torch.stack(drawn).to(self._device)
