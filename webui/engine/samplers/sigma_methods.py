"""Which method each of k-diffusion's sampler names stands for, and how many calls it will make on given noise levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType

import torch

from webui.engine.noise_levels import NoiseLevels
from webui.engine.samplers import consistency, dpm, euler, multistep, restart, sde
from webui.engine.samplers.base import Churn, Noise, Sampling, ancestral_step

Begin = Callable[[torch.Tensor], Sampling]


@dataclass(frozen=True)
class SigmaRun:
    """What a method on noise levels is given.

    sigmas: those to be run, (n + 1,), falling, n at least 1.   whole: the lowest above 0 and the highest of the whole schedule.
    ends: the highest and the lowest for DPM fast and adaptive, which choose their own between.   budget: DPM fast's calls.
    """

    sigmas: torch.Tensor
    whole: tuple[float, float]
    ends: tuple[float, float]
    budget: int
    levels: NoiseLevels
    noise: Noise
    eta: float
    churn: Churn

    @property
    def once(self) -> int:
        """Calls of a method that makes one a step."""
        return len(self.sigmas) - 1

    @property
    def twice(self) -> int:
        """Calls of a method that makes two a step, but one where it ends at 0."""
        return self.once + int((self.sigmas[1:] > 0).sum())

    @property
    def twice_down(self) -> int:
        """The same for one that steps down below the next level."""
        downs = [ancestral_step(sigma, sigma_next, self.eta)[0] for sigma, sigma_next in pairwise(self.sigmas)]
        return self.once + sum(bool(down > 0) for down in downs)


def _churned(method: Callable[..., Sampling], run: SigmaRun) -> Begin:
    return partial(method, sigmas=run.sigmas, draw=run.noise.draw, churn=run.churn)


def _ancestral(method: Callable[..., Sampling], run: SigmaRun) -> Begin:
    return partial(method, sigmas=run.sigmas, draw=run.noise.draw, eta=run.eta, strength=run.churn.noise)


def _on_a_path(method: Callable[..., Sampling], run: SigmaRun) -> Begin:
    """With the Brownian paths over the whole schedule, of which a part may be run; they are made when sampling begins."""
    return lambda x: method(x, sigmas=run.sigmas, brownian=run.noise.brownian(*run.whole), eta=run.eta, strength=run.churn.noise)


def _dpm_fast(run: SigmaRun) -> tuple[Begin, int]:
    high, low = run.ends
    calls = run.budget if high > low else 0
    begin = partial(dpm.dpm_fast, high=high, low=low, calls=calls, draw=run.noise.draw, eta=run.eta, strength=run.churn.noise)
    return begin, calls


def _dpm_adaptive(run: SigmaRun) -> tuple[Begin, None]:
    high, low = run.ends
    return partial(dpm.dpm_adaptive, high=high, low=low, draw=run.noise.draw, eta=run.eta), None


def _restart(run: SigmaRun) -> tuple[Begin, int]:
    stretches = restart.restart_stretches(run.sigmas)
    calls = sum(2 if sigma_next > 0 else 1 for _, sigma_next in stretches)
    return partial(restart.restart, stretches=stretches, draw=run.noise.draw), calls


SIGMA_METHODS: Mapping[str, Callable[[SigmaRun], tuple[Begin, int | None]]] = MappingProxyType(
    {
        "DPM++ 2M": lambda run: (partial(multistep.dpmpp_2m, sigmas=run.sigmas), run.once),
        "DPM++ SDE": lambda run: (_on_a_path(sde.dpmpp_sde, run), run.twice),
        "DPM++ 2M SDE": lambda run: (_on_a_path(sde.dpmpp_2m_sde, run), run.once),
        "DPM++ 2M SDE Heun": lambda run: (_on_a_path(partial(sde.dpmpp_2m_sde, solver="heun"), run), run.once),
        "DPM++ 2S a": lambda run: (_ancestral(sde.dpmpp_2s_ancestral, run), run.twice_down),
        "DPM++ 3M SDE": lambda run: (_on_a_path(sde.dpmpp_3m_sde, run), run.once),
        "Euler a": lambda run: (partial(euler.euler_ancestral, sigmas=run.sigmas, draw=run.noise.draw, eta=run.eta), run.once),
        "Euler": lambda run: (_churned(euler.euler, run), run.once),
        "LMS": lambda run: (partial(multistep.lms, sigmas=run.sigmas), run.once),
        "Heun": lambda run: (_churned(euler.heun, run), run.twice),
        "DPM2": lambda run: (_churned(euler.dpm_2, run), run.twice),
        "DPM2 a": lambda run: (_ancestral(euler.dpm_2_ancestral, run), run.twice_down),
        "DPM fast": _dpm_fast,
        "DPM adaptive": _dpm_adaptive,
        "Restart": _restart,
        "LCM": lambda run: (partial(consistency.lcm, sigmas=run.sigmas, levels=run.levels, draw=run.noise.draw), run.once),
    }
)
