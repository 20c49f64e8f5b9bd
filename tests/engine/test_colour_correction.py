"""A drawn picture in the colours of the one it began from."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.engine.scenes import Begin, scene
from tests.engine.studio import Studio
from webui.engine.colour_correction import LUMINOSITY, with_colours_of, with_luminosity_of


def brightness(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(pixels, dtype=float) @ np.array(LUMINOSITY)


def test_a_picture_in_its_own_colours_stays_as_it_is() -> None:
    assert np.abs(np.asarray(with_colours_of(scene(), scene())).astype(int) - np.asarray(scene()).astype(int)).mean() < 1.5


def test_a_red_cast_is_taken_away_and_the_brightness_stays() -> None:
    original = scene()
    cast = np.asarray(original).astype(float)
    cast[..., 0] = cast[..., 0] * 0.5 + 120
    drawn = Image.fromarray(cast.astype(np.uint8))
    corrected = np.asarray(with_colours_of(original, drawn))
    before, after = (abs(np.asarray(one)[..., 0].mean() - np.asarray(original)[..., 0].mean()) for one in (drawn, corrected))
    assert after < before
    assert np.abs(brightness(corrected) - brightness(np.asarray(drawn))).max() < 3


def test_hue_is_of_one_picture_and_brightness_of_the_other() -> None:
    grey, red = np.full((2, 2, 3), 100, np.uint8), np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    mixed = with_luminosity_of(grey, red)
    assert np.allclose(brightness(mixed), 100, atol=1)
    assert mixed[0, 0, 0] > mixed[0, 0, 1] == mixed[0, 0, 2]
    white = with_luminosity_of(np.full((1, 1, 3), 255, np.uint8), red[:1, :1])
    assert white.min() == 255


def test_the_setting_brings_a_drawn_picture_nearer_to_the_colours_of_its_original(studio: Studio, begin: Begin) -> None:
    plain = studio.pictures(begin(scene(), denoising_strength=0.9, steps=6))[0]
    corrected = studio.pictures(begin(scene(), denoising_strength=0.9, steps=6, img2img_color_correction=True))[0]
    own = np.asarray(scene()).astype(int)
    spread = [float(abs(one.reshape(-1, 3).std(0) - own.reshape(-1, 3).std(0)).sum()) for one in (plain, corrected)]
    assert spread[1] < spread[0]
