"""Multistep methods: each step looks back at the answers of earlier ones.

x: (B, C, h, w).   sigmas: (n + 1,), falling.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from webui.engine.samplers.base import Denoise, Sampling, slope


def lms(x: torch.Tensor, sigmas: torch.Tensor, order: int = 4) -> Sampling:
    """Linear multistep (Adams-Bashforth on uneven levels): integrates the polynomial through the last `order` slopes.

    Source: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, III.1.
    """
    levels = sigmas.double().tolist()
    slopes: list[torch.Tensor] = []
    for step in range(len(levels) - 1):
        denoised = yield Denoise(x, sigmas[step])
        slopes = [slope(x, sigmas[step], denoised), *slopes[: order - 1]]
        weights = adams_weights(levels[step::-1][: len(slopes)], levels[step + 1])
        x = x + sum(weight * one for weight, one in zip(weights, slopes, strict=True))
    return x


def adams_weights(known: list[float], target: float) -> list[float]:
    """What to weight function values at the places `known` with, for the integral from known[0] to target.

    It is exact for polynomials of a degree below len(known). The places differ from one another.
    """
    weights = []
    for place in known:
        others = [other for other in known if other != place]
        # In terms of the distance from known[0], so that the lower end of the integral is 0.
        basis = np.atleast_1d(np.poly([other - known[0] for other in others]))
        integral = np.polyval(np.polyint(basis), target - known[0])
        weights.append(float(integral / np.prod([place - other for other in others])))
    return weights


def dpmpp_2m(x: torch.Tensor, sigmas: torch.Tensor) -> Sampling:
    """Second-order multistep in log sigma, from the last two denoised.  Source: DPM-Solver++(2M), Lu et al. 2022b, algorithm 2."""
    previous: torch.Tensor | None = None
    h_previous = sigmas.new_zeros(())
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        h = sigma.log() - sigma_next.log()
        extrapolated = denoised
        if previous is not None and sigma_next > 0:
            r = h_previous / h
            extrapolated = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * previous
        x = sigma_next / sigma * x - torch.expm1(-h) * extrapolated
        previous, h_previous = denoised, h
    return x
