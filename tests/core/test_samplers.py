import pytest

from webui.core.errors import UnknownName
from webui.core.samplers import SAMPLERS, SCHEDULES, find_sampler, find_schedule, resolve_schedule, split_combined_name


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
        ("euler a karras", ("euler a", "Karras")),
        ("Euler", ("Euler", None)),
        ("Karras", ("Karras", None)),
        ("", ("", None)),
    ],
)
def test_old_combined_names_are_split(name, parts):
    assert split_combined_name(name) == parts


@pytest.mark.parametrize(
    ("sampler", "schedule", "used"),
    [
        ("DPM++ 2M", "Automatic", "Karras"),
        ("DPM++ 2M", "Uniform", "Uniform"),
        ("Euler", "Automatic", "Uniform"),
        ("Euler", "karras", "Karras"),
        ("DDIM", "Karras", None),
    ],
)
def test_automatic_stands_for_what_the_sampler_brings(sampler, schedule, used):
    assert resolve_schedule(find_sampler(sampler), schedule) == used
