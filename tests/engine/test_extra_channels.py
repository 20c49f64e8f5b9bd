"""UNets that see more than the latents: inpainting, depth2img and instruct-pix2pix, each against diffusers' own pipeline."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionDepth2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionInstructPix2PixPipeline
from PIL import Image

from tests.engine.scenes import Begin, encoded, euler, left_half, ramp, scene
from tests.engine.studio import Studio, pictures, work_for
from tests.engine.tiny_models import TinyModel
from webui.core.events import Drawn, Failed
from webui.core.request import GenerationRequest
from webui.engine.extra_channels import Given, depth_channel, depth_picture, extra_channels, read_depth
from webui.engine.starts import Start
from webui.engine.tokenizer import build_tokenizer
from webui.engine.vae import encode_pixels

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TEN = {"steps": 10, "schedule": "Uniform", "negative_prompt": "blurry", "seed": 5}
SHARP = {"mask_blur_x": 0, "mask_blur_y": 0}


def components(model: TinyModel) -> dict[str, Any]:
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    unet = copy(model.unet)
    unet.register_to_config(sample_size=8)
    return {"vae": model.vae, "text_encoder": model.text_encoder, "tokenizer": tokenizer, "unet": unet, "scheduler": euler(model)}


def no_checker() -> dict[str, Any]:
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours[None], theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def inpaint_by_diffusers(model: TinyModel) -> torch.Tensor:
    pipe = StableDiffusionInpaintPipeline(**components(model), **no_checker())
    pipe.set_progress_bar_config(disable=True)
    pixels = torch.from_numpy(np.asarray(scene(), dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        seen = encode_pixels(model.vae, pixels * (1 - mask_tensor()))
    result: torch.Tensor = pipe(
        "a cat", negative_prompt="blurry", image=encoded(model, scene()), mask_image=mask_tensor(), masked_image_latents=seen,
        num_inference_steps=10, strength=0.6 + 1e-6, guidance_scale=7.0, height=64, width=64,
        generator=torch.Generator().manual_seed(5), output_type="latent",
    ).images  # fmt: skip
    return result


def mask_tensor() -> torch.Tensor:
    return torch.from_numpy(np.asarray(left_half(), dtype=np.float32) / 255)[None, None]


def test_inpainting_with_an_ordinary_unet_is_that_of_diffusers(
    studio: Studio, begin: Begin, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    studio.pictures(begin(scene(), left_half(), denoising_strength=0.5, **TEN, **SHARP))
    assert_same(decoded_latents[0], inpaint_by_diffusers(tiny))


def test_inpainting_with_an_inpainting_unet_is_that_of_diffusers(
    studio: Studio, begin: Begin, inpainting: TinyModel, decoded_latents: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A1111 keeps the latents outside the mask here too; diffusers trusts the model with them.
    monkeypatch.setattr(Start, "blended", lambda self, latents, sigma=None: latents)
    studio.pictures(begin(scene(), left_half(), model=inpainting, denoising_strength=0.5, **TEN, **SHARP))
    assert_same(decoded_latents[0], inpaint_by_diffusers(inpainting))


def test_an_inpainting_unet_keeps_what_is_outside_the_mask_to_the_pixel(studio: Studio, begin: Begin, inpainting: TinyModel) -> None:
    drawn = studio.pictures(begin(scene(), left_half(), model=inpainting, steps=4, **SHARP))[0]
    original = np.asarray(scene()).astype(int)
    assert np.array_equal(drawn[:, 32:], original[:, 32:])
    assert abs(drawn[:, :32] - original[:, :32]).mean() > 10


def test_what_an_inpainting_unet_sees_under_the_mask_is_grey_however_the_picture_was(
    studio: Studio, begin: Begin, inpainting: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("webui.engine.starting_picture.extra_channels", noting(seen))
    wishes = {"model": inpainting, "steps": 1, **SHARP}
    studio.pictures(begin(scene(), left_half(), **wishes))
    painted = scene()
    painted.paste("red", (0, 0, 32, 64))
    studio.pictures(begin(painted, left_half(), **wishes))
    studio.pictures(begin(painted, left_half(), inpainting_mask_weight=0.5, **wishes))
    hidden, still_hidden, half_hidden = seen
    assert hidden.shape == (1, 5, 8, 8)
    assert torch.equal(hidden, still_hidden)
    assert not torch.allclose(hidden, half_hidden, atol=1e-3)
    assert torch.equal(hidden[0, 0, 0], torch.tensor([1.0] * 4 + [0.0] * 4))


def noting(seen: list[torch.Tensor]) -> Any:
    def note(*args: Any, **kwargs: Any) -> torch.Tensor | None:
        channels = extra_channels(*args, **kwargs)
        assert channels is not None
        seen.append(channels)
        return channels

    return note


def test_an_inpainting_unet_draws_from_noise_and_with_a_hires_fix(studio: Studio, inpainting: TinyModel) -> None:
    assert studio.pictures(work_for(inpainting.path))[0].shape == (64, 64, 3)
    larger = studio.pictures(work_for(inpainting.path, enable_hr=True, hr_scale=1.5, denoising_strength=0.7))[0]
    assert larger.shape == (96, 96, 3)


@pytest.mark.parametrize("denoising", [0.3, 0.8])
def test_depth2img_is_that_of_diffusers(
    studio: Studio, begin: Begin, seeing_depth: TinyModel, decoded_latents: list[torch.Tensor], denoising: float
) -> None:
    studio.pictures(begin(scene(), depth=ramp(), model=seeing_depth, denoising_strength=denoising, use_depth=True, **TEN))
    pipe = StableDiffusionDepth2ImgPipeline(**components(seeing_depth), depth_estimator=None, feature_extractor=None)
    pipe.set_progress_bar_config(disable=True)
    prepare = pipe.prepare_latents  # given a picture, it would draw a sample of its latents where A1111 takes the middle
    pipe.prepare_latents = lambda image, *others: prepare(encoded(seeing_depth, scene()), *others)
    theirs = pipe(
        "a cat", negative_prompt="blurry", image=scene(), strength=denoising + 0.1 + 1e-6,
        depth_map=torch.from_numpy(np.asarray(ramp(), dtype=np.float32))[None], num_inference_steps=10, guidance_scale=7.0,
        generator=torch.Generator().manual_seed(5), output_type="latent",
    ).images  # fmt: skip
    assert_same(decoded_latents[0], theirs)


def test_a_depth_map_alone_draws_from_noise(studio: Studio, begin: Begin, seeing_depth: TinyModel) -> None:
    one = studio.pictures(begin(None, depth=ramp(), model=seeing_depth))[0]
    other = studio.pictures(begin(None, depth=ramp(), depth_invert=True, model=seeing_depth))[0]
    assert abs(one - other).mean() > 1


def test_a_depth_checkpoint_without_a_picture_says_what_it_needs(studio: Studio, seeing_depth: TinyModel) -> None:
    failed = studio.draw(work_for(seeing_depth.path))[-1]
    assert isinstance(failed, Failed)
    assert "depth map" in failed.message


def test_asking_for_depth_of_another_checkpoint_says_what_to_put_where(studio: Studio, begin: Begin) -> None:
    failed = studio.draw(begin(scene(), use_depth=True))[-1]
    assert isinstance(failed, Failed)
    assert "models/ControlNet" in failed.message


@pytest.mark.parametrize("image_scale", [1.0, 1.5])
def test_instruct_pix2pix_is_that_of_diffusers(
    studio: Studio,
    begin: Begin,
    editing: TinyModel,
    decoded_latents: list[torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    image_scale: float,
) -> None:
    # A1111 begins with the picture under noise; diffusers with noise alone.
    monkeypatch.setattr("webui.engine.passes._first_x", lambda start, noise, plan, strength, extra: noise * plan.noise_scale)
    studio.pictures(begin(scene(), model=editing, denoising_strength=1.0, image_cfg_scale=image_scale, **TEN))
    pipe = StableDiffusionInstructPix2PixPipeline(**components(editing), **no_checker())
    pipe.set_progress_bar_config(disable=True)
    latents = encoded(editing, scene()) / editing.vae.config["scaling_factor"]
    theirs = pipe(
        "a cat", negative_prompt="blurry", image=latents, num_inference_steps=10, guidance_scale=7.0, image_guidance_scale=image_scale,
        generator=torch.Generator().manual_seed(5), output_type="latent",
    ).images  # fmt: skip
    assert_same(decoded_latents[0], theirs)


def test_the_infotext_says_the_image_scale_of_an_editing_model_alone(studio: Studio, begin: Begin, editing: TinyModel) -> None:
    used = [event.used for event in studio.draw(begin(scene(), model=editing, steps=1)) if isinstance(event, Drawn)]
    others = [event.used for event in studio.draw(begin(scene(), steps=1)) if isinstance(event, Drawn)]
    assert used[0]["Image CFG scale"] == "1.5"
    assert "Image CFG scale" not in others[0]


def test_jobs_with_pictures_of_their_own_share_passes_and_stay_apart(
    studio: Studio, deterministic_studio: Studio, begin: Begin, inpainting: TinyModel
) -> None:
    works = [begin(scene(seed=number), left_half(), model=inpainting, seed=number, steps=3) for number in (1, 2)]
    together = studio.draw_together(*works)
    assert studio.loop.passes == 3
    for work, events in zip(works, together, strict=True):
        alone = deterministic_studio.pictures(work)[0]
        assert abs(pictures(events)[0] - alone).max() <= 2


def read(depth: list[float], **wishes: Any) -> list[float]:
    levels = read_depth(GenerationRequest(**wishes), torch.tensor(depth))
    return [round(float(level), 4) for level in levels]


def test_depth_is_spread_over_the_whole_range_and_can_be_inverted_and_cut() -> None:
    assert read([2, 4, 6]) == [-1, 0, 1]
    assert read([2, 4, 6], depth_invert=True) == [1, 0, -1]
    assert read([0, 1, 2, 3, 4], depth_near=0.75, depth_far=0.25) == [-1, -1, 0, 1, 1]
    assert read([3, 3]) == [-1, -1]


def test_a_depth_map_is_shown_as_it_is_read() -> None:
    shown = depth_picture(GenerationRequest(depth_invert=True), np.array([[0.0, 5.0]]))
    assert shown.mode == "L"
    assert [int(level) for level in np.asarray(shown)[0]] == [255, 0]


def test_depth_is_estimated_only_where_no_map_is_given() -> None:
    def estimate(_: Image.Image) -> np.ndarray:
        raise AssertionError

    given = depth_channel(GenerationRequest(), Given(scene(), depth=ramp()), size=(8, 8), estimate=estimate)
    assert given.shape == (1, 1, 8, 8)
    estimated = depth_channel(GenerationRequest(), Given(scene()), size=(8, 8), estimate=lambda image: np.asarray(ramp()))
    assert torch.allclose(given, estimated)
