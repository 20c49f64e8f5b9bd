"""From the controls' values to a job, and from what a browser kept back to values; without a browser."""

from __future__ import annotations

from typing import Any

import pytest

from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.ui.form import SEED_EXTRAS, read_form, read_form_leniently, read_overrides, read_stored

EXTRAS: dict[str, Any] = {"subseed": "7", "subseed_strength": 0.5, "seed_resize_from_w": 512, "seed_resize_from_h": 512}
# What a page must not set: where files are read and written, and what does not exist.
FORBIDDEN = ("sd_model_checkpoint", "directories_filename_pattern", "samples_save", "no_such_setting")


def test_the_controls_values_become_the_request() -> None:
    wish = read_form({"prompt": "a cat", "steps": 12, "seed": "9007199254740993"})
    assert wish.request == GenerationRequest(prompt="a cat", steps=12, seed=9007199254740993)
    assert (wish.overrides, wish.styles) == ({}, ())


def test_an_emptied_number_is_told_and_not_replaced() -> None:
    with pytest.raises(InvalidRequest, match="steps: got None"):
        read_form({"steps": None})


def test_no_checkpoint_chosen_leaves_it_to_the_settings() -> None:
    assert read_form({"checkpoint": None}).request.checkpoint == ""


def test_the_seeds_extras_act_only_with_the_tick() -> None:
    idle = read_form({**EXTRAS, "extra": False}).request
    assert idle == GenerationRequest()
    ticked = read_form({**EXTRAS, "extra": True}).request
    assert [getattr(ticked, name) for name in SEED_EXTRAS] == [7, 0.5, 512, 512]


def test_what_is_set_beside_the_form_goes_with_the_job() -> None:
    wish = read_form({"overrides": {"settings": {"CLIP_stop_at_last_layers": 2}, "request": {"eta": 0.5}}, "styles": ["Photo", "Film"]})
    assert wish.request.eta == 0.5
    assert wish.overrides == {"CLIP_stop_at_last_layers": 2}
    assert wish.styles == ("Photo", "Film")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_page_sets_only_what_a_picture_may_set(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        read_overrides({"settings": {name: "x"}})


@pytest.mark.parametrize("name", ["prompt", "checkpoint", "batch_count"])
def test_a_parameter_that_has_a_control_is_not_set_beside_it(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        read_overrides({"request": {name: "x"}})


@pytest.mark.parametrize("value", [None, "x", [], {"settings": ["x"]}, {"request": None}])
def test_overrides_of_another_shape_are_none(value: Any) -> None:
    assert read_overrides(value) == read_overrides(None)


def test_a_form_is_read_for_comparison_as_far_as_it_is_right() -> None:
    values = {"steps": None, "cfg_scale": 3, "seed": "seven", "overrides": {"settings": {"CLIP_stop_at_last_layers": 99, "tiling": True}}}
    request, settings = read_form_leniently(values)
    assert request == GenerationRequest(cfg_scale=3)
    assert settings == {"tiling": True}


def test_what_a_browser_kept_comes_back() -> None:
    kept = {"prompt": "a cat", "seed": 7, "extra": True, "styles": ["Photo"], "overrides": {"settings": {"tiling": True}, "request": {}}}
    values, jobs = read_stored({"fields": kept, "jobs": ["abc"]}, ["prompt", "seed"])
    assert values == {**kept, "seed": "7"}
    assert jobs == ("abc",)


@pytest.mark.parametrize("stored", [None, "x", [], {"fields": []}, {"job": "abc"}])
def test_a_memory_of_another_shape_counts_as_nothing(stored: Any) -> None:
    assert read_stored(stored, ["prompt"]) == ({}, ())


def test_a_memory_with_what_no_page_may_set_loses_only_that() -> None:
    values, _ = read_stored({"fields": {"prompt": "a", "overrides": {"settings": {"samples_save": False}}, "styles": [1, "b"]}}, ["prompt"])
    assert values == {"prompt": "a", "overrides": None, "extra": False, "styles": ["b"]}
