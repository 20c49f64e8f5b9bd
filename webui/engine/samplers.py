"""Samplers as generators: each yields what it wants denoised, is sent the answer, and returns the finished latents.

x: (B, C, h, w).   sigmas: (n + 1,), falling, the last 0.   noise(): fresh standard normal noise of x's shape.
None of them knows of models, guidance, progress or cancelling.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import torch

from webui.engine.noise_levels import NoiseLevels
from webui.engine.schedules import SCHEDULE_FUNCTIONS, ddim_timesteps


@dataclass(frozen=True)
class Denoise:
    """A sampler's question: what is x without its noise of level sigma?"""

    x: torch.Tensor
    sigma: torch.Tensor


Sampling = Generator[Denoise, torch.Tensor, torch.Tensor]
Noise = Callable[[], torch.Tensor]


def euler(x: torch.Tensor, sigmas: torch.Tensor) -> Sampling:
    """Euler's method on dx/dsigma = (x - denoised) / sigma.  Source: Karras et al. 2022, algorithm 2 without churn."""
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        x = x + (x - denoised) / sigma * (sigma_next - sigma)
    return x


def euler_ancestral(x: torch.Tensor, sigmas: torch.Tensor, noise: Noise, eta: float = 1.0) -> Sampling:
    """Euler's method to a lower level than asked, then fresh noise up to it.  eta: 0 is plain Euler.

    Source: ancestral sampling of Ho et al. 2020 in sigma terms.
    """
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        down, up = ancestral_step(sigma, sigma_next, eta)
        x = x + (x - denoised) / sigma * (down - sigma)
        if sigma_next > 0:
            x = x + noise() * up
    return x


def heun(x: torch.Tensor, sigmas: torch.Tensor) -> Sampling:
    """Heun's second-order method: the slope is the mean of those at both ends.  Source: Karras et al. 2022, algorithm 1."""
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        slope = (x - denoised) / sigma
        x_next = x + slope * (sigma_next - sigma)
        if sigma_next > 0:
            denoised_next = yield Denoise(x_next, sigma_next)
            slope_next = (x_next - denoised_next) / sigma_next
            x_next = x + (slope + slope_next) / 2 * (sigma_next - sigma)
        x = x_next
    return x


def dpmpp_2m(x: torch.Tensor, sigmas: torch.Tensor) -> Sampling:
    """Second-order multistep in log sigma, from the last two denoised.  Source: DPM-Solver++(2M), Lu et al. 2022, algorithm 2."""
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


def ddim(x: torch.Tensor, timesteps: list[int], alphas_cumprod: torch.Tensor, noise: Noise, eta: float = 0.0) -> Sampling:
    """Denoising diffusion implicit model, in variance-preserving scale; eta 1 is DDPM.

    timesteps: rising; the first is where sampling ends and is not evaluated, as in A1111.
    Source: Song et al. 2020, equations 12 and 16.
    """
    for t_previous, t in reversed(list(pairwise(timesteps))):
        a, a_previous = alphas_cumprod[t].double(), alphas_cumprod[t_previous].double()
        x0 = yield Denoise(x / a.sqrt().float(), ((1 - a) / a).sqrt().float())
        eps = (x - a.sqrt() * x0) / (1 - a).sqrt()
        spread = eta * ((1 - a_previous) / (1 - a) * (1 - a / a_previous)).sqrt()
        x = (a_previous.sqrt() * x0 + (1 - a_previous - spread**2).sqrt() * eps).float()
        if eta > 0:
            x = x + noise() * spread.float()
    return x


def ancestral_step(sigma: torch.Tensor, sigma_next: torch.Tensor, eta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Level to go down to, and how much noise to add then, so that the variance comes out as sigma_next's."""
    up = (eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2).sqrt()).minimum(sigma_next)
    return (sigma_next**2 - up**2).sqrt(), up


@dataclass(frozen=True)
class SamplerOptions:
    """The settings that samplers know."""

    eta_ancestral: float = 1.0
    eta_ddim: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A sampling, ready to run.

    start: what pure noise is multiplied with to be the first x.   calls: denoiser calls it will make.
    begin(x): the generator.
    """

    start: torch.Tensor
    calls: int
    begin: Callable[[torch.Tensor], Sampling]


def plan_sampling(sampler: str, schedule: str | None, steps: int, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    """Everything a sampler needs to begin.  schedule: a resolved label, None for samplers that have none."""
    return _PLANNERS[sampler](schedule, steps, levels, noise, options)


def _plan_euler(schedule: str | None, steps: int, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    sigmas = _sigmas(schedule, levels, steps)
    return Plan(sigmas[0], steps, lambda x: euler(x, sigmas))


def _plan_euler_ancestral(schedule: str | None, steps: int, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    sigmas, eta = _sigmas(schedule, levels, steps), options.eta_ancestral
    return Plan(sigmas[0], steps, lambda x: euler_ancestral(x, sigmas, noise, eta))


def _plan_heun(schedule: str | None, steps: int, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    sigmas = _sigmas(schedule, levels, steps)
    return Plan(sigmas[0], 2 * steps - 1, lambda x: heun(x, sigmas))


def _plan_dpmpp_2m(schedule: str | None, steps: int, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    sigmas = _sigmas(schedule, levels, steps)
    return Plan(sigmas[0], steps, lambda x: dpmpp_2m(x, sigmas))


def _plan_ddim(schedule: str | None, steps: int, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    timesteps, alphas, eta = ddim_timesteps(steps), levels.alphas_cumprod, options.eta_ddim
    one = torch.ones((), device=alphas.device)
    return Plan(one, len(timesteps) - 1, lambda x: ddim(x, timesteps, alphas, noise, eta))


def _sigmas(schedule: str | None, levels: NoiseLevels, steps: int) -> torch.Tensor:
    return SCHEDULE_FUNCTIONS[schedule or "Uniform"](levels, steps)


_PLANNERS: Mapping[str, Callable[[str | None, int, NoiseLevels, Noise, SamplerOptions], Plan]] = MappingProxyType(
    {
        "Euler": _plan_euler,
        "Euler a": _plan_euler_ancestral,
        "Heun": _plan_heun,
        "DPM++ 2M": _plan_dpmpp_2m,
        "DDIM": _plan_ddim,
    }
)
