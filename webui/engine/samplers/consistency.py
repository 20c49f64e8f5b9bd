"""Samplers for distilled models that jump to the picture in one call: LCM and TCD.

Both were distilled on every 20th of 1000 time steps: 19, 39, ... 999.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from webui.engine.noise_levels import NoiseLevels
from webui.engine.samplers.base import FreshNoise, Sampling
from webui.engine.samplers.timestep import question

SPACING = 20
DATA_SPREAD = 0.5
TIMESTEP_SCALE = 10.0


class DistilledLevels(NoiseLevels):
    """The noise levels that a distilled model knows: every 20th of the model's, asked about by the nearest one.

    It is what A1111 gives LCM in the place of a model's levels, so schedules spread over these.
    """

    def __init__(self, levels: NoiseLevels) -> None:
        super().__init__(levels.alphas_cumprod[SPACING - 1 :: SPACING])

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest known time step, on the logarithmic scale of sigma."""
        distances = (sigma.log().to(self.log_sigmas)[..., None] - self.log_sigmas).abs()
        return (distances.argmin(-1) * SPACING + SPACING - 1).to(self.log_sigmas)

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """Noise level at a time step of the model, between known ones linear in log sigma; ends are clamped."""
        return super().sigma(((timestep - (SPACING - 1)) / SPACING).clamp(0, len(self.sigmas) - 1))


def lcm(x: torch.Tensor, sigmas: torch.Tensor, levels: NoiseLevels, draw: FreshNoise) -> Sampling:
    """To the picture, then fresh noise up to the next level.  Source: Luo et al. 2023 (LCM).

    x: (B, C, h, w), a picture plus sigma times noise.   sigmas: (n + 1,), falling.   levels: the model's own.
    The model is asked at the known time step nearest to sigma, with the x that it would see at sigma itself.
    """
    known = DistilledLevels(levels)
    for sigma, sigma_next in pairwise(sigmas):
        timestep = int(known.timestep(sigma))
        asked = question(x / (1 + sigma**2).sqrt(), levels, timestep)
        answer = yield asked
        denoised = x - sigma * ((asked.x - answer) / asked.sigma)
        scaled = timestep * TIMESTEP_SCALE
        c_skip = DATA_SPREAD**2 / (scaled**2 + DATA_SPREAD**2)
        c_out = scaled / (scaled**2 + DATA_SPREAD**2) ** 0.5
        x = c_out * denoised + c_skip * x
        if sigma_next > 0:
            x = x + sigma_next * draw()
    return x


def tcd(x: torch.Tensor, levels: NoiseLevels, timesteps: Sequence[int], draw: FreshNoise, eta: float) -> Sampling:
    """Along the trajectory to a time before the next one, then fresh noise up to it.

    x: (B, C, h, w), variance-preserving at the first of `timesteps`, which fall.
    eta: the paper's gamma, how far before: 0 goes straight to the next time step, 1 all the way to the picture, as LCM does.
    Source: Zheng et al. 2024 (Trajectory Consistency Distillation), strategic stochastic sampling.
    """
    for t, t_next in pairwise((*timesteps, 0)):
        between = int((1 - eta) * t_next)
        a, a_next, a_between = (float(levels.alphas_cumprod[step]) for step in (t, t_next, between))
        denoised = yield question(x, levels, t)
        eps = (x - a**0.5 * denoised) / (1 - a) ** 0.5
        x = a_between**0.5 * denoised + (1 - a_between) ** 0.5 * eps
        if eta and t_next:
            x = (a_next / a_between) ** 0.5 * x + (1 - a_next / a_between) ** 0.5 * draw()
    return x


def tcd_timesteps(steps: int) -> list[int]:
    """Time steps of TCD, falling from 999: as many of the known ones as there are steps (at most 50), evenly picked."""
    known = list(range(1000 - 1, 0, -SPACING))
    count = min(steps, len(known))
    return [known[place * len(known) // count] for place in range(count)]
