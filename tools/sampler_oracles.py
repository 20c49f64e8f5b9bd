"""Independent answers to hold the samplers against: exact solutions, and diffusers' schedulers where they are the same mathematics.

The tests demand the agreement, and docs/samplers.md prints it. Needs tests/requirements.txt (torchsde).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSDEScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)

from webui.engine.brownian import BrownianTrees
from webui.engine.noise_levels import scaled_linear
from webui.engine.samplers import BrownianNoise, Churn, Sampling, consistency, dpm, euler, multistep, restart, sde, timestep, unipc
from webui.engine.schedules import ddim_timesteps, karras, uniform

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SPREAD, DISTANCE = 0.7, 0.9
SHAPE = (2, 4, 8, 8)
SEEDS = (11, 22)
BETAS: Mapping[str, Any] = MappingProxyType(
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
)


def finish(sampling: Sampling, denoiser: Denoiser) -> tuple[torch.Tensor, list[float]]:
    """Answer every question of a sampler: its result, and the noise levels it asked about."""
    asked: list[float] = []
    try:
        call = next(sampling)
        while True:
            asked.append(float(call.sigma))
            answer = denoiser(call.x, call.sigma)
            call = sampling.send(torch.stack([answer, answer]) if call.with_uncond else answer)
    except StopIteration as finished:
        return finished.value, asked


def gaussian(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact denoiser of data that is normal around 0 with spread SPREAD."""
    return x * SPREAD**2 / (SPREAD**2 + sigma**2)


def gaussian_path(sigma: float) -> float:
    """What the probability flow multiplies x with, up to a constant, when it comes to a level: its exact solution for `gaussian`."""
    return math.sqrt(SPREAD**2 + sigma**2)


def two_bells(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact denoiser of data that is normal around -DISTANCE or DISTANCE: not linear, and smooth."""
    variance = SPREAD**2 + sigma**2
    return (SPREAD**2 * x + sigma**2 * DISTANCE * torch.tanh(DISTANCE * x / variance)) / variance


def silent(*_levels: torch.Tensor) -> torch.Tensor:
    """No noise, whatever is asked about."""
    return torch.zeros(())


def noises(seed: int) -> Callable[[], torch.Tensor]:
    """Standard normal noise of SHAPE, the same from every such source."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator)


def paths(low: float, high: float) -> BrownianNoise:
    """Brownian noise of SHAPE for SEEDS, drawn as torchsde draws."""
    return BrownianTrees(SEEDS, SHAPE[1:], low, high, lambda seed, shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def _eps(scaled: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """What a model for `two_bells` predicts of its input, which is x / sqrt(1 + sigma^2)."""
    x = scaled * (1 + sigma**2).sqrt()
    return (x - two_bells(x, sigma)) / sigma


def _with_scheduler(scheduler: Any, x: torch.Tensor, steps: int | None, *, last: int | None = None, **options: Any) -> torch.Tensor:
    """What a scheduler makes of x on its own time steps.  steps: None if they are set.   last: how many to take, all by default."""
    if steps is not None:
        scheduler.set_timesteps(steps)
    for time in scheduler.timesteps[:last]:
        sigma = scaled_linear().sigma(torch.as_tensor(time).float())
        eps = _eps(scheduler.scale_model_input(x, time), sigma)
        x = scheduler.step(eps, time, x, return_dict=False, **options)[0]
    return x


def _on_sigmas(scheduler: Any, x: torch.Tensor, sigmas: torch.Tensor, noise: Callable[[int], torch.Tensor] | None = None) -> torch.Tensor:
    """What a variance-preserving scheduler makes of x when its levels are these.  noise: of each step, by its number."""
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas, scheduler.timesteps = sigmas, torch.arange(len(sigmas) - 1)
    x = x / (1 + sigmas[0] ** 2).sqrt()
    for number, time in enumerate(scheduler.timesteps):
        more = {"variance_noise": noise(number)} if noise else {}
        x = scheduler.step(_eps(x, sigmas[number]), time, x, return_dict=False, **more)[0]
    return x * (1 + sigmas[-1] ** 2).sqrt()


Pair = tuple[torch.Tensor, torch.Tensor]


def _own_levels(scheduler: type, sampler: Callable[..., Sampling], **options: Any) -> Pair:
    """A scheduler in sigma's scale on ten whole time steps, where neither interpolates."""
    sigmas = uniform(scaled_linear(), 10)
    x = noises(1)() * sigmas[0]
    ours, _ = finish(sampler(x, sigmas=sigmas), two_bells)
    return ours, _with_scheduler(scheduler(**BETAS, timestep_spacing="linspace"), x, 10, **options)


def _multistep(sampler: Callable[..., Sampling], *, order: int, solver: str, algorithm: str) -> Pair:
    """diffusers' family of DPM-Solver++ on Karras's levels, with the noise of the same paths."""
    sigmas = karras(16, 0.03, 14.6)
    x = noises(1)() * sigmas[0]
    brownian = paths(0.03, 14.6)
    ours, _ = finish(sampler(x, sigmas=sigmas), two_bells)
    scheduler = DPMSolverMultistepScheduler(
        **BETAS, solver_order=order, solver_type=solver, algorithm_type=algorithm, lower_order_final=False, final_sigmas_type="zero"
    )
    noise = partial(_stretch, brownian, sigmas) if algorithm.startswith("sde") else None
    return ours, _on_sigmas(scheduler, x, sigmas, noise)


def _stretch(brownian: BrownianNoise, sigmas: torch.Tensor, number: int) -> torch.Tensor:
    return brownian(sigmas[number], sigmas[number + 1]) if sigmas[number + 1] > 0 else torch.zeros(SHAPE)


def _two_stage_sde() -> Pair:
    """On the scheduler's own levels: where a path is asked about a place that differs in the last digit, its noise differs."""
    scheduler = DPMSolverSDEScheduler(**BETAS, timestep_spacing="linspace", noise_sampler_seed=list(SEEDS))
    scheduler.set_timesteps(10)
    sigmas = scheduler.sigmas.unique_consecutive()
    x = noises(1)() * sigmas[0]
    ours, _ = finish(sde.dpmpp_sde(x, sigmas, paths(float(sigmas[-2]), float(sigmas[0])), 1.0, 1.0), two_bells)
    return ours, _with_scheduler(scheduler, x, None)


def _two_stage_alike() -> Pair:
    sigmas = karras(12, 0.03, 14.6)
    x = noises(1)() * sigmas[0]
    ours, _ = finish(sde.dpmpp_2s_ancestral(x, sigmas, silent, 0.0, 1.0), two_bells)
    return ours, finish(sde.dpmpp_sde(x, sigmas, silent, 0.0, 1.0), two_bells)[0]


def _restart_alike() -> Pair:
    sigmas = karras(12, 0.03, 14.6)
    x = noises(1)() * sigmas[0]
    ours, _ = finish(restart.restart(x, restart.restart_stretches(sigmas), silent), two_bells)
    return ours, _with_heun(x, sigmas)


def _with_heun(x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    return finish(euler.heun(x, sigmas, silent, Churn()), two_bells)[0]


def _exact(sampling: Sampling, x: torch.Tensor) -> Pair:
    """Against the exact solution from 14 to 0.05."""
    return finish(sampling, gaussian)[0], x * gaussian_path(0.05) / gaussian_path(14.0)


def _implicit(eta: float) -> Pair:
    timesteps = ddim_timesteps(8)
    ours, _ = finish(timestep.ddim(noises(1)(), scaled_linear(), timesteps, noises(2), eta), two_bells)
    scheduler = DDIMScheduler(**BETAS, timestep_spacing="leading", steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    return ours, _with_scheduler(scheduler, noises(1)(), 8, last=7, eta=eta, generator=torch.Generator().manual_seed(2))


def _implicit_alike() -> Pair:
    timesteps, levels = ddim_timesteps(8), scaled_linear()
    ours, _ = finish(timestep.ddim(noises(1)(), levels, timesteps, noises(2), 0.5, cfg_plus_plus=True), two_bells)
    return ours, finish(timestep.ddim(noises(1)(), levels, timesteps, noises(2), 0.5), two_bells)[0]


def _pseudo() -> Pair:
    ours, _ = finish(timestep.plms(noises(1)(), scaled_linear(), ddim_timesteps(8)), two_bells)
    scheduler = PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    return ours, _with_scheduler(scheduler, noises(1)(), 8, last=8)


def unified(variant: str, order: int = 3) -> Pair:
    """UniPC on nine steps that fall on whole time steps."""
    ours, _ = finish(unipc.unipc(noises(1)(), scaled_linear(), 9, unipc.UniPCOptions(variant, order=order)), two_bells)
    sigmas = scaled_linear().sigmas[np.arange(999, -1, -111)]
    scheduler = UniPCMultistepScheduler(**BETAS, solver_order=order, solver_type=variant, final_sigmas_type="sigma_min")
    theirs = _on_sigmas(scheduler, noises(1)() * (1 + sigmas[0] ** 2).sqrt(), sigmas)
    return ours, theirs / (1 + sigmas[-1] ** 2).sqrt()


def _consistent() -> Pair:
    timesteps = list(range(999, 0, -140))
    levels = scaled_linear()
    sigmas = torch.cat([levels.sigmas[timesteps], torch.zeros(1)])
    ours, _ = finish(consistency.lcm(noises(1)() * (1 + sigmas[0] ** 2).sqrt(), sigmas, levels, noises(2)), two_bells)
    scheduler = LCMScheduler(**BETAS)
    scheduler.set_timesteps(timesteps=timesteps)
    return ours, _with_scheduler(scheduler, noises(1)(), None, generator=torch.Generator().manual_seed(2))


def on_trajectory(eta: float, steps: int = 8) -> Pair:
    """TCD on its own time steps."""
    ours, _ = finish(consistency.tcd(noises(1)(), scaled_linear(), consistency.tcd_timesteps(steps), noises(2), eta), two_bells)
    return ours, _with_scheduler(TCDScheduler(**BETAS), noises(1)(), steps, eta=eta, generator=torch.Generator().manual_seed(2))


@dataclass(frozen=True)
class Agreement:
    """What a sampler is held against.  oracle: its name.   pair: our result and the oracle's.   limit: on the relative difference."""

    oracle: str
    pair: Callable[[], Pair]
    limit: float = 1e-5

    def difference(self) -> float:
        """The largest difference, in units of the oracle's largest value."""
        ours, theirs = self.pair()
        return float((ours - theirs).abs().max() / theirs.abs().max())


def agreements() -> Mapping[str, Agreement]:
    """By the samplers' labels."""
    with_noise: dict[str, Any] = {"brownian": paths(0.03, 14.6), "eta": 1.0, "strength": 1.0}
    still: dict[str, Any] = {"draw": silent, "churn": Churn()}
    x = noises(1)() * 14
    sde_midpoint = partial(_multistep, partial(sde.dpmpp_2m_sde, **with_noise), order=2, solver="midpoint", algorithm="sde-dpmsolver++")
    heun_method = partial(sde.dpmpp_2m_sde, solver="heun", **with_noise)
    third_method = partial(sde.dpmpp_3m_sde, brownian=silent, eta=0.0, strength=1.0)
    again = {"generator": torch.Generator().manual_seed(2)}
    return {
        "DPM++ 2M": Agreement(
            "DPMSolverMultistep", partial(_multistep, multistep.dpmpp_2m, order=2, solver="midpoint", algorithm="dpmsolver++")
        ),
        "DPM++ SDE": Agreement("DPMSolverSDE", _two_stage_sde),
        "DPM++ 2M SDE": Agreement("DPMSolverMultistep (SDE, midpoint)", sde_midpoint),
        "DPM++ 2M SDE Heun": Agreement(
            "DPMSolverMultistep (SDE, heun)", partial(_multistep, heun_method, order=2, solver="heun", algorithm="sde-dpmsolver++")
        ),
        "DPM++ 2S a": Agreement("DPM++ SDE, both without noise", _two_stage_alike),
        "DPM++ 3M SDE": Agreement(
            "DPMSolverMultistep (order 3), without noise",
            partial(_multistep, third_method, order=3, solver="heun", algorithm="dpmsolver++"),
        ),
        "Euler a": Agreement(
            "EulerAncestralDiscrete",
            partial(_own_levels, EulerAncestralDiscreteScheduler, partial(euler.euler_ancestral, draw=noises(2), eta=1.0), **again),
        ),
        "Euler": Agreement("EulerDiscrete", partial(_own_levels, EulerDiscreteScheduler, partial(euler.euler, **still))),
        "LMS": Agreement("LMSDiscrete", partial(_own_levels, LMSDiscreteScheduler, multistep.lms)),
        "Heun": Agreement("HeunDiscrete", partial(_own_levels, HeunDiscreteScheduler, partial(euler.heun, **still))),
        "DPM2": Agreement("KDPM2Discrete", partial(_own_levels, KDPM2DiscreteScheduler, partial(euler.dpm_2, **still))),
        "DPM2 a": Agreement(
            "KDPM2AncestralDiscrete",
            partial(
                _own_levels, KDPM2AncestralDiscreteScheduler, partial(euler.dpm_2_ancestral, draw=noises(2), eta=1.0, strength=1.0),
                generator=torch.Generator().manual_seed(2),
            ),
        ),
        "DPM fast": Agreement("the exact solution, 48 calls", lambda: _exact(dpm.dpm_fast(x, 14.0, 0.05, 48, silent, 0.0, 1.0), x), 1e-3),
        "DPM adaptive": Agreement("the exact solution", lambda: _exact(dpm.dpm_adaptive(x, 14.0, 0.05, silent, 0.0), x), 0.05),
        "Restart": Agreement("Heun, without a restart", _restart_alike),
        "DDIM": Agreement("DDIM", partial(_implicit, 0.6)),
        "DDIM CFG++": Agreement("DDIM, where both estimates are one", _implicit_alike),
        "PLMS": Agreement("PNDM", _pseudo),
        "UniPC": Agreement("UniPCMultistep (bh1)", partial(unified, "bh1")),
        "LCM": Agreement("LCM", _consistent),
        "TCD": Agreement("TCD", partial(on_trajectory, 0.3)),
    }  # fmt: skip
