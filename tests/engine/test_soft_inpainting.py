"""Soft inpainting: the mixing of latents, the filter, and what is laid over the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.scenes import Begin, left_half, ramp, scene
from tests.engine.studio import Studio
from webui.core.events import Drawn
from webui.core.request import GenerationRequest
from webui.engine.soft_inpainting import SoftInpainting, on_whole_picture, percentile_mean, read_soft_inpainting, smootherstep

DEFAULT = SoftInpainting(1.0, 0.5, 4.0, 0.0, 0.5, 2.0)


def latents(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_where_all_is_kept_the_original_stays_and_where_nothing_is_the_drawn() -> None:
    original, drawn = latents(1), latents(2)
    for kept, expected in ((1.0, original), (0.0, drawn)):
        mixed = DEFAULT.blended(torch.full((1, 1, 8, 8), kept), original, drawn, 3.0)
        torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-5)


def test_a_half_masked_place_is_drawn_more_freely_as_the_noise_falls() -> None:
    original, drawn, half = latents(1), latents(2), torch.full((1, 1, 8, 8), 0.5)
    far = [float((DEFAULT.blended(half, original, drawn, sigma) - original).norm()) for sigma in (10.0, 3.0, 1.0, 0.1)]
    assert far == sorted(far)
    # Of sigma 0 the mask does not matter any more.
    torch.testing.assert_close(DEFAULT.blended(half, original, drawn, 0.0), drawn, rtol=1e-3, atol=1e-4)


def test_mixing_keeps_the_length_of_vectors_that_point_apart() -> None:
    original, drawn = torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1)
    original[0, 0], drawn[0, 1] = 1.0, 1.0
    share_of_a_half = SoftInpainting(1.0, 1.0, 1.0, 0.0, 0.5, 2.0)
    mixed = share_of_a_half.blended(torch.full((1, 1, 1, 1), 0.5), original, drawn, 1.0)
    assert float(mixed.norm()) == pytest.approx(1.0, abs=1e-3)  # a plain mean has 0.71


def test_what_has_not_changed_is_laid_over_and_what_has_is_not() -> None:
    original = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(1))
    changed = original.clone()
    changed[:, :, :4] += 4
    mask = np.asarray(DEFAULT.laid_over(torch.zeros(1, 16, 16), original, changed, (128, 128)))
    assert mask[:, 96:].max() == 0
    assert mask[:, 3].min() >= 254


def test_the_filter_takes_means_of_neighbours_between_two_percentiles() -> None:
    single = np.zeros((7, 7))
    single[3, 3] = 10
    assert percentile_mean(single, 0.25, 0.75).max() == 0  # a median does not see one grain of dust
    assert percentile_mean(single, 0.99, 1.0)[3, 3] == 10
    flat = np.full((5, 6), 2.5)
    assert np.allclose(percentile_mean(flat, 0.0, 1.0), flat)
    assert np.allclose(percentile_mean(flat, 0.25, 0.75), flat)


def test_smootherstep_is_flat_at_its_ends_and_even_about_its_middle() -> None:
    x = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    assert np.allclose(smootherstep(x) + smootherstep(1 - x), 1)
    assert smootherstep(x)[0] == 0
    assert smootherstep(x)[2] == 0.5


def test_the_original_is_laid_over_wherever_the_users_mask_is_black() -> None:
    drawn_everywhere = Image.new("L", (64, 64), 255)
    assert np.array_equal(np.asarray(on_whole_picture(drawn_everywhere, (64, 64), None, left_half())), np.asarray(left_half()))
    boxed = np.asarray(on_whole_picture(drawn_everywhere, (96, 96), (0, 0, 48, 48), Image.new("L", (96, 96), 255)))
    assert boxed[:48, :48].min() == 255
    assert boxed[48:].max() == boxed[:, 48:].max() == 0


@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_a_soft_mask_draws_a_soft_transition_and_keeps_the_rest_to_the_pixel(studio: Studio, begin: Begin, area: str, sampler: str) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(ramp(32, 64).transpose(Image.Transpose.FLIP_LEFT_RIGHT), (0, 0))
    work = begin(scene(), mask, soft_inpainting=True, inpaint_area=area, mask_blur_x=0, mask_blur_y=0, steps=6, sampler=sampler)
    drawn = studio.pictures(work)[0]
    original = np.asarray(scene()).astype(int)
    assert np.array_equal(drawn[:, 32:], original[:, 32:])
    assert abs(drawn[:, :8] - original[:, :8]).mean() > 5


def test_it_is_said_in_the_infotext_under_a1111s_keys(studio: Studio, begin: Begin) -> None:
    events = studio.draw(begin(scene(), left_half(), soft_inpainting=True, soft_schedule_bias=1.5, steps=1))
    used = next(event.used for event in events if isinstance(event, Drawn))
    assert used["Soft inpainting enabled"] == "True"
    assert used["Soft inpainting schedule bias"] == "1.5"
    assert used["Soft inpainting difference contrast"] == "2.0"
    plain = next(event.used for event in studio.draw(begin(scene(), left_half(), steps=1)) if isinstance(event, Drawn))
    assert not [key for key in plain if key.startswith("Soft")]


def test_a_request_without_it_has_none() -> None:
    assert read_soft_inpainting(GenerationRequest()) is None
    assert read_soft_inpainting(GenerationRequest(soft_inpainting=True)) == DEFAULT
