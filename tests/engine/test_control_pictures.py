"""Control pictures at the size of a drawing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from webui.core.control import pixel_perfect
from webui.core.request_parts.control import CONTROL_RESIZE_MODES
from webui.engine.control_pictures import ControlPicture, fit, scale

STRETCH, CROP, FILL = CONTROL_RESIZE_MODES


@pytest.mark.parametrize(
    ("size", "target", "mode", "resolution"),
    [
        ((1000, 500), (512, 512), STRETCH, 512), ((1000, 500), (512, 512), CROP, 512), ((1000, 500), (512, 512), FILL, 256),
        ((500, 1000), (512, 768), CROP, 512), ((500, 1000), (512, 768), FILL, 384), ((512, 512), (512, 512), CROP, 512),
        ((1, 5000), (512, 512), FILL, 1),
    ],
)  # fmt: skip
def test_the_pixel_perfect_resolution_is_sd_webui_controlnets(
    size: tuple[int, int], target: tuple[int, int], mode: str, resolution: int
) -> None:
    assert pixel_perfect(size, target, mode) == resolution


def lines(width: int = 64, height: int = 64) -> np.ndarray:
    """White lines of one pixel."""
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    draw.line((4, 8, 60, 8), fill="white")
    draw.ellipse((12, 16, 52, 56), outline="white")
    return np.asarray(picture)


@pytest.mark.parametrize("side", [40, 100, 128])
def test_lines_of_one_pixel_stay_such(side: int) -> None:
    scaled = scale(lines(), side, side)
    assert set(np.unique(scaled)) == {0, 255}
    before, after = (lines()[..., 0] > 0).sum(), (scaled[..., 0] > 0).sum()
    assert 0.6 < after / before / (side / 64) < 1.4  # as long as the picture is wide, and no thicker


def test_black_and_white_stay_black_and_white() -> None:
    halves = np.zeros((64, 64, 3), dtype=np.uint8)
    halves[:, 20:] = 255
    scaled = scale(halves, 100, 40)
    assert set(np.unique(scaled)) == {0, 255}
    assert abs((scaled > 0).mean() - 44 / 64) < 0.02


def test_labels_are_not_mixed() -> None:
    labels = np.repeat(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8), 8, axis=0).repeat(8, axis=1)
    scaled = scale(labels, 100, 50)
    assert {tuple(one) for one in scaled.reshape(-1, 3)} == {(255, 0, 0), (0, 255, 0), (0, 0, 255)}


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    assert all(np.array_equal(fit(pixels, mode, 96, 64), pixels) for mode in CONTROL_RESIZE_MODES)


@pytest.mark.parametrize("mode", CONTROL_RESIZE_MODES)
@pytest.mark.parametrize("size", [(64, 64), (96, 40), (40, 96), (8, 8), (200, 8)])
def test_every_mode_comes_to_exactly_the_size(mode: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert fit(pixels, mode, *size).shape == (size[1], size[0], 3)
    assert fit(np.zeros((1, 900, 3), dtype=np.uint8), mode, *size).shape == (size[1], size[0], 3)


def test_cutting_keeps_the_middle_and_filling_keeps_all_on_the_edges_colour() -> None:
    wide = np.zeros((32, 64, 3), dtype=np.uint8)
    wide[:, :, 0] = np.arange(64) * 3
    cut, filled = fit(wide, CROP, 32, 32), fit(wide, FILL, 64, 64)
    assert (cut[0, 0, 0], cut[0, -1, 0]) == (48, 141)
    assert (filled[16:48] == wide).all()
    assert (filled[:16] == filled[0, 0]).all()


def test_a_mask_makes_a_hint_minus_one_and_what_lies_beside_the_picture_too() -> None:
    mask = Image.new("L", (32, 64))
    mask.paste(255, (0, 0, 32, 16))
    hint = ControlPicture(0, "", Image.new("RGB", (32, 64), "white"), mask, FILL).hint(64, 64)
    assert hint.shape == (3, 64, 64)
    assert (hint[:, :16] == -1).all()
    assert (hint[:, 16:, 16:48] == 1).all()
    assert (hint[:, :, :16] == -1).all()
