"""Drawing from a picture, and the part of it that a mask shows, with diffusers as the oracle."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from tests.engine.scenes import Begin, encoded, euler, left_half, scene
from tests.engine.studio import Studio, pictures, work_for
from tests.engine.tiny_models import TinyModel
from webui.core.events import Drawn, Failed, Remark
from webui.core.request_parts.picture import MASKED_CONTENTS, RESIZE_MODES
from webui.engine.tokenizer import build_tokenizer


def pipe_of(model: TinyModel) -> StableDiffusionImg2ImgPipeline:
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    unet = copy(model.unet)
    unet.register_to_config(sample_size=64)  # the pipeline compares it
    pipe = StableDiffusionImg2ImgPipeline(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=tokenizer, unet=unet, scheduler=euler(model),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("denoising", [0.2, 0.5, 0.8])
def test_latents_are_those_of_diffusers_img2img(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor], denoising: float
) -> None:
    work = begin(scene(), steps=10, denoising_strength=denoising, schedule="Uniform", negative_prompt="blurry", seed=5)
    studio.pictures(work)
    theirs = pipe_of(tiny)(
        "a cat", image=encoded(tiny, scene()), negative_prompt="blurry", num_inference_steps=10,
        strength=denoising + 0.1 + 1e-6,  # A1111 does one step more
        guidance_scale=7.0, generator=torch.Generator().manual_seed(5), output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(decoded_latents[0][None], theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def masked_euler(model: TinyModel, latents: torch.Tensor, kept: torch.Tensor, *, steps: int, skipped: int, seed: int) -> torch.Tensor:
    """Euler's method by hand; where something is kept, each estimate of the finished latents is the picture's own."""
    pipe, scheduler = pipe_of(model), euler(model)
    scheduler.set_timesteps(steps)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        context = torch.cat(pipe.encode_prompt("a cat", "cpu", 1, True, "")[::-1])
        sigmas, timesteps = scheduler.sigmas[skipped:], scheduler.timesteps[skipped:]
        x = latents + noise * sigmas[0]
        for sigma, following, timestep in zip(sigmas, sigmas[1:], timesteps, strict=False):
            scaled = (x / (sigma**2 + 1) ** 0.5).expand(2, -1, -1, -1)
            negative, positive = model.unet(scaled, timestep, context, return_dict=False)[0].chunk(2)
            clean = x - sigma * (negative + 7.0 * (positive - negative))
            clean = clean * (1 - kept) + latents * kept
            x = clean + (x - clean) * following / sigma
    return x * (1 - kept) + latents * kept


def test_latents_of_an_inpainted_picture_are_those_of_a_loop_written_by_hand(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    work = begin(scene(), left_half(), steps=10, denoising_strength=0.5, mask_blur_x=0, mask_blur_y=0, schedule="Uniform", seed=5)
    studio.pictures(work)
    kept = torch.ones(1, 1, 8, 8)
    kept[..., :4] = 0
    theirs = masked_euler(tiny, encoded(tiny, scene()), kept, steps=10, skipped=4, seed=5)
    torch.testing.assert_close(decoded_latents[0][None], theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_without_denoising_the_picture_comes_back(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    studio.pictures(begin(scene(), denoising_strength=0.0, steps=20, schedule="Uniform", cfg_scale=1))
    faintest = 0.03  # the noise level of the one step that A1111 does
    assert float((decoded_latents[0] - encoded(tiny, scene())[0]).abs().mean()) < 2 * faintest


def test_full_denoising_is_nearly_drawing_from_noise(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    studio.pictures(begin(scene(), denoising_strength=1.0, noise_multiplier=1.0, steps=10))
    studio.pictures(work_for(tiny.path, steps=10))
    studio.pictures(work_for(tiny.path, steps=10, seed=8))
    from_picture, from_noise, other = decoded_latents
    assert (from_picture - from_noise).abs().mean() < 0.2 * (other - from_noise).abs().mean()


def test_more_denoising_goes_farther_from_the_picture(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    for denoising in (0.1, 0.4, 0.9):
        studio.pictures(begin(scene(), denoising_strength=denoising, steps=20))
    far = [float((latent - encoded(tiny, scene())[0]).abs().mean()) for latent in decoded_latents]
    assert far == sorted(far)


@pytest.mark.parametrize("masked", [False, True])
def test_pictures_of_a_batch_are_those_drawn_alone(deterministic_studio: Studio, begin: Begin, masked: bool) -> None:
    mask = left_half() if masked else None
    together = deterministic_studio.pictures(begin(scene(), mask, batch_size=2, batch_count=2, seed=20, sampler="Euler a"))
    for index, picture in together.items():
        alone = deterministic_studio.pictures(begin(scene(), mask, seed=20 + index, sampler="Euler a"))[0]
        assert np.array_equal(picture, alone)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
def test_each_picture_of_a_batch_may_be_of_another_size(deterministic_studio: Studio, begin: Begin, mode: str, area: str) -> None:
    scenes, mask = [scene(96, 64, 2), scene(80, 120, 3)], left_half(96, 64)
    wishes = {"resize_mode": mode, "inpaint_area": area, "masked_content": "fill", "steps": 2}
    together = deterministic_studio.pictures(begin(scenes, mask, batch_size=2, batch_count=2, seed=20, **wishes))
    assert len(together) == 4
    for index, picture in together.items():
        alone = deterministic_studio.pictures(begin(scenes[index % 2], mask, seed=20 + index, **wishes))[0]
        assert np.array_equal(picture, alone)


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M SDE", "DDIM", "UniPC"])
def test_outside_the_mask_latents_and_pixels_are_the_pictures_own(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor], sampler: str
) -> None:
    drawn = studio.pictures(begin(scene(), left_half(), sampler=sampler, mask_blur_x=0, mask_blur_y=0, steps=6))[0]
    original = np.asarray(scene()).astype(int)
    assert np.array_equal(drawn[:, 32:], original[:, 32:])
    assert abs(drawn[:, :32] - original[:, :32]).mean() > 10
    own = encoded(tiny, scene())[0]
    torch.testing.assert_close(decoded_latents[0][..., 4:], own[..., 4:], rtol=0, atol=1e-5)
    assert (decoded_latents[0][..., :4] - own[..., :4]).abs().mean() > 0.1


def test_what_is_not_masked_can_be_drawn_instead(studio: Studio, begin: Begin) -> None:
    events = studio.draw(begin(scene(), left_half(), mask_mode="Inpaint not masked", mask_blur_x=0, mask_blur_y=0))
    drawn, original = pictures(events)[0], np.asarray(scene()).astype(int)
    assert np.array_equal(drawn[:, :32], original[:, :32])
    assert not np.array_equal(drawn[:, 32:], original[:, 32:])
    assert next(event for event in events if isinstance(event, Drawn)).used["Mask mode"] == "Inpaint not masked"


def test_only_masked_draws_a_part_and_leaves_the_rest_bit_for_bit(studio: Studio, begin: Begin) -> None:
    mask = Image.new("L", (200, 151))
    mask.paste(255, (150, 100, 180, 130))
    wishes = {"inpaint_area": "Only masked", "masked_padding": 8, "mask_blur_x": 2, "mask_blur_y": 2}
    events = studio.draw(begin(scene(200, 151), mask, **wishes))
    drawn, original = pictures(events)[0], np.asarray(scene(200, 151)).astype(int)
    assert drawn.shape == (151, 200, 3)
    touched = np.zeros((151, 200), dtype=bool)
    touched[94:136, 144:186] = True  # the mask and its soft edge
    assert np.array_equal(drawn[~touched], original[~touched])
    assert abs(drawn[105:125, 155:175] - original[105:125, 155:175]).mean() > 5
    used = next(event for event in events if isinstance(event, Drawn)).used
    assert dict(used) == {"Mask blur": "2", "Inpaint area": "Only masked", "Masked area padding": "8"}


def test_masked_contents_begin_differently_and_are_told(studio: Studio, begin: Begin, decoded_latents: list[torch.Tensor]) -> None:
    said = []
    for content in MASKED_CONTENTS:
        events = studio.draw(begin(scene(), left_half(), masked_content=content, denoising_strength=0.3, steps=10))
        said += [event.used.get("Masked content") for event in events if isinstance(event, Drawn)]
    assert said == ["fill", None, "latent noise", "latent nothing"]
    for index, one in enumerate(decoded_latents):
        assert all((one[..., :4] - other[..., :4]).abs().mean() > 0.01 for other in decoded_latents[index + 1 :])


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (100, 60)])
@pytest.mark.parametrize("masked", ["no", "Whole picture", "Only masked"])
def test_pictures_of_any_size_are_drawn_in_every_resize_mode(
    studio: Studio, begin: Begin, mode: str, size: tuple[int, int], masked: str
) -> None:
    wishes = {"inpaint_area": masked, "masked_content": "fill"} if masked != "no" else {}
    mask = Image.new("L", size, 255) if masked != "no" else None
    drawn = studio.pictures(begin(scene(*size), mask, resize_mode=mode, steps=1, **wishes))[0]
    assert drawn.shape == ((*size[::-1], 3) if masked == "Only masked" else (64, 64, 3))


def test_latent_upscale_interpolates_latents(studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]) -> None:
    mask = Image.new("L", (128, 32))  # nothing is drawn anew, so that the start itself is decoded
    studio.pictures(begin(scene(128, 32), mask, resize_mode=RESIZE_MODES[3]))
    own = torch.nn.functional.interpolate(encoded(tiny, scene(128, 32)), size=(8, 8), mode="bilinear", antialias=False)
    torch.testing.assert_close(decoded_latents[0], own[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", RESIZE_MODES[:3])
def test_a_mask_of_another_size_lies_on_the_picture(studio: Studio, begin: Begin, mode: str) -> None:
    wishes = {"resize_mode": mode, "mask_blur_x": 0, "mask_blur_y": 0, "steps": 2}
    same = studio.pictures(begin(scene(128, 64), left_half(128, 64), **wishes))[0]
    other = studio.pictures(begin(scene(128, 64), left_half(32, 96), **wishes))[0]
    original = np.asarray(scene(128, 64)).astype(int)
    assert abs(same - other)[:, 40:].max() == 0
    assert abs(same - other).mean() < 5
    cut = {**wishes, "inpaint_area": "Only masked", "masked_padding": 0}
    drawn = studio.pictures(begin(scene(128, 64), left_half(32, 96), **cut))[0]
    assert np.array_equal(drawn[:, 72:], original[:, 72:])
    assert abs(drawn[:, :56] - original[:, :56]).mean() > 5


def test_an_empty_mask_with_only_masked_is_remarked_on(studio: Studio, begin: Begin) -> None:
    events = studio.draw(begin(scene(), Image.new("L", (64, 64)), inpaint_area="Only masked"))
    assert [event.text for event in events if isinstance(event, Remark)] == ["The mask is empty, so the whole picture is drawn anew."]
    plain = studio.pictures(begin(scene()))[0]
    assert np.array_equal(pictures(events)[0], plain)


def test_an_empty_mask_over_the_whole_picture_keeps_it(studio: Studio, begin: Begin) -> None:
    drawn = studio.pictures(begin(scene(), Image.new("L", (64, 64))))[0]
    assert np.array_equal(drawn, np.asarray(scene()).astype(int))


def test_the_noise_multiplier_is_the_requests_or_the_settings(studio: Studio, begin: Begin) -> None:
    plain = studio.pictures(begin(scene()))[0]
    asked = studio.pictures(begin(scene(), noise_multiplier=0.5))[0]
    by_setting = studio.pictures(begin(scene(), initial_noise_multiplier=0.5))[0]
    beaten = studio.pictures(begin(scene(), noise_multiplier=1.0, initial_noise_multiplier=0.5))[0]
    assert np.array_equal(asked, by_setting)
    assert np.array_equal(plain, beaten)
    assert not np.array_equal(plain, asked)


def test_a_soft_mask_blends_latents_unless_it_is_made_sharp(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    grey = Image.new("L", (64, 64), 100)
    for sharp in (True, False):
        studio.pictures(begin(scene(), grey, mask_round=sharp))
    own = encoded(tiny, scene())[0]
    torch.testing.assert_close(decoded_latents[0], own, rtol=0, atol=1e-5)
    assert (decoded_latents[1] - own).abs().mean() > 0.05


def test_what_is_transparent_is_drawn_from_white(studio: Studio, begin: Begin) -> None:
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert np.array_equal(studio.pictures(begin(clear))[0], studio.pictures(begin(Image.new("RGB", (64, 64), "white")))[0])


def test_another_background_can_be_chosen(studio: Studio, begin: Begin) -> None:
    glass, red = Image.new("RGBA", (64, 64), (0, 0, 255, 0)), Image.new("RGB", (64, 64), (255, 0, 0))
    on_red = studio.pictures(begin(glass, img2img_background_color="#ff0000"))[0]
    assert np.array_equal(on_red, studio.pictures(begin(red))[0])
    assert not np.array_equal(on_red, studio.pictures(begin(glass))[0])


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_extra_noise_is_laid_over_the_start_and_told(studio: Studio, begin: Begin, sampler: str) -> None:
    plain = pictures(studio.draw(begin(scene(), sampler=sampler)))[0]
    events = studio.draw(begin(scene(), sampler=sampler, img2img_extra_noise=0.3, initial_noise_multiplier=0.9))
    assert not np.array_equal(pictures(events)[0], plain)
    assert [dict(event.used) for event in events if isinstance(event, Drawn)] == [{"Noise multiplier": "0.9", "Extra noise": "0.3"}]
    once = pictures(studio.draw(begin(scene(), sampler=sampler, img2img_extra_noise=0.3)))[0]
    assert not np.array_equal(once, plain)


def test_a_picture_too_large_to_be_encoded_whole_is_refused(studio: Studio, begin: Begin) -> None:
    end = studio.draw(begin(Image.new("RGB", (2049, 2048)), resize_mode=RESIZE_MODES[3]))[-1]
    assert isinstance(end, Failed)
    assert "2049x2048" in end.message
