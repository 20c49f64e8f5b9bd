"""Spacings of noise levels: falling sigmas, and a last one where sampling ends, which is 0 for all but KL Optimal.

All numbers are made as A1111 1.10.1 makes them: from the model's lowest and highest level, or from its time steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from scipy.special import betaincinv

from webui.core.samplers import find_schedule

AYS_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
OLD_LOW, OLD_HIGH = 0.1, 10.0


class Levels(Protocol):
    """What a schedule wants to know of a model: its trained noise levels, rising, and their time steps."""

    sigmas: torch.Tensor
    log_sigmas: torch.Tensor

    @property
    def sigma_min(self) -> float: ...

    @property
    def sigma_max(self) -> float: ...

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor: ...

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class Spacing:
    """What the user sets of schedules; 0 stands for the model's or the schedule's own value.

    sigma_min, sigma_max: the levels it spans.   rho: Karras's and Polyexponential's exponent.   alpha, beta: of the Beta schedule.
    old_range: A1111's first range, 0.1 to 10, whatever the model.   discard: one step longer, without the last level above the end.
    """

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    alpha: float = 0.6
    beta: float = 0.6
    old_range: bool = False
    discard: bool = False


@dataclass(frozen=True)
class Wish:
    """What a schedule is made from.  low, high: the levels it spans.   sdxl: whether the model is an SDXL."""

    levels: Levels
    steps: int
    low: float
    high: float
    rho: float
    spacing: Spacing
    sdxl: bool


def make_sigmas(
    label: str, levels: Levels, steps: int, spacing: Spacing, *, sdxl: bool = False, added: Callable[[Wish], torch.Tensor] | None = None
) -> torch.Tensor:
    """The levels of a schedule: float32, falling; as a rule steps + 1 of them ("DDIM" may have more).

    label: not "Automatic".   steps: at least 1; with none, there is nothing but the end.   added: makes those of an extension's.
    """
    if steps < 1:
        return torch.zeros(1)
    low, high = (OLD_LOW, OLD_HIGH) if spacing.old_range else (levels.sigma_min, levels.sigma_max)
    rho = spacing.rho or find_schedule(label).default_rho
    asked = Wish(levels, steps + spacing.discard, spacing.sigma_min or low, spacing.sigma_max or high, rho, spacing, sdxl)
    sigmas = added(asked) if added else SCHEDULE_FUNCTIONS[label](asked)
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if spacing.discard else sigmas


def uniform(levels: Levels, steps: int) -> torch.Tensor:
    """Evenly spaced over the trained levels, from the last to the first; between two of them linear in log sigma."""
    place = torch.linspace(len(levels.log_sigmas) - 1, 0, steps)
    part = place.frac()
    return _end_with_zero(((1 - part) * levels.log_sigmas[place.floor().long()] + part * levels.log_sigmas[place.ceil().long()]).exp())


def karras(steps: int, low: float, high: float, rho: float = 7.0) -> torch.Tensor:
    """Evenly spaced in sigma^(1/rho): more steps where noise is low.  Source: Karras et al. 2022, equation 5."""
    ramp = torch.linspace(0, 1, steps)
    start, end = high ** (1 / rho), low ** (1 / rho)
    return _end_with_zero((start + ramp * (end - start)) ** rho)


def exponential(steps: int, low: float, high: float) -> torch.Tensor:
    """Evenly spaced in log sigma."""
    return _end_with_zero(torch.linspace(math.log(high), math.log(low), steps).exp())


def polyexponential(steps: int, low: float, high: float, rho: float = 1.0) -> torch.Tensor:
    """log sigma falls as a power rho of what is left of the way; 1 is Exponential."""
    ramp = torch.linspace(1, 0, steps) ** rho
    return _end_with_zero((ramp * (math.log(high) - math.log(low)) + math.log(low)).exp())


def normal(levels: Levels, steps: int, low: float, high: float) -> torch.Tensor:
    """Evenly spaced in the time steps between the highest and the lowest level."""
    return _end_with_zero(levels.sigma(_timesteps(levels, steps, low, high)))


def sgm_uniform(levels: Levels, steps: int, low: float, high: float) -> torch.Tensor:
    """As Normal one step longer, without the lowest level: what Stability's generative-models do."""
    return _end_with_zero(levels.sigma(_timesteps(levels, steps + 1, low, high)[:-1]))


def kl_optimal(steps: int, low: float, high: float) -> torch.Tensor:
    """Evenly spaced in arctan sigma, from the highest to the lowest level, which is where it ends: not at 0.

    Source: Sabour et al. 2024 (Align Your Steps), the optimum for Gaussian data.
    """
    place = torch.arange(steps + 1) / steps
    return torch.tan(place * torch.tensor(low).arctan() + (1.0 - place) * torch.tensor(high).arctan())


def align_your_steps(steps: int, *, sdxl: bool = False) -> torch.Tensor:
    """The published optimal levels, between them linear in log sigma.  Source: Sabour et al. 2024."""
    known = np.array(AYS_SDXL if sdxl else AYS_SD1)
    if steps == len(known):
        return _end_with_zero(torch.tensor(known, dtype=torch.float32))
    rising = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(known)), np.log(known[::-1]))
    return _end_with_zero(torch.tensor(np.exp(rising)[::-1].copy(), dtype=torch.float32))


def simple(levels: Levels, steps: int) -> torch.Tensor:
    """Every so many-th trained level, counted from the highest."""
    stride = len(levels.sigmas) / steps
    return _end_with_zero(levels.sigmas[[-1 - int(step * stride) for step in range(steps)]])


def ddim(levels: Levels, steps: int) -> torch.Tensor:
    """Every so many-th trained level, counted from the second lowest; there may be more of them than steps."""
    stride = max(len(levels.sigmas) // steps, 1)
    return _end_with_zero(levels.sigmas[1::stride].flip(0))


def beta(steps: int, low: float, high: float, alpha: float = 0.6, beta: float = 0.6) -> torch.Tensor:
    """Levels at even quantiles of a beta distribution over them.  Source: Lee et al. 2024 (Beta Sampling is All You Need)."""
    quantiles = betaincinv(alpha, beta, 1 - np.linspace(0, 1, steps))
    return _end_with_zero(torch.tensor(low + quantiles * (high - low), dtype=torch.float32))


def ddim_timesteps(steps: int, trained: int = 1000) -> list[int]:
    """Time steps of DDIM, rising from 1: every (trained // steps)-th, clamped to the last.

    The first is where sampling ends and is never evaluated, so there are always at least two.
    """
    timesteps = [min(step + 1, trained - 1) for step in range(0, trained, max(1, trained // steps))]
    return timesteps if len(timesteps) > 1 else [1, trained - 1]


def _timesteps(levels: Levels, count: int, low: float, high: float) -> torch.Tensor:
    start, end = (float(levels.timestep(torch.tensor(float(sigma)))) for sigma in (high, low))
    return torch.linspace(start, end, count)


def _end_with_zero(sigmas: torch.Tensor) -> torch.Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


SCHEDULE_FUNCTIONS: Mapping[str, Callable[[Wish], torch.Tensor]] = MappingProxyType(
    {
        "Uniform": lambda wish: uniform(wish.levels, wish.steps),
        "Karras": lambda wish: karras(wish.steps, wish.low, wish.high, wish.rho),
        "Exponential": lambda wish: exponential(wish.steps, wish.low, wish.high),
        "Polyexponential": lambda wish: polyexponential(wish.steps, wish.low, wish.high, wish.rho),
        "SGM Uniform": lambda wish: sgm_uniform(wish.levels, wish.steps, wish.low, wish.high),
        "KL Optimal": lambda wish: kl_optimal(wish.steps, wish.low, wish.high),
        "Align Your Steps": lambda wish: align_your_steps(wish.steps, sdxl=wish.sdxl),
        "Simple": lambda wish: simple(wish.levels, wish.steps),
        "Normal": lambda wish: normal(wish.levels, wish.steps, wish.low, wish.high),
        "DDIM": lambda wish: ddim(wish.levels, wish.steps),
        "Beta": lambda wish: beta(wish.steps, wish.low, wish.high, wish.spacing.alpha, wish.spacing.beta),
    }
)
