"""Samplers as they are planned: what they ask, what they start from, what noise they add, what the infotext tells of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from tests.engine.picture_noises import PictureNoises
from tools.sampler_oracles import finish, gaussian, silent, two_bells
from webui.core.samplers import SAMPLERS, find_sampler, resolve_schedule
from webui.engine.brownian import BrownianTrees
from webui.engine.noise_levels import scaled_linear
from webui.engine.samplers import BrownianNoise, Churn, SamplerOptions, euler, multistep, plan_sampling, timestep
from webui.engine.samplers.base import ancestral_step, half_way
from webui.engine.samplers.consistency import DistilledLevels, lcm, tcd_timesteps
from webui.engine.samplers.plan import Part, part_to_run
from webui.engine.samplers.restart import restart, restart_stretches
from webui.engine.samplers.unipc import UniPCOptions, step_orders
from webui.engine.schedules import ddim_timesteps, karras

LEVELS = scaled_linear()
DATA_SPREAD = 0.7
LABELS = [sampler.label for sampler in SAMPLERS]
STOCHASTIC = sorted({sampler.label for sampler in SAMPLERS if sampler.eta} - {"TCD", "DDIM CFG++"})
TIME_STEP_SAMPLERS = ["DDIM", "DDIM CFG++", "PLMS", "UniPC", "TCD"]
SHARES_STEPS = "DPM adaptive"


def sample(
    label: str,
    steps: int = 12,
    *,
    schedule: str = "Automatic",
    noise: PictureNoises | None = None,
    options: SamplerOptions | None = None,
    denoiser: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = two_bells,
) -> torch.Tensor:
    """From noise to the end."""
    noise = noise or PictureNoises()
    plan = plan_sampling(label, schedule, steps, LEVELS, noise, options or SamplerOptions())
    return finish(plan.begin(noise.draw() * plan.noise_scale), denoiser)[0]


# What is asked.


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("label", LABELS)
def test_a_sampler_makes_the_calls_it_announces_and_stays_finite(label: str, steps: int) -> None:
    for schedule in ("Uniform", "KL Optimal", "DDIM"):
        noise = PictureNoises(shape=(4, 2, 2))
        plan = plan_sampling(label, schedule, steps, LEVELS, noise, SamplerOptions(eta_ddim=0.5, churn=Churn(3.0)))
        result, asked = finish(plan.begin(noise.draw() * plan.noise_scale), gaussian)
        assert plan.calls in (None, len(asked))
        assert asked or label == "DDIM"
        assert result.shape == (2, 4, 2, 2)
        assert result.isfinite().all()
        assert result.dtype == torch.float32


def test_only_dpm_adaptive_does_not_know_how_many_calls_it_will_make() -> None:
    unknown = [label for label in LABELS if plan_sampling(label, "Automatic", 9, LEVELS, PictureNoises(), SamplerOptions()).calls is None]
    assert unknown == ["DPM adaptive"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("denoising", [0.0, 0.05, 0.6, 1.0])
@pytest.mark.parametrize("fix_steps", [False, True])
def test_from_a_latent_a_sampler_makes_the_calls_it_announces(label: str, denoising: float, fix_steps: bool) -> None:
    noise = PictureNoises(shape=(4, 2, 2))
    plan = plan_sampling(label, "Automatic", 9, LEVELS, noise, SamplerOptions(), denoising=denoising, fix_steps=fix_steps)
    latent = torch.ones(2, 4, 2, 2)
    start = latent * plan.latent_scale + noise.draw() * plan.noise_scale
    result, asked = finish(plan.begin(start), gaussian)
    assert plan.calls in (None, len(asked))
    assert result.isfinite().all()
    if not asked:
        assert torch.equal(result, start)
    if denoising == 0 and fix_steps and resolve_schedule(find_sampler(label), "Automatic"):
        torch.testing.assert_close(result, latent)


def test_a_time_step_is_found_again_exactly_from_the_level_that_is_asked_about() -> None:
    for step in range(1000):
        asked = timestep.question(torch.zeros(1, 4, 2, 2), LEVELS, step)
        assert float(LEVELS.timestep(asked.sigma)) == step


def test_the_model_sees_the_variance_preserving_x_unchanged() -> None:
    x = PictureNoises().draw()
    asked = timestep.question(x, LEVELS, 249.75)
    torch.testing.assert_close(asked.x / (1 + asked.sigma.float() ** 2).sqrt(), x, rtol=1e-6, atol=1e-6)
    assert float(LEVELS.timestep(asked.sigma)) == pytest.approx(249.75, abs=1e-3)


class Elsewhere:
    """Noise on another device than the processor: torch's "meta", which lets nothing from the processor in but single numbers."""

    def draw(self) -> torch.Tensor:
        return torch.empty(2, 4, 8, 8, device="meta")

    def brownian(self, low: float, high: float) -> BrownianNoise:
        return BrownianTrees([1, 2], (4, 8, 8), low, high, lambda _seed, shape: torch.empty(shape, device="meta"))


# DPM adaptive has to look at the numbers themselves.
@pytest.mark.parametrize("label", [label for label in LABELS if label != "DPM adaptive"])
def test_a_sampler_stays_on_the_device_of_its_noise_and_asks_with_levels_on_the_processor(label: str) -> None:
    plan = plan_sampling(label, "Automatic", 22, LEVELS, Elsewhere(), SamplerOptions(eta=0.7, churn=Churn(5.0)))
    devices = set()

    def answer(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        devices.add((x.device.type, x.dtype, sigma.device.type, sigma.ndim))
        return torch.empty_like(x)

    result, _ = finish(plan.begin(Elsewhere().draw() * plan.noise_scale), answer)
    assert devices == {("meta", torch.float32, "cpu", 0)}
    assert (result.device.type, result.dtype) == ("meta", torch.float32)


# Where it starts.


@pytest.mark.parametrize(
    ("steps", "denoising", "fix", "part"),
    [
        (20, None, False, Part(20, None)),
        (20, 0.75, False, Part(20, 16)),
        (20, 1.0, False, Part(20, 20)),
        (20, 0.0, False, Part(20, 1)),
        (20, 0.75, True, Part(26, 20)),
        (20, 1.0, True, Part(20, 20)),
        (20, 0.0, True, Part(0, 20)),
        (6, 0.6, False, Part(6, 4)),
    ],
)
def test_the_part_of_the_schedule_that_is_run_is_a1111s(steps: int, denoising: float | None, fix: bool, part: Part) -> None:
    assert part_to_run(steps, denoising, fix_steps=fix) == part


def test_noise_is_scaled_to_the_first_level() -> None:
    plan = plan_sampling("Euler", "Karras", 8, LEVELS, PictureNoises(), SamplerOptions())
    assert float(plan.noise_scale) == pytest.approx(14.614643, rel=1e-6)
    assert [float(level) for level in plan.sigma_range] == pytest.approx([14.614643, 0.0291675], rel=1e-5)


def test_dpm_adaptive_runs_over_the_models_levels_whatever_the_schedule_is() -> None:
    plan = plan_sampling("DPM adaptive", "Karras", 1, LEVELS, PictureNoises(), SamplerOptions())
    assert [float(level) for level in plan.sigma_range] == pytest.approx([14.614643, 0.0291675], rel=1e-5)
    _, asked = finish(plan.begin(PictureNoises().draw() * plan.noise_scale), two_bells)
    assert asked[0] == pytest.approx(14.614643, rel=1e-5)


def test_the_sgm_multiplier_scales_noise_to_the_spread_of_picture_and_noise_and_says_so() -> None:
    options = SamplerOptions(sgm_noise_multiplier=True)
    plan = plan_sampling("Euler", "Karras", 8, LEVELS, PictureNoises(), options)
    assert float(plan.noise_scale) == pytest.approx((1 + 14.614643**2) ** 0.5, rel=1e-6)
    assert plan.used == {"SGM noise multiplier": "True"}
    for label, denoising in (("Euler", 0.6), ("DDIM", None)):
        plan = plan_sampling(label, "Karras", 8, LEVELS, PictureNoises(), options, denoising=denoising)
        assert plan.used == {}
        assert float(plan.noise_scale) < 10


def test_a_latent_is_noised_to_the_level_of_the_first_step_run() -> None:
    plan = plan_sampling("Euler", "Karras", 8, LEVELS, PictureNoises(), SamplerOptions(), denoising=0.5)
    assert float(plan.latent_scale) == 1.0
    assert float(plan.noise_scale) == pytest.approx(float(karras(8, LEVELS.sigma_min, LEVELS.sigma_max)[3]), rel=1e-6)


@pytest.mark.parametrize("label", TIME_STEP_SAMPLERS)
def test_time_step_samplers_mix_latent_and_noise_in_the_variance_preserving_scale(label: str) -> None:
    fresh = plan_sampling(label, None, 6, LEVELS, PictureNoises(), SamplerOptions())
    assert (float(fresh.latent_scale), float(fresh.noise_scale)) == (0.0, 1.0)
    mixed = plan_sampling(label, None, 6, LEVELS, PictureNoises(), SamplerOptions(), denoising=0.6)
    step = tcd_timesteps(6)[2] if label == "TCD" else 499
    assert float(mixed.latent_scale) == pytest.approx(float(LEVELS.alphas_cumprod[step].sqrt()))
    assert float(mixed.latent_scale**2 + mixed.noise_scale**2) == pytest.approx(1.0)


def test_a_part_of_a_schedule_has_the_brownian_path_of_the_whole() -> None:
    asked: list[tuple[float, float]] = []

    class Watching(PictureNoises):
        def brownian(self, low: float, high: float) -> BrownianNoise:
            asked.append((low, high))
            return super().brownian(low, high)

    for denoising in (None, 0.4):
        plan = plan_sampling("DPM++ 2M SDE", "Karras", 8, LEVELS, Watching(), SamplerOptions(), denoising=denoising)
        finish(plan.begin(torch.zeros(2, 4, 8, 8)), gaussian)
    assert asked[0] == asked[1] == pytest.approx((0.0291675, 14.614643), rel=1e-5)


# Noise.


@pytest.mark.parametrize("label", STOCHASTIC)
def test_fresh_noise_keeps_the_exact_spread_of_the_data(label: str) -> None:
    noise = PictureNoises([3], (4, 48, 48))
    options = SamplerOptions(eta=1.0)
    result = sample(label, 100, schedule="Karras", noise=noise, options=options, denoiser=gaussian)
    assert float(result.std()) == pytest.approx(DATA_SPREAD, rel=0.04)


def test_restarts_keep_the_exact_spread_of_the_data_too() -> None:
    noise = PictureNoises([3], (4, 64, 64))
    result = sample("Restart", 60, noise=noise, denoiser=gaussian)
    assert noise.drawn == 3
    assert float(result.std()) == pytest.approx(DATA_SPREAD, rel=0.04)


@pytest.mark.parametrize("label", STOCHASTIC)
def test_eta_0_adds_no_noise_and_eta_1_that_of_the_seeds(label: str) -> None:
    def drawn(seed: int, eta: float) -> torch.Tensor:
        noise = PictureNoises([seed, 5], (4, 8, 8))
        plan = plan_sampling(label, "Automatic", 8, LEVELS, noise, SamplerOptions(eta=eta))
        return finish(plan.begin(torch.full((2, 4, 8, 8), 2.0) * plan.noise_scale), two_bells)[0]

    assert torch.equal(drawn(1, 0.0), drawn(2, 0.0))
    assert torch.equal(drawn(1, 1.0), drawn(1, 1.0))
    assert (drawn(1, 1.0) - drawn(2, 1.0)).abs().max() > 0.05


@pytest.mark.parametrize("label", [label for label in LABELS if label != SHARES_STEPS])
def test_a_picture_of_a_batch_is_the_picture_alone(label: str) -> None:
    options = SamplerOptions(eta=0.7, churn=Churn(5.0))
    together = sample(label, 21, noise=PictureNoises([7, 8, 9]), options=options)
    for number, seed in enumerate([7, 8, 9]):
        torch.testing.assert_close(together[number], sample(label, 21, noise=PictureNoises([seed]), options=options)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("label", [sampler.label for sampler in SAMPLERS if "s_noise" in sampler.knobs])
def test_the_strength_of_noise_acts_where_it_is_said_to(label: str) -> None:
    results = [sample(label, 8, options=SamplerOptions(churn=Churn(4.0, noise=strength))) for strength in (1.0, 1.2)]
    assert (results[0] - results[1]).abs().max() > 1e-3


@pytest.mark.parametrize("label", [sampler.label for sampler in SAMPLERS if "s_noise" in sampler.knobs])
def test_a_strength_of_0_leaves_no_noise_at_all(label: str) -> None:
    results = []
    for seed in (1, 2):
        plan = plan_sampling(label, "Automatic", 8, LEVELS, PictureNoises([seed]), SamplerOptions(churn=Churn(4.0, noise=0.0)))
        results.append(finish(plan.begin(torch.full((1, 4, 8, 8), 9.0)), two_bells)[0])
    assert torch.equal(*results)


@pytest.mark.parametrize("label", [sampler.label for sampler in SAMPLERS if not sampler.knobs])
def test_other_samplers_heed_neither_churn_nor_its_strength(label: str) -> None:
    plain, churned = (sample(label, 8, options=SamplerOptions(churn=churn)) for churn in (Churn(), Churn(4.0, 0.1, 9.0, 1.2)))
    assert torch.equal(plain, churned)


def test_churn_raises_the_level_by_its_share_and_adds_just_that_noise() -> None:
    x, sigma = torch.zeros(1, 4, 100, 100), torch.tensor(2.0)
    noise = PictureNoises([4], (4, 100, 100))
    churned, higher = Churn(5.0).add(x, sigma, 20, noise.draw)
    assert float(higher) == pytest.approx(2.0 * 1.25)
    assert float(churned.std()) == pytest.approx(float(higher**2 - 4) ** 0.5, rel=0.02)
    assert float(Churn(50.0).add(x, sigma, 20, noise.draw)[1]) == pytest.approx(2.0 * 2**0.5)


@pytest.mark.parametrize(("low", "high", "acts"), [(0.0, 9.0, True), (2.0, 2.0, True), (2.1, 9.0, False), (0.0, 1.9, False)])
def test_churn_acts_between_its_levels_and_draws_outside_them_too(low: float, high: float, acts: bool) -> None:
    noise = PictureNoises()
    x, sigma = torch.zeros(2, 4, 8, 8), torch.tensor(2.0)
    churned, higher = Churn(5.0, low, high).add(x, sigma, 20, noise.draw)
    assert (higher > sigma) == acts
    assert bool(churned.abs().max() > 0) == acts
    assert noise.drawn == 1


def test_without_churn_nothing_is_drawn() -> None:
    noise = PictureNoises()
    sample("Heun", 6, noise=noise)
    assert noise.drawn == 1


# Single methods.


def smooth_sigmas(steps: int) -> torch.Tensor:
    return karras(steps, 0.05, 14.0)


def test_euler_a_without_eta_is_exactly_euler() -> None:
    sigmas = smooth_sigmas(12)
    x = PictureNoises().draw() * sigmas[0]
    ancestral, _ = finish(euler.euler_ancestral(x, sigmas, PictureNoises().draw, 0.0), two_bells)
    assert torch.equal(ancestral, finish(euler.euler(x, sigmas, silent, Churn()), two_bells)[0])


def test_ddim_without_eta_is_euler_in_sigma_space() -> None:
    timesteps = ddim_timesteps(8)
    a = LEVELS.alphas_cumprod[timesteps]
    x = PictureNoises().draw()
    through_steps, _ = finish(timestep.ddim(x, LEVELS, timesteps, silent, 0.0), two_bells)
    through_sigmas, _ = finish(euler.euler(x / a[-1].sqrt(), LEVELS.sigmas[timesteps].flip(0), silent, Churn()), two_bells)
    torch.testing.assert_close(through_steps, through_sigmas * a[0].sqrt(), rtol=0, atol=1e-5)


def test_cfg_plus_plus_keeps_the_noise_that_is_seen_without_the_prompt() -> None:
    x, a, a_next = torch.full((1, 4, 2, 2), 0.8), float(LEVELS.alphas_cumprod[501]), float(LEVELS.alphas_cumprod[1])
    sampling = timestep.ddim(x, LEVELS, [1, 501], silent, 0.0, cfg_plus_plus=True)
    assert next(sampling).with_uncond
    guided, unguided = torch.full_like(x, 0.3), torch.full_like(x, -0.2)
    with pytest.raises(StopIteration) as finished:
        sampling.send(torch.stack([guided, unguided]))
    kept = (0.8 - a**0.5 * -0.2) / (1 - a) ** 0.5
    expected = a_next**0.5 * 0.3 + (1 - a_next) ** 0.5 * kept
    torch.testing.assert_close(finished.value.value, torch.full_like(x, expected))


def test_other_samplers_ask_for_one_estimate() -> None:
    for label in set(LABELS) - {"DDIM CFG++"}:
        plan = plan_sampling(label, "Automatic", 6, LEVELS, PictureNoises(), SamplerOptions())
        assert not next(plan.begin(torch.zeros(2, 4, 8, 8))).with_uncond


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("levels", [(14.6, 6.7), (1.0, 0.9), (0.5, 0.0)])
def test_an_ancestral_step_splits_the_variance(eta: float, levels: tuple[float, float]) -> None:
    sigma, sigma_next = torch.tensor(levels, dtype=torch.float64)
    down, up = ancestral_step(sigma, sigma_next, eta)
    assert float(down**2 + up**2) == pytest.approx(float(sigma_next**2))
    assert (float(up) > 0) == (eta > 0 and sigma_next > 0)


def test_half_way_is_the_geometric_mean() -> None:
    assert float(half_way(torch.tensor(8.0), torch.tensor(0.5))) == pytest.approx(2.0)


@pytest.mark.parametrize("label", sorted(set(LABELS) - {"LMS", "LCM", "DPM fast", "DPM adaptive", *TIME_STEP_SAMPLERS}))
def test_the_last_step_to_zero_gives_what_was_denoised_last(label: str) -> None:
    noise = PictureNoises()
    plan = plan_sampling(label, "Karras", 6, LEVELS, noise, SamplerOptions())
    answers: list[torch.Tensor] = []

    def watch(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        answers.append(two_bells(x, sigma))
        return answers[-1]

    result, _ = finish(plan.begin(noise.draw() * plan.noise_scale), watch)
    torch.testing.assert_close(result, answers[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("steps", "detours", "length"), [(1, 0, 0), (19, 0, 0), (20, 1, 9), (35, 1, 9), (36, 2, 9), (60, 2, 15)])
def test_restart_goes_back_up_as_often_as_a1111(steps: int, detours: int, length: int) -> None:
    stretches = restart_stretches(smooth_sigmas(steps))
    assert len(stretches) == steps
    jumps = [number for number, (before, after) in enumerate(pairwise(stretches)) if after[0] > before[1]]
    assert len(jumps) == detours
    for jump in jumps:
        assert float(stretches[jump][1]) == pytest.approx(0.1, rel=0.4)
        assert float(stretches[jump + 1][0]) == pytest.approx(2.0, rel=0.4)
        assert float(stretches[jump + length][1]) == pytest.approx(float(stretches[jump][1]))


def test_restart_adds_the_noise_between_the_two_levels() -> None:
    stretches = [(torch.tensor(3.0), torch.tensor(1.0)), (torch.tensor(2.0), torch.tensor(0.5))]
    sampling = restart(torch.zeros(1, 4, 100, 100), stretches, PictureNoises([6], (4, 100, 100)).draw)
    next(sampling)
    sampling.send(torch.zeros(1, 4, 100, 100))
    call = sampling.send(torch.zeros(1, 4, 100, 100))
    assert float(call.sigma) == 2.0
    assert float(call.x.std()) == pytest.approx(3**0.5, rel=0.02)


def test_a_distilled_model_is_asked_at_the_nearest_time_step_it_knows() -> None:
    known = DistilledLevels(LEVELS)
    assert len(known.sigmas) == 50
    assert known.sigmas.tolist() == LEVELS.sigmas[19::20].tolist()
    assert known.timestep(known.sigmas).tolist() == list(range(19, 1000, 20))
    assert known.timestep(LEVELS.sigmas[[0, 27, 31, 990]]).tolist() == [19, 19, 39, 999]
    assert float(known.sigma(torch.tensor(39.0))) == pytest.approx(float(LEVELS.sigmas[39]))
    assert float(known.sigma(torch.tensor(0.0))) == pytest.approx(float(LEVELS.sigmas[19]))
    asked = next(lcm(torch.ones(1, 4, 2, 2), torch.tensor([5.0, 0.0]), LEVELS, silent))
    step = float(LEVELS.timestep(asked.sigma))
    assert step % 20 == 19
    assert step == pytest.approx(float(LEVELS.timestep(torch.tensor(5.0))), abs=10)
    torch.testing.assert_close(asked.x / (1 + asked.sigma**2).sqrt().float(), torch.full((1, 4, 2, 2), 26**-0.5))


def test_a_multistep_start_is_eulers() -> None:
    sigmas = torch.tensor([5.0, 3.0])
    x = PictureNoises().draw() * 5
    assert torch.equal(finish(multistep.lms(x, sigmas), two_bells)[0], finish(euler.euler(x, sigmas, silent, Churn()), two_bells)[0])


@pytest.mark.parametrize(
    "options", [UniPCOptions("bh2"), UniPCOptions("vary_coeff"), UniPCOptions(order=2), UniPCOptions(skip_type="logSNR")]
)
def test_each_of_unipcs_settings_changes_the_picture(options: UniPCOptions) -> None:
    plain, changed = (sample("UniPC", 8, options=SamplerOptions(unipc=one)) for one in (UniPCOptions(), options))
    assert (plain - changed).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("steps", "options", "orders"),
    [
        (8, UniPCOptions(), [1, 2, 3, 3, 3, 3, 2, 1]),
        (5, UniPCOptions(lower_order_final=False), [1, 2, 3, 3, 3]),
        (4, UniPCOptions(order=4), [1, 2, 3, 1]),
        (3, UniPCOptions(), [1, 2, 1]),
        (2, UniPCOptions(), [1, 1]),
        (1, UniPCOptions(lower_order_final=False), [1]),
    ],
)
def test_unipcs_orders_rise_and_fall_as_a1111s(steps: int, options: UniPCOptions, orders: list[int]) -> None:
    assert step_orders(steps, options) == orders


def test_unipc_from_a_latent_begins_at_the_last_time_step_below_the_noise() -> None:
    plan = plan_sampling("UniPC", None, 6, LEVELS, PictureNoises(), SamplerOptions(), denoising=0.6)
    _, asked = finish(plan.begin(PictureNoises().draw()), two_bells)
    steps = [float(LEVELS.timestep(torch.tensor(sigma, dtype=torch.float64))) for sigma in asked]
    assert steps == pytest.approx([333, 222, 111], abs=1e-3)


def test_dpm_fast_calls_once_for_each_step_that_was_asked_for() -> None:
    assert plan_sampling("DPM fast", "DDIM", 30, LEVELS, PictureNoises(), SamplerOptions()).calls == 30
    assert plan_sampling("DPM fast", "Karras", 6, LEVELS, PictureNoises(), SamplerOptions(), denoising=0.6).calls == 4


def test_unipc_takes_as_many_orders_as_there_are_steps() -> None:
    for steps in (1, 2, 4):
        assert sample("UniPC", steps, options=SamplerOptions(unipc=UniPCOptions(order=50, lower_order_final=False))).isfinite().all()
