"""What A1111 1.10.1 was seen to ask, and to write, in its reference runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.picture_noises import PictureNoises
from tools.sampler_oracles import finish, two_bells
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, find_sampler
from webui.core.settings import Settings
from webui.engine.noise_levels import scaled_linear
from webui.engine.samplers import Churn, SamplerOptions, plan_sampling, read_options
from webui.engine.samplers.options import write_number
from webui.engine.samplers.unipc import UniPCOptions
from webui.engine.schedules import Spacing

LEVELS = scaled_linear()
A1111: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "a1111_sampling.json").read_text())


@pytest.mark.parametrize("name", A1111)
def test_a_sampler_asks_about_the_levels_that_a1111_asks_about_and_tells_what_it_tells(name: str) -> None:
    case = A1111[name]
    sampler = find_sampler(case["sampler"])
    levels = LEVELS.with_zero_terminal_snr() if case.get("zero_terminal_snr") else LEVELS
    request = GenerationRequest(steps=case["steps"], sampler=case["sampler"], schedule=case["schedule"], **case.get("request", {}))
    options = read_options(request, Settings().changed(case.get("settings", {})))
    noise = PictureNoises()
    plan = plan_sampling(
        sampler.label, request.schedule, case["steps"], levels, noise, options,
        denoising=case.get("denoising"), fix_steps=case.get("fix_steps", False),
    )  # fmt: skip
    _, asked = finish(plan.begin(noise.draw() * plan.noise_scale), two_bells)
    assert list(plan.used.items()) == list(case["used"].items())
    if sampler.has_schedule:
        assert asked == pytest.approx(case["asked"], rel=2e-5 if case.get("zero_terminal_snr") else 2e-6)
    else:
        steps = [float(levels.timestep(torch.tensor(sigma, dtype=torch.float64))) for sigma in asked]
        assert steps == pytest.approx(case["asked"], abs=1e-3)


def used(sampler: str, schedule: str = "Automatic", *, request: dict[str, Any] | None = None, **settings: Any) -> dict[str, str]:
    options = read_options(GenerationRequest(**(request or {})), Settings().changed(settings))
    return dict(plan_sampling(sampler, schedule, 8, LEVELS, PictureNoises(), options).used)


def test_defaults_are_told_nowhere() -> None:
    for sampler in SAMPLERS:
        assert used(sampler.label) == {}


@pytest.mark.parametrize(
    ("sampler", "pairs"),
    [
        ("Euler a", {"Eta": "0.5"}),
        ("DPM++ 2M SDE", {"Eta": "0.5"}),
        ("DPM adaptive", {"Eta": "0.5"}),
        ("TCD", {"Eta": "0.5"}),
        ("DDIM", {"Eta DDIM": "0.25"}),
        ("DDIM CFG++", {"Eta DDIM": "0.25"}),
        ("Euler", {}),
        ("PLMS", {}),
        ("UniPC", {}),
        ("LCM", {}),
        ("Restart", {}),
    ],
)
def test_the_settings_eta_is_told_by_the_samplers_that_have_one(sampler: str, pairs: dict[str, str]) -> None:
    assert used(sampler, eta_ancestral=0.5, eta_ddim=0.25) == pairs


@pytest.mark.parametrize(("eta", "text"), [(0.0, "0.0"), (0.5, "0.5"), (2.0, "2.0")])
def test_the_requests_eta_beats_the_settings_and_is_written_as_a_decimal(eta: float, text: str) -> None:
    assert used("Euler a", request={"eta": eta}, eta_ancestral=0.7) == {"Eta": text}


def test_the_settings_eta_is_written_as_short_as_can_be() -> None:
    assert used("Euler a", eta_ancestral=0) == {"Eta": "0"}
    assert used("DDIM", eta_ddim=1) == {"Eta DDIM": "1"}


@pytest.mark.parametrize(
    ("sampler", "keys"),
    [
        ("Euler", ["Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise"]),
        ("Heun", ["Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise"]),
        ("DPM2", ["Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise"]),
        ("DPM2 a", ["Sigma noise"]),
        ("DPM++ SDE", ["Sigma noise"]),
        ("DPM fast", ["Sigma noise"]),
        ("Euler a", []),
        ("DPM adaptive", []),
        ("LMS", []),
        ("DDIM", []),
    ],
)
def test_churn_settings_are_told_by_the_samplers_that_heed_them(sampler: str, keys: list[str]) -> None:
    assert list(used(sampler, s_churn=5, s_tmin=0.1, s_tmax=10, s_noise=1.003)) == keys


def test_the_requests_churn_acts_but_is_not_told() -> None:
    request = GenerationRequest(s_churn=4, s_tmin=0.2, s_tmax=9, s_noise=1.1)
    options = read_options(request, Settings())
    assert options.churn == Churn(4, 0.2, 9, 1.1)
    assert used("Euler", request={"s_churn": 4, "s_tmin": 0.2, "s_tmax": 9, "s_noise": 1.1}) == {}


def test_a_churn_setting_that_differs_from_its_default_beats_the_request() -> None:
    request = GenerationRequest(s_churn=4, s_tmin=0.2, s_tmax=9, s_noise=1.1)
    options = read_options(request, Settings().changed({"s_churn": 5, "s_tmax": 8}))
    assert options.churn == Churn(5, 0.2, 8, 1.1)


@pytest.mark.parametrize("asked", [None, 0.0])
def test_a_highest_level_of_0_is_none(asked: float | None) -> None:
    assert read_options(GenerationRequest(s_tmax=asked), Settings()).churn.high == float("inf")


def test_the_schedules_settings_are_told_in_a1111s_order() -> None:
    everything = {"sigma_min": 0.1, "sigma_max": 10.5, "rho": 5, "always_discard_next_to_last_sigma": True, "sgm_noise_multiplier": True}
    assert list(used("Euler a", "Karras", eta_ancestral=0.5, **everything).items()) == [
        ("Discard penultimate sigma", "True"),
        ("Schedule min sigma", "0.1"),
        ("Schedule max sigma", "10.5"),
        ("Schedule rho", "5"),
        ("SGM noise multiplier", "True"),
        ("Eta", "0.5"),
    ]


def test_the_range_is_told_with_a_schedule_that_was_chosen_and_not_with_the_models_own() -> None:
    assert used("Euler", "Automatic", sigma_min=0.1) == {}
    assert used("Euler", "Uniform", sigma_min=0.1) == {"Schedule min sigma": "0.1"}
    assert used("DPM++ 2M", "Automatic", sigma_min=0.1) == {"Schedule min sigma": "0.1"}
    assert used("DDIM", "Karras", sigma_min=0.1, rho=5) == {}


def test_the_models_own_range_and_the_schedules_own_exponent_are_not_told() -> None:
    assert used("Euler", "Karras", sigma_max=LEVELS.sigma_max, rho=7) == {}
    assert used("Euler", "Exponential", rho=5) == {}


def test_beta_always_tells_its_shape() -> None:
    assert used("Euler", "Beta", beta_dist_alpha=1) == {"Beta schedule alpha": "1", "Beta schedule beta": "0.6"}


def test_a_discarded_level_is_told_only_where_the_sampler_does_not_discard_it_anyway() -> None:
    for sampler in SAMPLERS:
        told = used(sampler.label, always_discard_next_to_last_sigma=True)
        expected = not (sampler.discard_next_to_last_sigma or sampler.label == "TCD")
        assert told == ({"Discard penultimate sigma": "True"} if expected else {})


def test_all_of_the_settings_are_read() -> None:
    settings = Settings().changed({
        "eta_ancestral": 0.9, "eta_ddim": 0.1, "sigma_min": 0.2, "sigma_max": 9, "rho": 3, "beta_dist_alpha": 0.5, "beta_dist_beta": 0.7,
        "use_old_karras_scheduler_sigmas": True, "always_discard_next_to_last_sigma": True, "sgm_noise_multiplier": True,
        "uni_pc_variant": "bh2", "uni_pc_skip_type": "logSNR", "uni_pc_order": 2, "uni_pc_lower_order_final": False,
    })  # fmt: skip
    assert read_options(GenerationRequest(eta=0.3), settings) == SamplerOptions(
        eta=0.3,
        eta_ancestral=0.9,
        eta_ddim=0.1,
        spacing=Spacing(0.2, 9, 3, 0.5, 0.7, old_range=True, discard=True),
        sgm_noise_multiplier=True,
        unipc=UniPCOptions("bh2", "logSNR", 2, lower_order_final=False),
    )


def test_tcd_has_its_authors_eta_unless_another_is_asked_for() -> None:
    tcd = find_sampler("TCD")
    assert SamplerOptions().eta_of(tcd) == 0.3
    assert SamplerOptions(eta_ancestral=0.6).eta_of(tcd) == 0.6
    assert SamplerOptions(eta=1.0).eta_of(tcd) == 1.0
    assert SamplerOptions(eta=5.0).eta_of(tcd) == 1.0


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (0.1, "0.1"), (1.003, "1.003"), (0, "0"), (14.614642, "14.614642")])
def test_a_setting_is_written_as_a1111_writes_it(value: float, text: str) -> None:
    assert write_number(value) == text
