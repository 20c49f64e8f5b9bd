"""Spacings of noise levels are A1111's."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from webui.core.samplers import SCHEDULES
from webui.engine.noise_levels import scaled_linear
from webui.engine.schedules import (
    AYS_SD1,
    AYS_SDXL,
    SCHEDULE_FUNCTIONS,
    Spacing,
    align_your_steps,
    beta,
    ddim_timesteps,
    exponential,
    karras,
    kl_optimal,
    make_sigmas,
    normal,
    polyexponential,
    sgm_uniform,
    uniform,
)

LEVELS = scaled_linear()
A1111 = json.loads((Path(__file__).parent / "data" / "a1111_sampling.json").read_text())
DEFAULT = Spacing()
LOW, HIGH = LEVELS.sigma_min, LEVELS.sigma_max
OF_EULER = {
    "schedule-euler-karras": "Karras",
    "schedule-euler-sgm-uniform": "SGM Uniform",
    "schedule-euler-kl-optimal": "KL Optimal",
    "schedule-euler-align-your-steps": "Align Your Steps",
    "schedule-euler-beta": "Beta",
    "schedule-dpmpp2m-uniform": "Uniform",
    "sampler-dpmpp-2m": "Karras",
    "base": "Uniform",
}


def asked(case: str) -> torch.Tensor:
    return torch.tensor(A1111[case]["asked"])


@pytest.mark.parametrize(("case", "label"), OF_EULER.items())
def test_the_levels_are_a1111s(case: str, label: str) -> None:
    ours = make_sigmas(label, LEVELS, A1111[case]["steps"], DEFAULT)
    torch.testing.assert_close(ours[:-1], asked(case), rtol=2e-6, atol=0)


def test_the_range_and_the_exponent_of_the_settings_are_heeded_as_by_a1111() -> None:
    ours = make_sigmas("Karras", LEVELS, 6, Spacing(sigma_min=0.1, sigma_max=10, rho=5))
    torch.testing.assert_close(ours[:-1], asked("knob-sigma-range"), rtol=2e-6, atol=0)


def test_the_levels_of_zero_terminal_snr_are_a1111s() -> None:
    ours = make_sigmas("Uniform", LEVELS.with_zero_terminal_snr(), 6, DEFAULT)
    torch.testing.assert_close(ours[:-1], asked("knob-ztsnr"), rtol=2e-5, atol=0)


@pytest.mark.parametrize("case", ["sampler-dpmpp-3m-sde", "sampler-dpm2-a"])
def test_a_discarded_level_is_the_last_above_zero_of_one_step_more(case: str) -> None:
    label = {"sampler-dpmpp-3m-sde": "Exponential", "sampler-dpm2-a": "Karras"}[case]
    ours = make_sigmas(label, LEVELS, 8, Spacing(discard=True))
    assert len(ours) == 9
    levels = asked(case)[:: 2 if case == "sampler-dpm2-a" else 1]
    torch.testing.assert_close(ours[:-1], levels, rtol=2e-6, atol=0)


def test_every_schedule_but_automatic_has_a_function() -> None:
    assert {schedule.label for schedule in SCHEDULES} - {"Automatic"} == set(SCHEDULE_FUNCTIONS)


@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
@pytest.mark.parametrize("steps", [1, 2, 3, 11, 20, 150])
def test_levels_fall_to_the_end_in_single_precision(label: str, steps: int) -> None:
    sigmas = make_sigmas(label, LEVELS, steps, DEFAULT)
    assert sigmas.dtype == torch.float32
    assert sigmas.isfinite().all()
    assert (sigmas.diff() < 0).all()
    assert float(sigmas[-1]) == pytest.approx(LOW if label == "KL Optimal" else 0.0, rel=1e-5)
    assert len(sigmas) == steps + 1 or label == "DDIM"


@pytest.mark.parametrize("label", sorted(set(SCHEDULE_FUNCTIONS) - {"DDIM", "Align Your Steps"}))
def test_levels_begin_at_the_highest(label: str) -> None:
    assert float(make_sigmas(label, LEVELS, 20, DEFAULT)[0]) == pytest.approx(HIGH, rel=1e-5)


@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
def test_without_steps_there_is_only_the_end(label: str) -> None:
    assert make_sigmas(label, LEVELS, 0, DEFAULT).tolist() == [0.0]


RANGED = ("Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Normal", "Beta")


@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
def test_a_range_is_heeded_by_the_schedules_that_have_one(label: str) -> None:
    narrow = make_sigmas(label, LEVELS, 8, Spacing(sigma_min=0.2, sigma_max=5.0))
    if label not in RANGED:
        assert torch.equal(narrow, make_sigmas(label, LEVELS, 8, DEFAULT))
        return
    assert float(narrow[0]) == pytest.approx(5.0, rel=1e-4)
    assert (narrow[:-1] >= 0.2 * (1 - 1e-4)).all()


@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
def test_the_old_range_is_the_same_for_all_models(label: str) -> None:
    old = make_sigmas(label, LEVELS, 8, Spacing(old_range=True))
    assert (label in RANGED) == (float(old[0]) == pytest.approx(10.0, rel=1e-4))
    overridden = make_sigmas(label, LEVELS, 8, Spacing(old_range=True, sigma_max=3.0))
    assert (label in RANGED) == (float(overridden[0]) == pytest.approx(3.0, rel=1e-4))


@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
def test_the_exponent_is_heeded_by_karras_and_polyexponential_alone(label: str) -> None:
    same = torch.equal(make_sigmas(label, LEVELS, 8, Spacing(rho=3.0)), make_sigmas(label, LEVELS, 8, DEFAULT))
    assert same == (label not in ("Karras", "Polyexponential"))


def test_karras_is_even_in_the_root_of_sigma() -> None:
    roots = karras(9, 0.1, 10.0, rho=4.0)[:-1].double() ** 0.25
    torch.testing.assert_close(roots.diff(), roots.diff()[0].expand(8), rtol=1e-4, atol=0)


def test_exponential_is_even_in_log_sigma_and_polyexponential_of_1_is_the_same() -> None:
    logs = exponential(9, 0.1, 10.0)[:-1].double().log()
    torch.testing.assert_close(logs.diff(), logs.diff()[0].expand(8), rtol=1e-4, atol=0)
    torch.testing.assert_close(polyexponential(9, 0.1, 10.0), exponential(9, 0.1, 10.0), rtol=1e-5, atol=0)
    squared = polyexponential(3, 0.1, 10.0, rho=2.0)
    assert float(squared[1]) == pytest.approx(0.1 * 100**0.25, rel=1e-5)


def test_kl_optimal_is_even_in_arctan_sigma() -> None:
    angles = kl_optimal(9, 0.1, 10.0).double().arctan()
    torch.testing.assert_close(angles.diff(), angles.diff()[0].expand(9), rtol=1e-4, atol=0)


def test_normal_is_uniform_where_the_range_is_the_models() -> None:
    torch.testing.assert_close(normal(LEVELS, 12, LOW, HIGH), uniform(LEVELS, 12), rtol=1e-4, atol=0)


def test_sgm_uniform_is_normal_one_longer_without_the_lowest() -> None:
    longer = normal(LEVELS, 13, LOW, HIGH)
    torch.testing.assert_close(sgm_uniform(LEVELS, 12, LOW, HIGH), torch.cat([longer[:12], longer[-1:]]), rtol=1e-6, atol=0)


def test_simple_and_ddim_take_trained_levels() -> None:
    assert make_sigmas("Simple", LEVELS, 4, DEFAULT)[:-1].tolist() == LEVELS.sigmas[[999, 749, 499, 249]].tolist()
    assert make_sigmas("DDIM", LEVELS, 4, DEFAULT)[:-1].tolist() == LEVELS.sigmas[[751, 501, 251, 1]].tolist()


def test_ddims_levels_are_more_than_the_steps_where_these_do_not_divide_the_trained() -> None:
    assert len(make_sigmas("DDIM", LEVELS, 30, DEFAULT)) == 32


def test_align_your_steps_has_the_published_levels_at_eleven_and_runs_log_linear_between_them() -> None:
    assert align_your_steps(11)[:-1].tolist() == torch.tensor(AYS_SD1).tolist()
    assert align_your_steps(11, sdxl=True)[:-1].tolist() == torch.tensor(AYS_SDXL).tolist()
    finer = align_your_steps(21)
    torch.testing.assert_close(finer[:-1:2], torch.tensor(AYS_SD1), rtol=1e-5, atol=0)
    torch.testing.assert_close(finer[1:-1:2] ** 2, finer[:-2:2] * finer[2:-1:2], rtol=1e-5, atol=0)


def test_sdxl_has_its_own_optimal_levels() -> None:
    assert not torch.equal(
        make_sigmas("Align Your Steps", LEVELS, 8, DEFAULT), make_sigmas("Align Your Steps", LEVELS, 8, DEFAULT, sdxl=True)
    )


@pytest.mark.parametrize("shape", [(0.6, 0.6), (0.5, 1.5), (3.0, 1.0)])
def test_beta_takes_the_quantiles_of_its_distribution(shape: tuple[float, float]) -> None:
    expected = [0.1 + 9.9 * float(stats.beta.ppf(place, *shape)) for place in 1 - np.linspace(0, 1, 7)]
    torch.testing.assert_close(beta(7, 0.1, 10.0, *shape)[:-1], torch.tensor(expected), rtol=1e-5, atol=1e-6)
    named = make_sigmas("Beta", LEVELS, 7, Spacing(sigma_min=0.1, sigma_max=10.0, alpha=shape[0], beta=shape[1]))
    assert torch.equal(named, beta(7, 0.1, 10.0, *shape))


def test_ddim_walks_a1111s_time_steps_and_never_evaluates_the_last() -> None:
    expected = [int(timestep) for timestep in A1111["sampler-ddim"]["asked"]]
    assert expected == [876, 751, 626, 501, 376, 251, 126]
    assert ddim_timesteps(8)[:0:-1] == expected
    assert ddim_timesteps(8)[0] == 1


def test_ddim_makes_one_step_more_where_the_number_does_not_divide_a_thousand() -> None:
    assert len(ddim_timesteps(30)) == 31
    assert ddim_timesteps(30)[-1] == 991


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 150, 999, 1000, 1001])
def test_ddims_time_steps_rise_and_stay_among_the_trained(steps: int) -> None:
    timesteps = ddim_timesteps(steps)
    assert len(timesteps) >= 2
    assert all(low <= high for low, high in pairwise(timesteps))
    assert timesteps[0] == 1
    assert timesteps[-1] <= 999
