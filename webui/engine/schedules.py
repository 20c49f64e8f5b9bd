"""Spacings of noise levels: each returns n sigmas from high to low, and a final 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from webui.engine.noise_levels import NoiseLevels


def uniform(levels: NoiseLevels, steps: int) -> torch.Tensor:
    """Evenly spaced in the model's own time steps, from the last to the first."""
    return _end_with_zero(levels.sigma(torch.linspace(len(levels.sigmas) - 1, 0, steps)))


def karras(levels: NoiseLevels, steps: int, rho: float = 7.0) -> torch.Tensor:
    """Evenly spaced in sigma^(1/rho): more steps where noise is low.  Source: Karras et al. 2022, equation 5."""
    ramp = torch.linspace(0, 1, steps)
    low, high = levels.sigma_min ** (1 / rho), levels.sigma_max ** (1 / rho)
    return _end_with_zero((high + ramp * (low - high)) ** rho)


def ddim_timesteps(steps: int, trained: int = 1000) -> list[int]:
    """Time steps of DDIM, rising from 1: every (trained // steps)-th, clamped to the last.

    The first is where sampling ends and is never evaluated, so there are always at least two.
    """
    timesteps = [min(step + 1, trained - 1) for step in range(0, trained, max(1, trained // steps))]
    return timesteps if len(timesteps) > 1 else [1, trained - 1]


def _end_with_zero(sigmas: torch.Tensor) -> torch.Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


SCHEDULE_FUNCTIONS: Mapping[str, Callable[[NoiseLevels, int], torch.Tensor]] = MappingProxyType({"Uniform": uniform, "Karras": karras})
