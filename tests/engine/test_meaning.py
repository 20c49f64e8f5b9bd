"""What pictures show, with the demo model: modes do to a picture what their names say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.studio import Studio, work_for
from webui.core.paths import PROGRAM
from webui.core.ports import Work
from webui.jobs.inputs import InputPictures

DEMO = PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors"
WISHES = {"width": 128, "height": 128, "steps": 12, "sampler": "DPM++ 2M", "seed": 3}


def work(inputs: Path, *, init: Image.Image | None = None, mask: Image.Image | None = None, **wishes: Any) -> Work:
    store = InputPictures(inputs)
    named = {"init_images": (store.add(init),) if init else (), "mask": store.add(mask) if mask else ""}
    asked = work_for(DEMO, **{**WISHES, **named, **wishes})
    return replace(asked, pictures=store.files_of(asked.request))


@pytest.fixture
def apple(studio: Studio, tmp_path: Path) -> Image.Image:
    """A red one."""
    drawn = studio.pictures(work(tmp_path, prompt="a red apple", negative_prompt="blue"))[0]
    assert colour(drawn, 0) > colour(drawn, 2) + 20
    return Image.fromarray(drawn.astype(np.uint8))


def colour(pixels: np.ndarray, channel: int) -> float:
    """In the middle, where the thing is."""
    return float(pixels[40:88, 40:88, channel].mean())


def test_inpainting_changes_the_colour_inside_the_mask_alone(studio: Studio, tmp_path: Path, apple: Image.Image) -> None:
    mask = Image.new("L", (128, 128))
    mask.paste(255, (32, 32, 96, 96))
    drawn = studio.pictures(
        work(tmp_path, init=apple, mask=mask, prompt="a blue apple", negative_prompt="red", masked_content="latent noise",
             denoising_strength=1.0, mask_blur_x=0, mask_blur_y=0, steps=16)
    )[0]  # fmt: skip
    before = np.asarray(apple).astype(int)
    assert colour(drawn, 2) - colour(drawn, 0) > colour(before, 2) - colour(before, 0) + 60
    outside = np.asarray(mask) == 0
    assert np.array_equal(drawn[outside], before[outside])


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_inpainting_a_lemon_puts_yellow_inside_the_mask_and_nowhere_else(
    studio: Studio, tmp_path: Path, apple: Image.Image, seed: int
) -> None:
    def yellow(pixels: np.ndarray) -> float:
        return float((pixels[..., :2].min(axis=-1) - pixels[..., 2]).mean())

    mask = Image.new("L", (128, 128))
    mask.paste(255, (32, 32, 96, 96))
    drawn = studio.pictures(
        work(tmp_path, init=apple, mask=mask, prompt="a yellow lemon", masked_content="latent noise", seed=seed,
             denoising_strength=1.0, mask_blur_x=0, mask_blur_y=0, steps=16)
    )[0]  # fmt: skip
    before, inside = np.asarray(apple).astype(int), np.asarray(mask) > 0
    assert yellow(drawn[inside]) > yellow(before[inside]) + 40
    assert np.array_equal(drawn[~inside], before[~inside])


def test_a_weak_denoising_stays_close_and_a_full_one_is_a_new_picture(studio: Studio, tmp_path: Path, apple: Image.Image) -> None:
    before = np.asarray(apple).astype(int)
    close = studio.pictures(work(tmp_path, init=apple, prompt="a green tree", denoising_strength=0.1))[0]
    full = studio.pictures(work(tmp_path, init=apple, prompt="a green tree", denoising_strength=1.0))[0]
    from_noise = studio.pictures(work(tmp_path, prompt="a green tree"))[0]
    assert abs(close - before).mean() < 12
    assert abs(full - from_noise).mean() < 12
    assert abs(full - before).mean() > 2 * abs(full - from_noise).mean()


def test_the_same_picture_becomes_another_colour_at_half_strength_and_keeps_its_place(
    studio: Studio, tmp_path: Path, apple: Image.Image
) -> None:
    before = np.asarray(apple).astype(int)
    drawn = studio.pictures(work(tmp_path, init=apple, prompt="a green apple", negative_prompt="red", denoising_strength=0.7))[0]
    assert colour(drawn, 1) - colour(drawn, 0) > colour(before, 1) - colour(before, 0)
    anew = studio.pictures(work(tmp_path, prompt="a green apple", negative_prompt="red", seed=9))[0]
    assert abs(drawn - before).mean() < abs(anew - before).mean()
