"""What a batch makes of one wish, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.images import decode_image, encode_png
from webui.ui.batch_section import FOLDER, MAX_PICTURES, UPLOADED, spread_over_batch
from webui.ui.form import read_form
from webui.ui.picture_section import RESIZE_BY, SizeSection, scaled_size

MADE = "a cat\nNegative prompt: a dog\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 5, Size: 64x64, Version: v1.10.1"


def put(folder: Path, name: str, colour: str, size: tuple[int, int] = (64, 64), infotext: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(encode_png(Image.new("RGB", size, colour), {"parameters": infotext} if infotext else {}))


def spread(app: App, **values: Any) -> tuple[Any, Any]:
    form = {"prompt": "sharp", "width": 64, "height": 64, "steps": 3, **values}
    return spread_over_batch(app)(form, read_form(form))


def colour_of(app: App, name: str) -> Any:
    return decode_image(app.queue.inputs.read(name)).getpixel((0, 0))


def test_without_a_batch_the_wish_stays_one(fake_app: App) -> None:
    wishes, remarks = spread(fake_app, batch_source="")
    assert (len(wishes), list(remarks)) == (1, [])


def test_each_picture_of_a_folder_is_a_job_with_the_mask_of_its_name_and_one_seed(fake_app: App) -> None:
    put(fake_app.paths.inputs / "cats", "a.png", "red")
    put(fake_app.paths.inputs / "cats", "b.png", "blue")
    put(fake_app.paths.inputs / "cats", "c.png", "lime")
    put(fake_app.paths.inputs / "masks", "a.png", "white")
    put(fake_app.paths.inputs / "masks", "b.png", "black")
    wishes, remarks = spread(fake_app, batch_source=FOLDER, batch_folder="inputs/cats", batch_masks="inputs/masks")
    requests = [wish.request for wish in wishes]
    assert [colour_of(fake_app, one.init_images[0]) for one in requests] == [(255, 0, 0), (0, 0, 255)]
    assert [colour_of(fake_app, one.mask) for one in requests] == [(255, 255, 255), (0, 0, 0)]
    assert requests[0].seed == requests[1].seed >= 0
    assert remarks == ["c.png is left out: there is no mask of that name."]


def test_a_damaged_picture_is_left_out_by_name_and_a_single_mask_is_for_all(fake_app: App) -> None:
    put(fake_app.paths.inputs / "cats", "a.png", "red")
    (fake_app.paths.inputs / "cats" / "broken.png").write_bytes(b"no picture")
    put(fake_app.paths.inputs / "masks", "any.png", "white")
    wishes, (remark,) = spread(fake_app, batch_source=FOLDER, batch_folder="inputs/cats", batch_masks="inputs/masks")
    assert [bool(wish.request.mask) for wish in wishes] == [True]
    assert remark.startswith("broken.png is left out: The picture cannot be read")


def test_the_metadata_of_a_picture_is_appended_to_the_prompt_and_replaces_the_rest(fake_app: App) -> None:
    put(fake_app.paths.inputs / "cats", "a.png", "red", infotext=MADE)
    asked = {"batch_source": FOLDER, "batch_folder": "inputs/cats", "batch_metadata": True}
    ((wish,), _) = spread(fake_app, **asked, batch_metadata_of=["Prompt", "Negative prompt", "Seed", "Sampler"])
    request = wish.request
    assert (request.prompt, request.negative_prompt, request.seed, request.sampler, request.steps) == (
        "sharp a cat",
        "a dog",
        5,
        "Euler",
        3,
    )
    ((plain,), _) = spread(fake_app, **{**asked, "batch_metadata": False})
    assert plain.request.prompt == "sharp"


def test_each_picture_of_a_batch_is_resized_by_its_own_size(fake_app: App) -> None:
    put(fake_app.paths.inputs / "cats", "a.png", "red", (64, 128))
    put(fake_app.paths.inputs / "cats", "b.png", "red", (128, 64))
    wishes, _ = spread(fake_app, batch_source=FOLDER, batch_folder="inputs/cats", resize_kind=RESIZE_BY, resize_scale=2.0)
    assert [(wish.request.width, wish.request.height) for wish in wishes] == [(128, 256), (256, 128)]


def test_resizing_a_whole_picture_counts_its_new_canvas() -> None:
    values = {
        "picture": {"width": 128, "height": 64},
        "resize_kind": RESIZE_BY,
        "resize_scale": 2.0,
        "outpaint_left": 64,
        "outpaint_down": 32,
    }
    section = SizeSection(gr.Radio(), gr.Slider())
    assert section.read({**values, "inpaint_area": "Whole picture"}) == {"width": 384, "height": 192}
    assert section.read({**values, "inpaint_area": "Only masked"}) == {"width": 256, "height": 128}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (None, "no file is chosen"),
        ([], "no file is chosen"),
        (["x"], "cannot be read"),
        ([{"picture": "x", "width": 1, "height": 1}], "named by its hash"),
        ([{}] * (MAX_PICTURES + 1), "at most"),
    ],
)
def test_an_unusable_list_of_uploads_is_told(fake_app: App, files: Any, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        spread(fake_app, batch_source=UPLOADED, batch_files={"files": files})


def test_an_empty_folder_is_told(fake_app: App) -> None:
    (fake_app.paths.inputs / "cats").mkdir(parents=True)
    with pytest.raises(InvalidRequest, match="no picture to draw from"):
        spread(fake_app, batch_source=FOLDER, batch_folder="inputs/cats")


@pytest.mark.parametrize("scale", [None, "2", 0.01, 5])
def test_a_factor_out_of_range_is_told(scale: Any) -> None:
    with pytest.raises(InvalidRequest, match="Resize by: got"):
        scaled_size(64, 64, scale)


def test_a_scaled_size_is_cut_to_whole_blocks() -> None:
    assert scaled_size(200, 136, 1.5) == {"width": 296, "height": 200}
