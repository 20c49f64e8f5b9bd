"""What samplers are made of: the question they ask, the noise they are given, and the arithmetic they share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Denoise:
    """A sampler's question: what is x without its noise?

    x: (B, C, h, w), a picture plus sigma times standard normal noise.   sigma: a scalar.
    with_uncond: False: the answer is the guided estimate (B, C, h, w); True: it is (2, B, C, h, w), the guided one and the one
    towards the negative prompt alone.
    """

    x: torch.Tensor
    sigma: torch.Tensor
    with_uncond: bool = False


Sampling = Generator[Denoise, torch.Tensor, torch.Tensor]
FreshNoise = Callable[[], torch.Tensor]
BrownianNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Noise(Protocol):
    """Where samplers get noise for the pictures of one batch from: (B, C, h, w), standard normal."""

    def draw(self) -> torch.Tensor:
        """The next noise of every picture."""
        ...

    def brownian(self, low: float, high: float) -> BrownianNoise:
        """Paths over the noise levels from low to high: (sigma, sigma_next) -> their scaled increments between the two."""
        ...


@dataclass(frozen=True)
class Churn:
    """Noise added before a step.  Source: Karras et al. 2022, algorithm 2 and its S_churn, S_tmin, S_tmax and S_noise.

    amount: over all steps; 0 adds none.   low, high: the levels between which it is added.   noise: its strength.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = float("inf")
    noise: float = 1.0

    def add(self, x: torch.Tensor, sigma: torch.Tensor, steps: int, draw: FreshNoise) -> tuple[torch.Tensor, torch.Tensor]:
        """x with noise, and its higher level. Draws even where it adds nothing, as k-diffusion does: later steps see the same noise."""
        if self.amount == 0:
            return x, sigma
        fresh = draw() * self.noise
        if not self.low <= sigma <= self.high:
            return x, sigma
        higher = sigma * (min(self.amount / steps, 2**0.5 - 1) + 1)
        return x + fresh * (higher**2 - sigma**2).sqrt(), higher


def slope(x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
    """dx/dsigma of the probability flow.  Source: Karras et al. 2022, equations 1 and 3."""
    return (x - denoised) / sigma


def ancestral_step(sigma: torch.Tensor, sigma_next: torch.Tensor, eta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Level to go down to, and how much noise to add then, so that the variance comes out as sigma_next's.

    eta: 0 adds no noise, 1 is Ho et al. 2020's posterior variance in sigma terms.
    """
    up = (eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2).sqrt()).minimum(sigma_next)
    return (sigma_next**2 - up**2).sqrt(), up


def half_way(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
    """The level in the middle of the two on a logarithmic scale.  Both above 0."""
    return sigma.log().lerp(sigma_next.log(), 0.5).exp()
