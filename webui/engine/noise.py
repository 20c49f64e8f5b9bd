"""Noise: every picture has its own generator, so that a picture of a batch is the picture drawn alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.engine.brownian import BrownianTrees
from webui.engine.philox import Philox

NEARLY_PARALLEL = 0.9995


class Stream(Protocol):
    """Standard normal numbers from one seed, one draw after the other."""

    def randn(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next numbers, float32."""
        ...


@dataclass(frozen=True)
class NoiseSource:
    """Where numbers are drawn.

    kind: "GPU" on the device that draws the picture, "CPU" on the processor (the same numbers on every machine), "NV" on the
    processor the numbers that an NVIDIA card would draw.
    """

    kind: str
    device: torch.device

    def stream(self, seed: int) -> Stream:
        """A new stream of this seed."""
        if self.kind == "NV":
            return _PhiloxStream(seed, self.device)
        drawn_on = torch.device("cpu") if self.kind == "CPU" or self.device.type == "mps" else self.device
        return _TorchStream(seed, drawn_on, self.device)

    def randn(self, seed: int, shape: tuple[int, ...]) -> torch.Tensor:
        """The first numbers of a seed's stream."""
        return self.stream(seed).randn(shape)


class _TorchStream:
    def __init__(self, seed: int, drawn_on: torch.device, device: torch.device) -> None:
        self._generator = torch.Generator(drawn_on).manual_seed(seed)
        self._device = device

    def randn(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, device=self._generator.device).to(self._device)


class _PhiloxStream:
    def __init__(self, seed: int, device: torch.device) -> None:
        self._philox = Philox(seed)
        self._device = device

    def randn(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._philox.randn(shape)).to(self._device)


@dataclass(frozen=True)
class PictureSeed:
    """All that decides one picture's noise.

    resized_from: (h, w) of the latents whose noise is laid into the centre, or None.   ensd: added to the seed for the noise
    after the first.
    """

    seed: int
    subseed: int = 0
    subseed_strength: float = 0.0
    resized_from: tuple[int, int] | None = None
    ensd: int = 0


def picture_seed(request: GenerationRequest, settings: Settings, downscale: int) -> PictureSeed:
    """The seed of one picture alone.  downscale: pixels a latent stands for in each direction."""
    old = (request.seed_resize_from_h // downscale, request.seed_resize_from_w // downscale)
    return PictureSeed(
        request.seed,
        max(0, request.subseed),
        request.subseed_strength,
        old if min(old) > 0 else None,
        settings.eta_noise_seed_delta,
    )


class PictureNoise:
    """Standard normal noise for the pictures of one batch, each from its own stream.

    seeds: one a picture.   shape: (C, h, w) of one latent.   All answers are float32, on the source's device.
    """

    def __init__(self, seeds: Sequence[PictureSeed], shape: tuple[int, int, int], source: NoiseSource) -> None:
        self._seeds = seeds
        self._shape = shape
        self._source = source
        self._streams = [source.stream(one.seed) for one in seeds]

    def first(self) -> torch.Tensor:
        """The noise that the pictures grow from: (B, C, h, w). To be called once, before `draw`."""
        first = torch.stack([self._first(one, stream) for one, stream in zip(self._seeds, self._streams, strict=True)])
        self._streams = [self._source.stream(one.seed + one.ensd) if one.ensd else stream for one, stream in self._pairs()]
        return first

    def draw(self) -> torch.Tensor:
        """The next noise of every picture: (B, C, h, w)."""
        return torch.stack([stream.randn(self._shape) for stream in self._streams])

    def brownian(self, low: float, high: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Noise of a Brownian motion over sigma from low to high: of two levels, its normalised increment between them."""
        return BrownianTrees([one.seed for one in self._seeds], self._shape, low, high, self._source.randn)

    def _pairs(self) -> list[tuple[PictureSeed, Stream]]:
        return list(zip(self._seeds, self._streams, strict=True))

    def _first(self, one: PictureSeed, stream: Stream) -> torch.Tensor:
        """One picture's first noise, blended with that of its variation seed and resized, as in A1111."""
        channels, *size = self._shape
        drawn = (channels, *one.resized_from) if one.resized_from else self._shape
        is_resized = list(drawn[1:]) != size
        noise = self._source.randn(one.seed, drawn) if is_resized else stream.randn(drawn)
        if one.subseed_strength:
            noise = slerp(one.subseed_strength, noise, self._source.randn(one.subseed, drawn))
        return paste_centred(noise, stream.randn(self._shape)) if is_resized else noise


def slerp(weight: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """From low (weight 0) to high (1) along the sphere, each row of each channel for itself.  low, high: (C, h, w).

    Source: Shoemake 1985. Noise that is nearly parallel is mixed linearly, with A1111's exchanged weights.
    """
    cosine = (low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    if cosine.mean() > NEARLY_PARALLEL:
        return low * weight + high * (1 - weight)
    angle = cosine.acos()
    share_low, share_high = ((1.0 - weight) * angle).sin() / angle.sin(), (weight * angle).sin() / angle.sin()
    return share_low.unsqueeze(1) * low + share_high.unsqueeze(1) * high


def paste_centred(inner: torch.Tensor, outer: torch.Tensor) -> torch.Tensor:
    """`outer` with `inner` laid into its middle, cut where it is larger.  inner: (C, h', w').   outer: (C, h, w), is changed."""
    source, target = [slice(None)], [slice(None)]
    for small, large in zip(inner.shape[1:], outer.shape[1:], strict=True):
        offset = (large - small) // 2
        length = small if offset >= 0 else small + 2 * offset
        source.append(slice(max(-offset, 0), max(-offset, 0) + length))
        target.append(slice(max(offset, 0), max(offset, 0) + length))
    outer[tuple(target)] = inner[tuple(source)]
    return outer
