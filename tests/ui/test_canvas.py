"""What the picture editor's value means to a request, and what its server functions store."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.images import decode_image
from webui.ui.canvas import build_canvas, read_canvas

PICTURE, MASK = "a" * 64, "b" * 64
VALUE = {"picture": PICTURE, "mask": MASK, "width": 64, "height": 32}


def test_a_value_becomes_the_requests_parameters() -> None:
    assert read_canvas(VALUE) == {"init_images": (PICTURE,), "mask": MASK}
    assert read_canvas({**VALUE, "mask": ""}) == {"init_images": (PICTURE,), "mask": ""}
    assert read_canvas({**VALUE, "original": MASK, "paint": MASK}) == {"init_images": (PICTURE,), "mask": MASK}


def test_an_empty_editor_is_no_parameters() -> None:
    assert read_canvas(None) == {}
    assert read_canvas("") == {}


@pytest.mark.parametrize(
    "value",
    [
        7, "x", [], {}, [VALUE], {"picture": PICTURE}, {**VALUE, "path": "/etc/passwd"}, {**VALUE, "picture": "../x"},
        {**VALUE, "picture": 5}, {**VALUE, "picture": ""}, {**VALUE, "picture": None}, {**VALUE, "mask": None},
        {**VALUE, "mask": MASK.upper()}, {**VALUE, "mask": MASK + "\n"},
        {**VALUE, "width": 0}, {**VALUE, "width": "wide"}, {**VALUE, "width": float("inf")}, {**VALUE, "height": 10**9},
    ],
)  # fmt: skip
def test_any_other_shape_is_refused_with_a_way_out(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"picture editor.*(Choose|accepted)"):
        read_canvas(value)


def uploaded(image: Image.Image, kind: str = "PNG", **data: Any) -> Any:
    """As gradio hands a page's file to a server function: numbers come as text."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return SimpleNamespace(files=[("file", buffer.getvalue())], data={key: str(value) for key, value in data.items()})


@pytest.fixture
def canvas(fake_app: App) -> Any:
    return build_canvas(fake_app, "canvas", mask=True, colours=True, label="Picture")


def stored(app: App, name: str) -> np.ndarray:
    return np.asarray(decode_image(app.queue.inputs.read(name)))


@pytest.mark.parametrize(
    ("image", "marked"),
    [
        (Image.new("L", (4, 2), 200), True), (Image.new("L", (4, 2), 100), False), (Image.new("1", (4, 2), 1), True),
        (Image.new("RGB", (4, 2), "white"), True), (Image.new("I;16", (4, 2), 60_000), True), (Image.new("I;16", (4, 2), 300), False),
        # A picture with transparency is a mask where it is opaque, as in A1111.
        (Image.new("RGBA", (4, 2), (0, 0, 0, 200)), True), (Image.new("RGBA", (4, 2), (255, 255, 255, 100)), False),
        (Image.new("RGBA", (4, 2), (0, 0, 0, 255)), False), (Image.new("RGBA", (4, 2), (255, 255, 255, 255)), True),
        (Image.new("LA", (4, 2), (0, 200)), True),
    ],
)  # fmt: skip
def test_a_mask_of_any_mode_is_stored_in_black_and_white(fake_app: App, canvas: Any, image: Image.Image, marked: bool) -> None:
    answer = canvas.store_mask(uploaded(image, width=4, height=2))
    assert answer["given"] == [4, 2]
    assert bool(answer["mask"]) == marked
    if marked:
        assert stored(fake_app, answer["mask"]).tolist() == [[255] * 4] * 2


def test_a_palettes_mask_is_read_by_its_colours(fake_app: App, canvas: Any) -> None:
    mask = Image.new("P", (2, 1))
    mask.putpalette([255, 255, 255, 0, 0, 0])
    mask.putpixel((1, 0), 1)
    assert stored(fake_app, canvas.store_mask(uploaded(mask, width=2, height=1))["mask"]).tolist() == [[255, 0]]


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 4}, {"width": "x", "height": 4}, {"width": 10**6, "height": 10**6}])
def test_a_mask_for_no_possible_size_is_refused(canvas: Any, size: dict[str, Any]) -> None:
    assert "size that no picture has" in canvas.store_mask(uploaded(Image.new("L", (4, 2), 255), **size))["error"]


def test_paint_keeps_the_pictures_other_pixels_and_its_transparency(fake_app: App, canvas: Any) -> None:
    original = Image.new("RGBA", (3, 1), (10, 20, 30, 40))
    paint = Image.new("RGBA", (3, 1))
    paint.putpixel((1, 0), (200, 100, 50, 255))
    answer = canvas.store_paint(uploaded(paint, original=fake_app.queue.inputs.add(original)))
    assert stored(fake_app, answer["picture"]).tolist() == [[[10, 20, 30, 40], [200, 100, 50, 255], [10, 20, 30, 40]]]
    assert stored(fake_app, answer["paint"]).tolist() == np.asarray(paint).tolist()


def test_a_grey_picture_can_be_painted_in_colour(fake_app: App, canvas: Any) -> None:
    paint = Image.new("RGBA", (2, 1))
    paint.putpixel((0, 0), (200, 100, 50, 255))
    answer = canvas.store_paint(uploaded(paint, original=fake_app.queue.inputs.add(Image.new("L", (2, 1), 7))))
    assert stored(fake_app, answer["picture"]).tolist() == [[[200, 100, 50], [7, 7, 7]]]


@pytest.mark.parametrize("original", ["", "x", "../../config.json", "0" * 64])
def test_paint_on_a_picture_that_is_not_there_is_refused(canvas: Any, original: str) -> None:
    assert "picture" in canvas.store_paint(uploaded(Image.new("RGBA", (2, 1)), original=original))["error"]


def test_paint_of_another_size_is_refused(fake_app: App, canvas: Any) -> None:
    name = fake_app.queue.inputs.add(Image.new("RGB", (4, 4)))
    assert "2x1" in canvas.store_paint(uploaded(Image.new("RGBA", (2, 1)), original=name))["error"]


def test_an_upload_without_a_picture_is_told(canvas: Any) -> None:
    for store in (canvas.store_picture, canvas.store_mask, canvas.store_paint):
        assert store(SimpleNamespace(files=[], data={"width": "4", "height": "4", "original": "0" * 64}))["error"]
    assert canvas.store_picture(None)["error"]
    assert canvas.store_mask(None)["error"]


def test_a_label_is_data_and_never_script(fake_app: App) -> None:
    hostile = "</script><script>alert(1)</script>'\""
    assert "<" not in str(build_canvas(fake_app, "canvas", label=hostile).js_on_load)
