"""Samplers against diffusers' schedulers, against closed-form solutions, and against what A1111 was seen to ask."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UNet2DConditionModel,
)

from tests.engine.tiny_models import TinyModel
from webui.core.samplers import SAMPLERS, resolve_schedule
from webui.engine.noise_levels import EpsPrediction, input_scale, scaled_linear
from webui.engine.samplers import (
    SamplerOptions,
    Sampling,
    ancestral_step,
    ddim,
    dpmpp_2m,
    euler,
    euler_ancestral,
    heun,
    plan_sampling,
)
from webui.engine.schedules import karras, uniform

# diffusers' schedulers are not written for numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LEVELS = scaled_linear()
A1111 = json.loads((Path(__file__).parent / "data" / "a1111_noise_levels.json").read_text())
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
DATA_SPREAD = 0.7

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def finish(sampling: Sampling, denoiser: Denoiser) -> tuple[torch.Tensor, list[float]]:
    """Answer every question of a sampler: its result, and the noise levels it asked about."""
    asked: list[float] = []
    call = next(sampling)
    while True:
        asked.append(float(call.sigma))
        try:
            call = sampling.send(denoiser(call.x, call.sigma))
        except StopIteration as finished:
            return finished.value, asked


def gaussian(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact denoiser of data that is normal around 0 with spread DATA_SPREAD."""
    return x * DATA_SPREAD**2 / (DATA_SPREAD**2 + sigma**2)


def smooth_sigmas(steps: int, last: float = 0.05) -> torch.Tensor:
    return torch.linspace(math.log(14.0), math.log(last), steps + 1, dtype=torch.float64).exp()


def noise_of(seed: int, shape: tuple[int, ...] = (2, 4, 8, 8)) -> Callable[[], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


class Model:
    """A tiny UNet as our denoiser and as diffusers' epsilon."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self._unet = unet
        self._context = torch.randn(2, 77, unet.config["cross_attention_dim"], generator=torch.Generator().manual_seed(5))

    @torch.no_grad()
    def eps(self, scaled: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return self._unet(scaled, timestep, self._context, return_dict=False)[0]

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return EpsPrediction.denoised(x, self.eps(x * input_scale(sigma), LEVELS.timestep(sigma)), sigma)


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> Model:
    return Model(tiny.unet)


def diffusers_result(scheduler: Any, model: Model, x: torch.Tensor, steps: int, *, last: int | None = None, **options: Any) -> torch.Tensor:
    """What a scheduler of diffusers makes of x with the same UNet.  last: how many of its time steps to take, all by default."""
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps[:last]:
        eps = model.eps(scheduler.scale_model_input(x, timestep), timestep)
        x = scheduler.step(eps, timestep, x, return_dict=False, **options)[0]
    return x


def assert_same_latents(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


# Ten steps fall on whole time steps, where both interpolate nothing.
@pytest.mark.parametrize("steps", [4, 10])
def test_euler_is_diffusers_euler(model: Model, steps: int) -> None:
    sigmas = uniform(LEVELS, steps)
    x = noise_of(1)() * sigmas[0]
    ours, _ = finish(euler(x, sigmas), model)
    theirs = diffusers_result(EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace"), model, x, steps)
    assert_same_latents(ours, theirs)


def test_euler_on_karras_levels_is_diffusers(model: Model) -> None:
    sigmas = karras(LEVELS, 8)
    x = noise_of(1)() * sigmas[0]
    ours, _ = finish(euler(x, sigmas), model)
    theirs = diffusers_result(EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace", use_karras_sigmas=True), model, x, 8)
    assert_same_latents(ours, theirs)


@pytest.mark.parametrize("steps", [4, 10])
def test_euler_a_is_diffusers_with_the_same_noise(model: Model, steps: int) -> None:
    sigmas = uniform(LEVELS, steps)
    x = noise_of(1)() * sigmas[0]
    ours, _ = finish(euler_ancestral(x, sigmas, noise_of(2)), model)
    scheduler = EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="linspace")
    theirs = diffusers_result(scheduler, model, x, steps, generator=torch.Generator().manual_seed(2))
    assert_same_latents(ours, theirs)


@pytest.mark.parametrize("steps", [4, 10])
def test_heun_is_diffusers(model: Model, steps: int) -> None:
    sigmas = uniform(LEVELS, steps)
    x = noise_of(1)() * sigmas[0]
    ours, _ = finish(heun(x, sigmas), model)
    theirs = diffusers_result(HeunDiscreteScheduler(**BETAS, timestep_spacing="linspace"), model, x, steps)
    assert_same_latents(ours, theirs)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim_is_diffusers_without_its_last_step(model: Model, eta: float) -> None:
    timesteps = [1, 126, 251, 376, 501, 626, 751, 876]
    x = noise_of(1)()
    ours, _ = finish(ddim(x, timesteps, LEVELS.alphas_cumprod, noise_of(2), eta), model)
    scheduler = DDIMScheduler(**BETAS, timestep_spacing="leading", steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    theirs = diffusers_result(scheduler, model, x, 8, last=7, eta=eta, generator=torch.Generator().manual_seed(2))
    assert_same_latents(ours, theirs)


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2), (dpmpp_2m, 2)])
def test_a_sampler_converges_to_the_exact_solution_in_its_order(sampler: Callable[..., Sampling], order: int) -> None:
    start = torch.tensor([[[[3.0]]]], dtype=torch.float64)

    def error(steps: int) -> float:
        sigmas = smooth_sigmas(steps)
        exact = start * ((DATA_SPREAD**2 + sigmas[-1] ** 2) / (DATA_SPREAD**2 + sigmas[0] ** 2)).sqrt()
        return abs(float(finish(sampler(start, sigmas), gaussian)[0] - exact))

    errors = [error(steps) for steps in (64, 128, 256)]
    assert errors[0] > 1e-7
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", ["Euler a", "DDIM"])
def test_fresh_noise_keeps_the_exact_spread_of_the_data(name: str) -> None:
    shape = (1, 4, 100, 100)
    noise = noise_of(3, shape)
    plan = plan_sampling(name, "Karras", 400, LEVELS, noise, SamplerOptions(eta_ancestral=1.0, eta_ddim=1.0))
    result, _ = finish(plan.begin(noise() * plan.start), gaussian)
    assert float(result.std()) == pytest.approx(DATA_SPREAD, rel=0.015)


def test_euler_a_without_eta_is_exactly_euler() -> None:
    sigmas = karras(LEVELS, 12)
    x = noise_of(1)() * sigmas[0]
    ancestral, _ = finish(euler_ancestral(x, sigmas, noise_of(2), eta=0.0), gaussian)
    assert torch.equal(ancestral, finish(euler(x, sigmas), gaussian)[0])


def test_euler_a_with_eta_uses_its_noise() -> None:
    sigmas = karras(LEVELS, 12)
    x = noise_of(1)() * sigmas[0]
    results = [finish(euler_ancestral(x, sigmas, noise_of(seed), eta=1.0), gaussian)[0] for seed in (2, 2, 3)]
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=0.1)


def test_ddim_without_eta_is_euler_in_sigma_space(model: Model) -> None:
    timesteps = [1, 126, 251, 376, 501, 626, 751, 876]
    a = LEVELS.alphas_cumprod[timesteps]
    sigmas = ((1 - a) / a).sqrt().flip(0)
    x = noise_of(1)()
    through_steps, _ = finish(ddim(x, timesteps, LEVELS.alphas_cumprod, noise_of(2)), model)
    through_sigmas, _ = finish(euler(x / a[-1].sqrt(), sigmas), model)
    assert_same_latents(through_steps, through_sigmas * a[0].sqrt())


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("levels", [(14.6, 6.7), (1.0, 0.9), (0.5, 0.0)])
def test_an_ancestral_step_splits_the_variance(eta: float, levels: tuple[float, float]) -> None:
    sigma, sigma_next = torch.tensor(levels, dtype=torch.float64)
    down, up = ancestral_step(sigma, sigma_next, eta)
    assert float(down**2 + up**2) == pytest.approx(float(sigma_next**2))
    assert (float(up) > 0) == (eta > 0 and sigma_next > 0)


@pytest.mark.parametrize("sampler", [euler, heun, dpmpp_2m])
def test_the_last_step_to_zero_gives_what_was_denoised_last(sampler: Callable[..., Sampling]) -> None:
    sampling = sampler(torch.full((1, 1, 1, 1), 5.0), torch.tensor([10.0, 0.0]))
    next(sampling)
    with pytest.raises(StopIteration) as finished:
        sampling.send(torch.full((1, 1, 1, 1), 0.25))
    assert float(finished.value.value) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("case", ["base", "sampler-euler-a", "sampler-heun", "sampler-dpmpp-2m", "schedule-euler-karras", "sampler-ddim"])
def test_a_sampler_asks_about_the_levels_that_a1111_asks_about(case: str) -> None:
    seen = A1111[case]
    sampler = next(sampler for sampler in SAMPLERS if sampler.label == seen["sampler"])
    noise = noise_of(1)
    plan = plan_sampling(sampler.label, resolve_schedule(sampler, seen["schedule"]), seen["steps"], LEVELS, noise, SamplerOptions())
    _, asked = finish(plan.begin(noise() * plan.start), gaussian)
    if sampler.has_schedule:
        assert asked == pytest.approx(seen["asked"], rel=2e-6)
    else:
        assert [round(float(LEVELS.timestep(torch.tensor(sigma))), 2) for sigma in asked] == seen["asked"]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 150])
@pytest.mark.parametrize("schedule", ["Uniform", "Karras"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.label)
def test_every_sampler_makes_the_calls_it_announces_and_stays_finite(sampler: Any, schedule: str, steps: int) -> None:
    noise = noise_of(1, (1, 4, 2, 2))
    plan = plan_sampling(sampler.label, resolve_schedule(sampler, schedule), steps, LEVELS, noise, SamplerOptions(eta_ddim=0.5))
    result, asked = finish(plan.begin(noise() * plan.start), gaussian)
    assert len(asked) == plan.calls
    assert result.shape == (1, 4, 2, 2)
    assert result.isfinite().all()
    assert result.dtype == torch.float32
