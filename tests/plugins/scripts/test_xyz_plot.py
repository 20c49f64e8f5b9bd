"""X/Y/Z plot: what each axis changes, in which order cells are drawn, and what the grid shows."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from tests.plugins.scripts.desk import ListedDesk, Played, play
from webui.core import images
from webui.core.errors import InvalidRequest
from webui.core.infotext import read_infotext
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.settings import PICTURE_SECTIONS, Settings
from webui.plugins.scripts.xyz_axes import A1111_AXES, Cell, all_axes, find_axis, label_by_number
from webui.plugins.scripts.xyz_plot import XyzPlot

BASE = GenerationRequest(prompt="a red cat on a mat", seed=5, width=64, height=64, steps=3, checkpoint="one.safetensors")


def plot(request: GenerationRequest = BASE, **arguments: Any) -> Played:
    return play(XyzPlot(), request, **arguments)


def along(name: str, axis: str, values: str, **arguments: Any) -> list[Any]:
    """What a field is in the cells of one axis."""
    return [getattr(request, name) for request in plot(x_type=axis, x_values=values, **arguments).requests]


@pytest.mark.parametrize(
    ("axis", "text", "name", "values"),
    [
        ("Seed", "1-3", "seed", [1, 2, 3]), ("Steps", "1-10 [2]", "steps", [1, 10]), ("CFG Scale", "1, 2.5", "cfg_scale", [1.0, 2.5]),
        ("Sampler", "Euler a, k_euler", "sampler", ["Euler a", "Euler"]), ("Schedule type", "karras,Beta", "schedule", ["Karras", "Beta"]),
        ("Checkpoint name", "two,one", "checkpoint", ["sub/two.safetensors", "one.safetensors"]),
        ("VAE", "None,clear", "vae", ["None", "clear.safetensors"]),
        ("Hires. fix", "True,False", "enable_hr", [True, False]),
        ("Size", "64x128, 128 x 64", "width", [64, 128]), ("Var. strength", "0-1 (+0.5)", "subseed_strength", [0, 0.5, 1]),
        ("Batch size", "1,2", "batch_size", [1, 2]), ("Prompt", '"a, b",c', "prompt", ["a, b", "c"]),
        ("Sigma Churn", "0,1.5", "s_churn", [0.0, 1.5]),
        ("Prompt S/R", "red,blue", "prompt", ["a red cat on a mat", "a blue cat on a mat"]),
        ("LoRA", "None,ink,ink:0.5", "prompt",
         ["a red cat on a mat", "a red cat on a mat <lora:ink:1>", "a red cat on a mat <lora:ink:0.5>"]),
        ("Prompt order", "red,cat", "prompt", ["a red cat on a mat", "a cat red on a mat"]),
    ],
)  # fmt: skip
def test_an_axis_changes_its_parameter(axis: str, text: str, name: str, values: list[Any]) -> None:
    assert along(name, axis, text) == values


def test_an_axis_of_a_setting_changes_the_cells_settings_alone() -> None:
    played = plot(x_type="Clip skip", x_values="1,2", y_type="RNG source", y_values="CPU,NV")
    assert [draw.settings for draw in played.draws] == [
        {"CLIP_stop_at_last_layers": skip, "randn_source": source} for source in ("CPU", "NV") for skip in (1, 2)
    ]


def test_styles_are_put_around_the_cells_prompts() -> None:
    played = plot(x_type="Styles", x_values='None,dark,"dark,bright"')
    assert [draw.styles for draw in played.draws] == [(), ("dark",), ("dark", "bright")]


def test_every_declared_parameter_and_every_setting_of_a_picture_has_an_axis() -> None:
    """But those that say nothing alone: lists for single pictures, pictures by hash, the script's own, and what extensions did."""
    desk, changed = ListedDesk(), set[str]()
    made_here = {"Nothing", "Prompt S/R", "Prompt order", "Styles", "Size", "LoRA"}
    for axis in (*all_axes(needs_picture=True), *all_axes(needs_picture=False)):
        if axis.label not in made_here:
            text = axis.choices(desk)[0] if axis.choices else "1"
            values = axis.read((text,), BASE, desk)
            cell = axis.apply(Cell(), values[0], values, BASE)
            changed |= {*cell.request, *cell.settings}
    left_out = {"prompts", "negative_prompts", "prompt_template", "negative_template", "init_images", "mask", "depth_map", "control_units"}
    left_out |= {"always_on", "extension_pairs", "extensions_applied"}
    wanted = {name for name in parameters_of(GenerationRequest) if not name.startswith("script")} - left_out
    wanted |= {name for name, one in parameters_of(Settings).items() if one.section in PICTURE_SECTIONS} - {"sd_model_checkpoint", "sd_vae"}
    assert wanted <= changed


def test_axes_have_a1111s_labels_once_and_its_numbers() -> None:
    for needs_picture in (False, True):
        labels = [axis.label for axis in all_axes(needs_picture=needs_picture)]
        assert len(set(labels)) == len(labels)
        assert labels[:4] == ["Nothing", "Seed", "Var. seed", "Var. strength"]
    assert [label_by_number(number, needs_picture=False) for number in (0, 6, 9, 10)] == [
        "Nothing",
        "CFG Scale",
        "Sampler",
        "Hires sampler",
    ]
    assert [label_by_number(number, needs_picture=True) for number in (5, 6, 9)] == ["CFG Scale", "Image CFG Scale", "Sampler"]
    assert len(A1111_AXES) == 45
    assert find_axis("cfg scale", needs_picture=False).label == "CFG Scale"


def test_cells_are_drawn_so_that_a_checkpoint_changes_least_often_and_stand_where_they_belong() -> None:
    played = plot(x_type="Checkpoint name", x_values="one,two", y_type="Steps", y_values="1,2,3", include_lone_images=True)
    assert [request.checkpoint for request in played.requests] == ["one.safetensors"] * 3 + ["sub/two.safetensors"] * 3
    assert [draw.place for draw in played.draws] == [0, 2, 4, 1, 3, 5]


def test_without_costs_rows_are_drawn_one_after_another_and_z_last() -> None:
    played = plot(
        x_type="Steps", x_values="1,2", y_type="CFG Scale", y_values="1,2", z_type="Seed", z_values="1,2", include_lone_images=True
    )
    assert [draw.place for draw in played.draws] == list(range(8))
    assert [(r.seed, r.cfg_scale, r.steps) for r in played.requests] == [(s, c, t) for s in (1, 2) for c in (1, 2) for t in (1, 2)]


def colours(grid: Image.Image) -> list[tuple[int, ...]]:
    """Of a row of pictures of 64 pixels, from the right end."""
    count = grid.width // 64
    return [grid.getpixel((grid.width - 32 - 64 * place, grid.height - 32)) for place in range(count)][::-1]


def test_the_grid_shows_every_cell_at_its_place_with_legends() -> None:
    played = plot(x_type="Seed", x_values="10,20,30", draw_legend=False)
    (grid,) = played.grids
    assert grid.size == (192, 64)
    assert colours(grid) == [(10, 100, 50), (20, 100, 50), (30, 100, 50)]
    (with_legend,) = plot(x_type="Seed", x_values="10,20,30", y_type="Steps", y_values="1,2").grids
    assert with_legend.width == 48 + 192
    assert with_legend.height > 128
    top = with_legend.crop((48, 0, 240, with_legend.height - 128)).convert("L")
    assert top.getextrema()[0] < 120, "letters are dark"


def test_a_cancel_leaves_a_grid_with_the_missing_cells_empty() -> None:
    played = plot(x_type="Seed", x_values="10,20,30", draw_legend=False, end_after=2)
    (grid,) = played.grids
    assert colours(grid) == [(10, 100, 50), (20, 100, 50), (255, 255, 255)]
    assert plot(x_type="Seed", x_values="10,20", end_after=0).grids == []


def test_a_cell_that_fails_is_left_empty_and_told() -> None:
    played = plot(x_type="Seed", x_values="10,20,30", draw_legend=False, failing=[1])
    assert colours(played.grids[0]) == [(10, 100, 50), (255, 255, 255), (30, 100, 50)]
    assert played.told == ["The cell Seed: 20 was left empty: it cannot be"]


def test_a_plot_over_z_has_a_grid_beside_a_grid_and_each_alone_if_wanted() -> None:
    arguments = {"x_type": "Steps", "x_values": "1,2", "z_type": "Seed", "z_values": "10,20", "draw_legend": False}
    (whole,) = plot(**arguments).grids
    assert whole.size == (256, 64)
    grids = plot(**arguments, include_sub_grids=True).grids
    assert [grid.size for grid in grids] == [(256, 64), (128, 64), (128, 64)]


def test_a_cell_of_several_pictures_shows_them_together() -> None:
    (grid,) = plot(BASE.changed(batch_size=4), x_type="Steps", x_values="1,2", draw_legend=False).grids
    assert grid.size == (256, 128)


def test_the_grids_infotext_is_the_first_cells_with_a1111s_keys() -> None:
    played = plot(x_type="Seed", x_values="-1,7", y_type="Prompt S/R", y_values="red,blue")
    fields = read_infotext(played.given[0].infotext)
    assert (fields["Script"], fields["X Type"], fields["X Values"], fields["Y Type"]) == ("X/Y/Z plot", "Seed", "-1,7", "Prompt S/R")
    first, second = fields["Fixed X Values"].split(", ")
    assert (first, second) == (str(played.requests[0].seed), "7")
    assert fields["Prompt"] == "a red cat on a mat"
    assert played.given[0].infotext.endswith("Version: test")


def test_a_random_seed_is_one_for_the_axis_unless_it_is_to_be_kept() -> None:
    arguments = {"x_type": "Seed", "x_values": "-1", "y_type": "Steps", "y_values": "1,2"}
    seeds = [request.seed for request in plot(**arguments).requests]
    assert seeds[0] == seeds[1] >= 0
    assert [request.seed for request in plot(**arguments, no_fixed_seeds=True).requests] == [-1, -1]
    random = BASE.changed(script="X/Y/Z plot", script_random_seed=True)
    assert {request.seed for request in plot(random, x_type="Steps", x_values="1,2").requests} == {5}
    assert {request.seed for request in plot(random, x_type="Steps", x_values="1,2", no_fixed_seeds=True).requests} == {-1}


def test_seeds_vary_along_the_axes_that_are_ticked() -> None:
    arguments = {"x_type": "Steps", "x_values": "1,2", "y_type": "CFG Scale", "y_values": "1,2,3"}
    assert [r.seed for r in plot(**arguments, vary_seeds_x=True).requests] == [5, 6] * 3
    assert [r.seed for r in plot(**arguments, vary_seeds_y=True).requests] == [5, 5, 6, 6, 7, 7]
    assert [r.seed for r in plot(**arguments, vary_seeds_x=True, vary_seeds_y=True).requests] == [5, 6, 7, 8, 9, 10]


def test_chosen_values_stand_in_the_place_of_written_ones_but_in_csv_mode() -> None:
    arguments = {"x_type": "Sampler", "x_values": "LMS", "x_values_dropdown": ["Euler", "Heun"]}
    assert [r.sampler for r in plot(**arguments).requests] == ["Euler", "Heun"]
    assert [r.sampler for r in plot(**arguments, csv_mode=True).requests] == ["LMS"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"x_type": "Steps", "x_values": ""}, "got no values"),
        ({"x_type": "Steps", "x_values": "0"}, "steps: got 0"),
        ({"x_type": "Sampler", "x_values": "Euler z"}, "Euler z"),
        ({"x_type": "Clip skip", "x_values": "99"}, "CLIP_stop_at_last_layers"),
        ({"x_type": "LoRA", "x_values": "nobody"}, "There is no LoRA 'nobody'"),
        ({"x_type": "Styles", "x_values": "nobody"}, "Unknown style"),
        ({"x_type": "Size", "x_values": "64"}, "like 512x768"),
        ({"x_type": "Prompt order", "x_values": "a,b,c,d,e,f,g"}, "at most 6"),
        ({"x_type": "Prompt order", "x_values": "zebra,cat"}, "zebra"),
        (
            {"x_type": "Seed", "x_values": "1-1000", "y_type": "Steps", "y_values": "1-1000", "z_type": "CFG Scale", "z_values": "0-10"},
            "cells",
        ),
        ({"x_type": "Steps", "x_values": "9" * 5000}, "X values"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_drawn(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        plot(**arguments)


def test_a_grid_too_large_to_open_is_announced_and_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 64 * 12)
    script = XyzPlot()
    values = {"x_type": "Seed", "x_values": "1-6", "y_type": "Steps", "y_values": "1-4"}
    assert "made smaller in it" in script.plan(BASE, script.read(values), ListedDesk()).remark
    (grid,) = play(script, BASE, **values).grids
    assert 0.7 * 64 * 64 * 12 < grid.width * grid.height <= 64 * 64 * 12
