import json
import pickle

import pytest

from webui.core.errors import UnknownName
from webui.core.samplers import SAMPLERS, SCHEDULES, find_sampler, find_schedule, resolve_schedule, split_combined_name

# a1111.md, 5.1 and 5.2: what A1111 1.10.1 answers at /sdapi/v1/samplers and /schedulers, in its order.
A1111_SAMPLERS = [
    ("DPM++ 2M", ["k_dpmpp_2m"], {"scheduler": "karras"}),
    ("DPM++ SDE", ["k_dpmpp_sde"], {"scheduler": "karras", "second_order": "True", "brownian_noise": "True"}),
    ("DPM++ 2M SDE", ["k_dpmpp_2m_sde"], {"scheduler": "exponential", "brownian_noise": "True"}),
    ("DPM++ 2M SDE Heun", ["k_dpmpp_2m_sde_heun"], {"scheduler": "exponential", "brownian_noise": "True", "solver_type": "heun"}),
    ("DPM++ 2S a", ["k_dpmpp_2s_a"], {"scheduler": "karras", "uses_ensd": "True", "second_order": "True"}),
    ("DPM++ 3M SDE", ["k_dpmpp_3m_sde"], {"scheduler": "exponential", "discard_next_to_last_sigma": "True", "brownian_noise": "True"}),
    ("Euler a", ["k_euler_a", "k_euler_ancestral"], {"uses_ensd": "True"}),
    ("Euler", ["k_euler"], {}),
    ("LMS", ["k_lms"], {}),
    ("Heun", ["k_heun"], {"second_order": "True"}),
    ("DPM2", ["k_dpm_2"], {"scheduler": "karras", "discard_next_to_last_sigma": "True", "second_order": "True"}),
    (
        "DPM2 a",
        ["k_dpm_2_a"],
        {"scheduler": "karras", "discard_next_to_last_sigma": "True", "uses_ensd": "True", "second_order": "True"},
    ),
    ("DPM fast", ["k_dpm_fast"], {"uses_ensd": "True"}),
    ("DPM adaptive", ["k_dpm_ad"], {"uses_ensd": "True"}),
    ("Restart", ["restart"], {"scheduler": "karras", "second_order": "True"}),
    ("DDIM", ["ddim"], {}),
    ("DDIM CFG++", ["ddim_cfgpp"], {}),
    ("PLMS", ["plms"], {}),
    ("UniPC", ["unipc"], {}),
    ("LCM", ["k_lcm"], {}),
]
A1111_SCHEDULES = [
    ("automatic", "Automatic", (), -1, False),
    ("uniform", "Uniform", (), -1, True),
    ("karras", "Karras", (), 7.0, False),
    ("exponential", "Exponential", (), -1, False),
    ("polyexponential", "Polyexponential", (), 1.0, False),
    ("sgm_uniform", "SGM Uniform", ("SGMUniform",), -1, True),
    ("kl_optimal", "KL Optimal", (), -1, False),
    ("align_your_steps", "Align Your Steps", (), -1, False),
    ("simple", "Simple", (), -1, True),
    ("normal", "Normal", (), -1, True),
    ("ddim", "DDIM", (), -1, True),
    ("beta", "Beta", (), -1, True),
]


def test_the_samplers_are_a1111s_in_its_order_and_tcd():
    ours = [(sampler.label, list(sampler.aliases), sampler.options) for sampler in SAMPLERS]
    assert ours[:-1] == A1111_SAMPLERS
    assert ours[-1][:2] == ("TCD", ["tcd"])


def test_the_schedules_are_a1111s_in_its_order():
    ours = [(one.name, one.label, one.aliases, one.default_rho, one.needs_model) for one in SCHEDULES]
    assert ours == A1111_SCHEDULES


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.label)
def test_a_sampler_answers_to_label_and_aliases_in_any_case(sampler):
    for name in (sampler.label, *sampler.aliases):
        assert find_sampler(f" {name.upper()} ") is sampler


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.label)
def test_a_schedule_answers_to_label_name_and_aliases_in_any_case(schedule):
    for name in (schedule.label, schedule.name, *schedule.aliases):
        assert find_schedule(f" {name.upper()} ") is schedule


def test_no_two_samplers_answer_to_one_name():
    names = [name for sampler in SAMPLERS for name in {sampler.label.lower(), *sampler.aliases}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["", "DPM 2M", "euler b"])
def test_unknown_names_are_told(name):
    with pytest.raises(UnknownName, match="Unknown sampler"):
        find_sampler(name)
    with pytest.raises(UnknownName, match="Unknown schedule type"):
        find_schedule(name)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("DPM++ 2M SDE Heun Exponential", ("DPM++ 2M SDE Heun", "Exponential")),
        ("DPM++ 2M SDE Heun Karras", ("DPM++ 2M SDE Heun", "Karras")),
        ("DPM++ 3M SDE Exponential", ("DPM++ 3M SDE", "Exponential")),
        ("DPM++ 2S a Karras", ("DPM++ 2S a", "Karras")),
        ("DPM++ SDE Karras", ("DPM++ SDE", "Karras")),
        ("DPM2 a Karras", ("DPM2 a", "Karras")),
        ("DPM2 Karras", ("DPM2", "Karras")),
        ("LMS Karras", ("LMS", "Karras")),
        ("euler a karras", ("euler a", "Karras")),
        ("Euler SGM Uniform", ("Euler", "SGM Uniform")),
        ("Euler SGMUniform", ("Euler", "SGM Uniform")),
        ("Euler sgm_uniform", ("Euler", "SGM Uniform")),
        ("Euler Polyexponential", ("Euler", "Polyexponential")),
        ("Heun Align Your Steps", ("Heun", "Align Your Steps")),
        ("DPM++ 2M Automatic", ("DPM++ 2M", "Automatic")),
        ("Euler DDIM", ("Euler", "DDIM")),
        ("no sampler Karras", ("no sampler", "Karras")),
        ("Karras", ("Karras", None)),
        (" Karras", (" Karras", None)),
        ("", ("", None)),
    ],
)
def test_old_combined_names_are_split(name, parts):
    assert split_combined_name(name) == parts


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.label)
def test_a_samplers_own_name_is_never_split_and_any_schedule_behind_it_is(sampler):
    for name in (sampler.label, *sampler.aliases):
        assert split_combined_name(name) == (name, None)
        for schedule in SCHEDULES:
            assert split_combined_name(f"{name} {schedule.label}") == (name, schedule.label)


@pytest.mark.parametrize(
    ("sampler", "schedule", "used"),
    [
        ("DPM++ 2M", "Automatic", "Karras"),
        ("DPM++ 2M", "Uniform", "Uniform"),
        ("DPM++ 3M SDE", "Automatic", "Exponential"),
        ("Euler", "Automatic", "Uniform"),
        ("LCM", "Automatic", "Uniform"),
        ("Euler", "karras", "Karras"),
        ("DDIM", "Karras", None),
        ("UniPC", "Automatic", None),
        ("TCD", "Beta", None),
    ],
)
def test_automatic_stands_for_what_the_sampler_brings(sampler, schedule, used):
    assert resolve_schedule(find_sampler(sampler), schedule) == used


def test_samplers_that_look_twice_count_two_calls_a_step():
    twice = {sampler.label for sampler in SAMPLERS if sampler.model_calls == 2}
    assert twice == {"DPM++ SDE", "DPM++ 2S a", "Heun", "DPM2", "DPM2 a", "Restart"}


def test_only_cfg_plus_plus_changes_the_cfg_scale():
    assert {sampler.label: sampler.cfg_factor for sampler in SAMPLERS if sampler.cfg_factor != 1} == {"DDIM CFG++": 1 / 12.5}


def test_a_sampler_can_be_pickled_and_its_options_are_json():
    for sampler in SAMPLERS:
        assert pickle.loads(pickle.dumps(sampler)) == sampler
        assert json.loads(json.dumps(sampler.options)) == sampler.options
