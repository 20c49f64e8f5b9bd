"""Prompt matrix and prompts from a file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.scripts.desk import play
from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.plugins.scripts.prompt_matrix import PromptMatrix, split_parts
from webui.plugins.scripts.prompts_from_file import PromptsFromFile, read_line


def request(prompt: str, **values: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": prompt, "seed": 5, "width": 64, "height": 64, "steps": 3, **values})


def test_a_matrix_draws_every_combination_of_its_parts() -> None:
    played = play(PromptMatrix(), request("a cat|hat ,| snow", batch_size=4))
    assert [one.prompt for one in played.requests] == ["a cat", "a cat, hat ", "a cat, snow", "a cat, hat , snow"]
    assert {one.seed for one in played.requests} == {5}
    assert played.grids[0].width == 48 + 2 * 64, "one part stands across, the other down, beside its legend"


@pytest.mark.parametrize(
    ("arguments", "last"),
    [({"put_at_start": True}, "hat, snow, a cat"), ({"variations_delimiter": "space"}, "a cat hat snow"), ({}, "a cat, hat, snow")],
)
def test_a_matrix_joins_the_parts_as_it_is_told(arguments: dict[str, Any], last: str) -> None:
    assert play(PromptMatrix(), request("a cat|hat|snow"), **arguments).requests[-1].prompt == last


def test_a_matrix_of_the_negative_prompt_with_other_seeds() -> None:
    played = play(PromptMatrix(), request("a|b", negative_prompt="x|y"), prompt_type="negative", different_seeds=True)
    assert [(one.prompt, one.negative_prompt, one.seed) for one in played.requests] == [("a|b", "x", 5), ("a|b", "x, y", 6)]


def test_bars_within_brackets_part_nothing() -> None:
    assert split_parts("a [b|c] {d|e}|f (g|h)|i") == ["a [b|c] {d|e}", "f (g|h)", "i"]
    assert split_parts("a)|b") == ["a)", "b"]


def test_too_many_parts_are_refused_and_a_cancel_leaves_a_grid() -> None:
    with pytest.raises(InvalidRequest, match="2048 pictures"):
        play(PromptMatrix(), request("|".join("abcdefghijkl")))
    assert len(play(PromptMatrix(), request("a|b|c"), end_after=2).grids) == 1


def test_each_line_of_a_file_is_a_prompt_joined_to_the_requests() -> None:
    played = play(PromptsFromFile(), request("in oil", batch_count=2), prompt_txt="a dog\n\n  a bird \n")
    assert [one.prompt for one in played.requests] == ["a dog in oil", "a bird in oil"]
    played = play(PromptsFromFile(), request("in oil"), prompt_txt="a dog", prompt_position="end")
    assert played.requests[0].prompt == "in oil a dog"


def test_a_line_of_keys_changes_what_they_name() -> None:
    line = '--prompt "a dog" --steps 7 --sampler_name "DPM++ 2M Karras" --width 128 --cfg_scale 3.5 --seed 9 --tiling true --styles "a,b"'
    (draw,) = play(PromptsFromFile(), request(""), prompt_txt=line).draws
    one = draw.request
    assert (one.prompt, one.steps, one.sampler, one.schedule, one.width, one.cfg_scale, one.seed) == (
        "a dog",
        7,
        "DPM++ 2M",
        "Karras",
        128,
        3.5,
        9,
    )
    assert (draw.settings, draw.styles) == ({"tiling": True}, ("a", "b"))


def test_seeds_of_lines_follow_each_other_or_are_the_same_or_random() -> None:
    lines = {"prompt_txt": "a\nb\nc"}
    assert [one.seed for one in play(PromptsFromFile(), request("", batch_size=2), iterate_seed=True, **lines).requests] == [5, 7, 9]
    assert [one.seed for one in play(PromptsFromFile(), request(""), **lines).requests] == [5, 5, 5]
    random = request("", script="x", script_random_seed=True)
    assert [one.seed for one in play(PromptsFromFile(), random, **lines).requests] == [-1, -1, -1]
    assert [one.seed for one in play(PromptsFromFile(), random, same_seed=True, **lines).requests] == [5, 5, 5]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--colour red", "Did you mean"),
        ("--steps", "--key value"),
        ("--steps many", "write a number"),
        ('--prompt "a', "quotation mark"),
        ("--width 63", "line 2"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_refuses_the_job(line: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says.replace("Did you mean", "Unknown key")):
        play(PromptsFromFile(), request(""), prompt_txt=f"a dog\n{line}")
    assert read_line("a -- b") == {"prompt": "a -- b"}
