"""Restart sampling: Heun's method that goes back up to more noise on its way, and down again.

Source: Xu et al. 2023 (Restart Sampling for Improving Generative Processes); where, how often and in how many steps as in A1111.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from webui.engine.samplers.base import FreshNoise, Sampling
from webui.engine.samplers.euler import heun_step
from webui.engine.schedules import karras

FEWEST_STEPS = 20
LOW, HIGH = 0.1, 2.0


def restart(x: torch.Tensor, stretches: list[tuple[torch.Tensor, torch.Tensor]], draw: FreshNoise) -> Sampling:
    """Heun's steps over each stretch; before one that begins above the last one's end, noise up to it.

    x: (B, C, h, w).   stretches: (sigma, sigma_next), falling.
    """
    reached = stretches[0][0] if stretches else None
    for sigma, sigma_next in stretches:
        if reached is not None and reached < sigma:
            x = x + draw() * (sigma**2 - reached**2).sqrt()
        x = yield from heun_step(x, sigma, sigma_next)
        reached = sigma_next
    return x


def restart_stretches(sigmas: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The steps of a schedule with a detour from about 0.1 up to about 2: none below 20 steps, one below 36, two from there on.

    The detours' steps are taken from the schedule's, which is then Karras's whatever it was.   sigmas: (n + 1,), falling.
    """
    steps = len(sigmas) - 1
    if steps < FEWEST_STEPS:
        return list(pairwise(sigmas))
    length, times = (9, 1) if steps < 36 else (steps // 4, 2)
    sigmas = karras(steps - length * times, float(sigmas[-2]), float(sigmas[0]))
    low, high = int((sigmas - LOW).abs().argmin()), int((sigmas - HIGH).abs().argmin())
    stretches = list(pairwise(sigmas))
    if high >= low:
        return stretches
    detour = list(pairwise(karras(length + 1, float(sigmas[low]), float(sigmas[high]))[:-1]))
    return stretches[:low] + detour * times + stretches[low:]
