"""With which power of the step length each sampler's error falls, measured against an exact solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from tools.sampler_oracles import finish, gaussian, gaussian_path, silent
from webui.engine.noise_levels import scaled_linear
from webui.engine.samplers import Churn, Sampling, dpm, euler, multistep, restart, sde, timestep, unipc


def even_sigmas(steps: int) -> torch.Tensor:
    """Levels from 14 to 0.05, evenly on a logarithmic scale, in double precision."""
    return torch.linspace(math.log(14.0), math.log(0.05), steps + 1, dtype=torch.float64).exp()


def _over_steps(sampler: Callable[..., Sampling]) -> Callable[[int], float]:
    """Error over so many even steps, of a sampler that takes x and sigmas."""

    def error(steps: int) -> float:
        sigmas = even_sigmas(steps)
        result, _ = finish(sampler(torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64), sigmas=sigmas), gaussian)
        return abs(float(result) - 3.0 * gaussian_path(float(sigmas[-1])) / gaussian_path(float(sigmas[0])))

    return error


def _restarted(x: torch.Tensor, sigmas: torch.Tensor) -> Sampling:
    return restart.restart(x, list(pairwise(sigmas)), silent)


def _fast_error(calls: int) -> float:
    result, _ = finish(dpm.dpm_fast(torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64), 14.0, 0.05, calls, silent, 0.0, 1.0), gaussian)
    return abs(float(result) - 3.0 * gaussian_path(0.05) / gaussian_path(14.0))


def _vp_path(step: int) -> float:
    """The exact solution in the variance-preserving scale."""
    levels = scaled_linear()
    return float(levels.alphas_cumprod[step]) ** 0.5 * gaussian_path(float(levels.sigmas[step]))


def _walking(sampler: Callable[..., Sampling]) -> Callable[[int], float]:
    """Error over so many even steps between the time steps 50 and 950, of a sampler that takes x, levels and timesteps."""

    def error(steps: int) -> float:
        timesteps = list(range(50, 951, 900 // steps))
        sampling = sampler(torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64), levels=scaled_linear(), timesteps=timesteps)
        return abs(float(finish(sampling, gaussian)[0]) - 3.0 * _vp_path(50) / _vp_path(950))

    return error


def unipc_error(options: unipc.UniPCOptions, steps: int) -> float:
    """Error of UniPC over all time steps."""
    result, _ = finish(unipc.unipc(torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64), scaled_linear(), steps, options), gaussian)
    return abs(float(result) - 3.0 * _vp_path(0) / _vp_path(999))


@dataclass(frozen=True)
class Convergence:
    """A solver's error as a function of its steps, without noise.  order: what it should fall with.   steps: two numbers to compare."""

    order: float
    error: Callable[[int], float]
    steps: tuple[int, int] = (64, 128)

    def measured(self) -> float:
        """The order that shows between the two numbers of steps."""
        few, many = self.steps
        return math.log(self.error(few) / self.error(many)) / math.log(many / few)


def convergences() -> Mapping[str, Convergence]:
    """By the samplers' labels. LCM, TCD and DPM adaptive have none: they solve no ODE, or choose their steps."""
    still: dict[str, Any] = {"draw": silent, "churn": Churn()}
    ancestral: dict[str, Any] = {"draw": silent, "eta": 0.0, "strength": 1.0}
    path: dict[str, Any] = {"brownian": silent, "eta": 0.0, "strength": 1.0}
    third = unipc.UniPCOptions(order=2, skip_type="logSNR")
    return {
        "DPM++ 2M": Convergence(2, _over_steps(multistep.dpmpp_2m)),
        "DPM++ SDE": Convergence(2, _over_steps(partial(sde.dpmpp_sde, **path))),
        "DPM++ 2M SDE": Convergence(2, _over_steps(partial(sde.dpmpp_2m_sde, **path))),
        "DPM++ 2M SDE Heun": Convergence(2, _over_steps(partial(sde.dpmpp_2m_sde, solver="heun", **path))),
        "DPM++ 2S a": Convergence(2, _over_steps(partial(sde.dpmpp_2s_ancestral, **ancestral))),
        "DPM++ 3M SDE": Convergence(2, _over_steps(partial(sde.dpmpp_3m_sde, **path))),
        "Euler a": Convergence(1, _over_steps(partial(euler.euler_ancestral, draw=silent, eta=0.0))),
        "Euler": Convergence(1, _over_steps(partial(euler.euler, **still))),
        "LMS": Convergence(3, _over_steps(multistep.lms), (128, 512)),
        "Heun": Convergence(2, _over_steps(partial(euler.heun, **still))),
        "DPM2": Convergence(2, _over_steps(partial(euler.dpm_2, **still))),
        "DPM2 a": Convergence(2, _over_steps(partial(euler.dpm_2_ancestral, **ancestral))),
        "DPM fast": Convergence(2, _fast_error, (48, 192)),
        "Restart": Convergence(2, _over_steps(_restarted)),
        "DDIM": Convergence(1, _walking(partial(timestep.ddim, draw=silent, eta=0.0)), (100, 300)),
        "DDIM CFG++": Convergence(1, _walking(partial(timestep.ddim, draw=silent, eta=0.0, cfg_plus_plus=True)), (100, 300)),
        "PLMS": Convergence(2, _walking(timestep.plms), (100, 300)),
        "UniPC": Convergence(3, partial(unipc_error, third), (20, 40)),
    }
