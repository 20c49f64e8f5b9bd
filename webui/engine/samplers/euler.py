"""Single-step methods on dx/dsigma: Euler's, Heun's and the midpoint rule, with churn or with ancestral noise.

x: (B, C, h, w).   sigmas: (n + 1,), falling; from the last but one to a last 0 all of them take Euler's step.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from webui.engine.samplers.base import Churn, Denoise, FreshNoise, Sampling, ancestral_step, half_way, slope


def euler(x: torch.Tensor, sigmas: torch.Tensor, draw: FreshNoise, churn: Churn) -> Sampling:
    """Euler's method.  Source: Karras et al. 2022, algorithm 2 without its second-order correction."""
    for sigma, sigma_next in pairwise(sigmas):
        x, higher = churn.add(x, sigma, len(sigmas) - 1, draw)
        denoised = yield Denoise(x, higher)
        x = x + slope(x, higher, denoised) * (sigma_next - higher)
    return x


def euler_ancestral(x: torch.Tensor, sigmas: torch.Tensor, draw: FreshNoise, eta: float) -> Sampling:
    """Euler's method to a lower level than asked, then fresh noise up to it.  eta: 0 is plain Euler.

    Source: ancestral sampling of Ho et al. 2020 in sigma terms.
    """
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        down, up = ancestral_step(sigma, sigma_next, eta)
        x = x + slope(x, sigma, denoised) * (down - sigma)
        if sigma_next > 0:
            x = x + draw() * up
    return x


def heun(x: torch.Tensor, sigmas: torch.Tensor, draw: FreshNoise, churn: Churn) -> Sampling:
    """Heun's second-order method: the slope is the mean of those at both ends.  Source: Karras et al. 2022, algorithm 2."""
    for sigma, sigma_next in pairwise(sigmas):
        x, higher = churn.add(x, sigma, len(sigmas) - 1, draw)
        x = yield from heun_step(x, higher, sigma_next)
    return x


def heun_step(x: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor) -> Sampling:
    """One step of Heun's method; to 0, of Euler's."""
    denoised = yield Denoise(x, sigma)
    first = slope(x, sigma, denoised)
    x_next = x + first * (sigma_next - sigma)
    if sigma_next == 0:
        return x_next
    denoised_next = yield Denoise(x_next, sigma_next)
    second = slope(x_next, sigma_next, denoised_next)
    return x + (first + second) / 2 * (sigma_next - sigma)


def dpm_2(x: torch.Tensor, sigmas: torch.Tensor, draw: FreshNoise, churn: Churn) -> Sampling:
    """The midpoint rule, the midpoint taken on a logarithmic scale.  Source: DPM-Solver-2, Lu et al. 2022a."""
    for sigma, sigma_next in pairwise(sigmas):
        x, higher = churn.add(x, sigma, len(sigmas) - 1, draw)
        x = yield from _midpoint_step(x, higher, sigma_next)
    return x


def dpm_2_ancestral(x: torch.Tensor, sigmas: torch.Tensor, draw: FreshNoise, eta: float, strength: float) -> Sampling:
    """The midpoint rule to a lower level than asked, then fresh noise up to it.  strength: of that noise."""
    for sigma, sigma_next in pairwise(sigmas):
        down, up = ancestral_step(sigma, sigma_next, eta)
        x = yield from _midpoint_step(x, sigma, down)
        if down > 0:
            x = x + draw() * strength * up
    return x


def _midpoint_step(x: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor) -> Sampling:
    denoised = yield Denoise(x, sigma)
    first = slope(x, sigma, denoised)
    if sigma_next == 0:
        return x + first * (sigma_next - sigma)
    middle = half_way(sigma, sigma_next)
    x_middle = x + first * (middle - sigma)
    denoised_middle = yield Denoise(x_middle, middle)
    return x + slope(x_middle, middle, denoised_middle) * (sigma_next - sigma)
