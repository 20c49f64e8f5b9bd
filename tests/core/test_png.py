from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from webui.core import png
from webui.core.images import RECORD_KEY, encode_png, read_png_texts
from webui.core.png import can_write, write_png

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


def noise(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    shape = (height, width, CHANNELS[mode]) if mode != "L" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def photograph() -> Image.Image:
    """As hard to pack as one."""
    return noise("RGB", 256, 256).filter(ImageFilter.GaussianBlur(2))


def read(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.verify()
    return Image.open(io.BytesIO(data))


@given(
    mode=st.sampled_from(list(CHANNELS)), width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 9),
    band=st.sampled_from((1, 7, 100, png._BAND_BYTES)),
)  # fmt: skip
def test_every_pixel_comes_back(mode: str, width: int, height: int, seed: int, band: int) -> None:
    image = noise(mode, width, height, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_BAND_BYTES", band)
        back = read(write_png(image))
    assert (back.mode, back.size) == (mode, image.size)
    assert np.array_equal(np.asarray(back), np.asarray(image))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_averages_at_the_ends_of_the_range_do_not_overflow(value: int) -> None:
    image = Image.fromarray(np.array([[value, 255, 0], [255, value, 255], [0, 255, value]], np.uint8))
    assert np.array_equal(np.asarray(read(write_png(image))), np.asarray(image))


@pytest.mark.parametrize("text", ["", "a red apple", "Müller", "猫 🐈\nNegative prompt: x"])
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_texts_are_the_same_as_those_that_pillow_writes(text: str, mode: str) -> None:
    texts = {"parameters": text, RECORD_KEY: '{"a": "b"}'}
    assert can_write(Image.new(mode, (2, 2))) == (mode == "RGB")
    data = encode_png(Image.new(mode, (2, 2)), texts)
    assert read(data).text == read_png_texts(data) == texts  # type: ignore[attr-defined]


@pytest.mark.parametrize(("mode", "info"), [("P", {}), ("1", {}), ("I;16", {}), ("LA", {}), ("RGB", {"transparency": (1, 2, 3)})])
def test_what_this_writer_cannot_say_pillow_says(mode: str, info: dict[str, Any]) -> None:
    image = Image.new(mode, (3, 2))
    image.info |= info
    assert not can_write(image)
    back = read(encode_png(image, {"parameters": "x"}))
    assert (back.mode, back.size, back.info["parameters"]) == (mode, (3, 2), "x")
    assert back.info.get("transparency") == info.get("transparency")


def test_a_profile_of_colours_stays_in_the_file() -> None:
    image = Image.new("RGB", (2, 2))
    image.info["icc_profile"] = b"\0" * 128
    assert read(encode_png(image, {})).info["icc_profile"] == b"\0" * 128


@pytest.mark.parametrize("image", [photograph(), Image.new("RGB", (256, 256), "teal")])
def test_the_file_is_no_larger_than_pillows_at_its_quickest(image: Image.Image) -> None:
    pillows = io.BytesIO()
    image.save(pillows, "PNG", compress_level=1)
    assert len(encode_png(image, {})) <= len(pillows.getvalue())
