"""Spacings of noise levels are A1111's."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from webui.core.samplers import SCHEDULES
from webui.engine.noise_levels import scaled_linear
from webui.engine.schedules import SCHEDULE_FUNCTIONS, ddim_timesteps, karras, uniform

LEVELS = scaled_linear()
A1111 = json.loads((Path(__file__).parent / "data" / "a1111_noise_levels.json").read_text())


@pytest.mark.parametrize("case", ["base", "sampler-euler-a", "schedule-dpmpp2m-uniform", "prompt-emphasis", "prompt-break"])
def test_uniform_is_a1111s(case: str) -> None:
    expected = torch.tensor([*A1111[case]["asked"], 0.0])
    torch.testing.assert_close(uniform(LEVELS, A1111[case]["steps"]), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("case", ["schedule-euler-karras", "sampler-dpmpp-2m"])
def test_karras_is_a1111s(case: str) -> None:
    expected = torch.tensor([*A1111[case]["asked"], 0.0])
    torch.testing.assert_close(karras(LEVELS, A1111[case]["steps"]), expected, rtol=2e-6, atol=0)


def test_ddim_walks_a1111s_time_steps_and_never_evaluates_the_last() -> None:
    expected = [int(timestep) for timestep in A1111["sampler-ddim"]["asked"]]
    assert expected == [876, 751, 626, 501, 376, 251, 126]
    assert ddim_timesteps(8)[:0:-1] == expected
    assert ddim_timesteps(8)[0] == 1


def test_ddim_makes_one_step_more_where_the_number_does_not_divide_a_thousand() -> None:
    assert len(ddim_timesteps(30)) == 31
    assert ddim_timesteps(30)[-1] == 991


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 150, 999, 1000])
def test_ddims_time_steps_rise_and_stay_among_the_trained(steps: int) -> None:
    timesteps = ddim_timesteps(steps)
    assert len(timesteps) >= 2
    assert all(low <= high for low, high in pairwise(timesteps))
    assert timesteps[0] == 1
    assert timesteps[-1] <= 999


@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150])
def test_every_spacing_falls_from_the_highest_level_to_zero(label: str, steps: int) -> None:
    sigmas = SCHEDULE_FUNCTIONS[label](LEVELS, steps)
    assert len(sigmas) == steps + 1
    assert float(sigmas[0]) == pytest.approx(LEVELS.sigma_max, rel=1e-6)
    assert (sigmas.diff() < 0).all()
    assert float(sigmas[-1]) == 0.0


def test_every_schedule_but_automatic_has_a_function() -> None:
    assert {schedule.label for schedule in SCHEDULES} - {"Automatic"} == set(SCHEDULE_FUNCTIONS)
