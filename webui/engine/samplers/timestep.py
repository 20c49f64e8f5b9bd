"""Methods that walk the model's own time steps in the variance-preserving scale: DDIM, DDIM CFG++ and PLMS.

x: (B, C, h, w) = sqrt(a) picture + sqrt(1 - a) noise, a = alphas_cumprod[timestep].
timesteps: rising; the first is where sampling ends and is not evaluated, as in A1111.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from webui.engine.noise_levels import NoiseLevels
from webui.engine.samplers.base import Denoise, FreshNoise, Sampling


def question(x: torch.Tensor, levels: NoiseLevels, timestep: float, *, with_uncond: bool = False) -> Denoise:
    """What is x (variance-preserving, at a time step that may be fractional) without its noise?

    The level is given in double precision, so that `levels.timestep` finds this very time step again.
    """
    below, above = math.floor(timestep), math.ceil(timestep)
    part = timestep - below
    sigma = ((1 - part) * levels.log_sigmas[below].double() + part * levels.log_sigmas[above].double()).exp()
    return Denoise(x * float((1 + sigma**2).sqrt()), sigma, with_uncond)


def ddim(
    x: torch.Tensor, levels: NoiseLevels, timesteps: Sequence[int], draw: FreshNoise, eta: float, *, cfg_plus_plus: bool = False
) -> Sampling:
    """Denoising diffusion implicit model; eta 1 is DDPM.

    cfg_plus_plus: the noise that is kept is the one seen without the prompt; the CFG scale should then be between 0 and 1.
    Sources: Song et al. 2020, equations 12 and 16; Chung et al. 2024 (CFG++).
    """
    for t_next, t in reversed(list(pairwise(timesteps))):
        a, a_next = float(levels.alphas_cumprod[t]), float(levels.alphas_cumprod[t_next])
        answer = yield question(x, levels, t, with_uncond=cfg_plus_plus)
        denoised, seen_in = (answer[0], answer[1]) if cfg_plus_plus else (answer, answer)
        eps = (x - a**0.5 * seen_in) / (1 - a) ** 0.5
        spread = eta * ((1 - a_next) / (1 - a) * (1 - a / a_next)) ** 0.5
        x = a_next**0.5 * denoised + max(0.0, 1 - a_next - spread**2) ** 0.5 * eps
        if eta:
            x = x + draw() * spread
    return x


def plms(x: torch.Tensor, levels: NoiseLevels, timesteps: Sequence[int]) -> Sampling:
    """DDIM's step with noise extrapolated from up to four answers; the first step looks ahead instead.

    Source: Liu et al. 2022 (PNDM, its linear multistep form); the weights are those of Adams and Bashforth.
    """
    seen: list[torch.Tensor] = []
    for t_next, t in reversed(list(pairwise(timesteps))):
        eps = yield from _noise_in(x, levels, t)
        if not seen:
            ahead = yield from _noise_in(_transfer(x, eps, levels, t, t_next), levels, t_next)
            mean = (eps + ahead) / 2
        elif len(seen) == 1:
            mean = (3 * eps - seen[0]) / 2
        elif len(seen) == 2:
            mean = (23 * eps - 16 * seen[0] + 5 * seen[1]) / 12
        else:
            mean = (55 * eps - 59 * seen[0] + 37 * seen[1] - 9 * seen[2]) / 24
        x = _transfer(x, mean, levels, t, t_next)
        seen = [eps, *seen[:2]]
    return x


def _noise_in(x: torch.Tensor, levels: NoiseLevels, timestep: int) -> Sampling:
    a = float(levels.alphas_cumprod[timestep])
    denoised = yield question(x, levels, timestep)
    return (x - a**0.5 * denoised) / (1 - a) ** 0.5


def _transfer(x: torch.Tensor, eps: torch.Tensor, levels: NoiseLevels, t: int, t_next: int) -> torch.Tensor:
    """From one time step to another, if eps is the noise at all between."""
    a, a_next = float(levels.alphas_cumprod[t]), float(levels.alphas_cumprod[t_next])
    denoised = (x - (1 - a) ** 0.5 * eps) / a**0.5
    return a_next**0.5 * denoised + (1 - a_next) ** 0.5 * eps
