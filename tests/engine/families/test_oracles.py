"""Pictures of every family are those of diffusers' own pipelines, from the very modules that the files were written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from transformers import CLIPTokenizer

from tests.engine.studio import Studio, work_for
from tests.engine.tiny_controls import make_control
from tests.engine.tiny_families import HEAD_WIDTH, FamilyModel
from tests.engine.tiny_models import TinyShape
from webui.core.ports import OtherModel, Work
from webui.engine.noise import NoiseSource, PictureNoise, PictureSeed
from webui.engine.tokenizer import build_tokenizer
from webui.jobs.inputs import InputPictures

HEADS = (32 // HEAD_WIDTH, 64 // HEAD_WIDTH)
# Of the ControlNets for the tiny models: what they attend, and what else they are built with.
CONTROLS: Mapping[str, tuple[TinyShape, Mapping[str, Any]]] = MappingProxyType(
    {
        "sd2": (TinyShape(), {"use_linear_projection": True}),
        "sdxl": (
            TinyShape(attention=(False, True), width=32 + 48),
            {
                "use_linear_projection": True, "transformer_layers_per_block": (1, 2), "addition_embed_type": "text_time",
                "addition_time_embed_dim": 16, "projection_class_embeddings_input_dim": 40 + 6 * 16,
            },
        ),
    }
)  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def tokenizer_of(padding: str) -> CLIPTokenizer:
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    tokenizer.pad_token = padding
    return tokenizer


def euler(model: FamilyModel) -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace", steps_offset=1,
        prediction_type=model.prediction,
    )  # fmt: skip


def start_noise(work: Work) -> torch.Tensor:
    request = work.request
    seeds = [PictureSeed(request.seed + index) for index in range(request.batch_size)]
    return PictureNoise(seeds, (4, request.height // 8, request.width // 8), NoiseSource("CPU", torch.device("cpu"))).first()


def asked(work: Work) -> dict[str, Any]:
    request = work.request
    return {
        "prompt": request.prompt, "negative_prompt": request.negative_prompt or None, "num_images_per_prompt": request.batch_size,
        "num_inference_steps": request.steps, "guidance_scale": request.cfg_scale, "output_type": "latent",
    }  # fmt: skip


def assert_close(ours: list[torch.Tensor], theirs: torch.Tensor) -> None:
    assert float(theirs.std()) > 0.1
    torch.testing.assert_close(torch.stack(ours), theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def job(model: FamilyModel, **wishes: Any) -> Work:
    usual = {"prompt": "a cat on a mat", "negative_prompt": "blurry", "steps": 8, "seed": 5, "batch_size": 2, "schedule": "Uniform"}
    return work_for(model.path, **usual | wishes)


@pytest.mark.parametrize("name", ["sd2", "sd2_v"])
@pytest.mark.parametrize("width", [64, 96])
def test_sd2_draws_as_diffusers(
    request: pytest.FixtureRequest, studio: Studio, decoded_latents: list[torch.Tensor], name: str, width: int
) -> None:
    model: FamilyModel = request.getfixturevalue(name)
    work = job(model, width=width)
    studio.pictures(work)
    pipe = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoders[0], tokenizer=tokenizer_of("!"), unet=model.unet, scheduler=euler(model),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(**asked(work), latents=start_noise(work), width=width, height=64).images
    assert_close(decoded_latents, theirs)


def xl_parts(model: FamilyModel) -> dict[str, Any]:
    return {
        "vae": model.vae, "text_encoder": model.text_encoders[0], "text_encoder_2": model.text_encoders[1],
        "tokenizer": tokenizer_of("<|endoftext|>"), "tokenizer_2": tokenizer_of("!"), "unet": model.unet, "scheduler": euler(model),
        "add_watermarker": False,
    }  # fmt: skip


def xl_pipe(model: FamilyModel) -> StableDiffusionXLPipeline:
    pipe = StableDiffusionXLPipeline(**xl_parts(model))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def refiner_pipe(model: FamilyModel) -> StableDiffusionXLImg2ImgPipeline:
    pipe = StableDiffusionXLImg2ImgPipeline(
        vae=model.vae, text_encoder=None, text_encoder_2=model.text_encoders[0], tokenizer=None, tokenizer_2=tokenizer_of("!"),
        unet=model.unet, scheduler=euler(model), requires_aesthetics_score=True, add_watermarker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("negative", ["", "blurry"])
@pytest.mark.parametrize(("width", "crop"), [(64, (0, 0)), (96, (16, 8))])
def test_sdxl_draws_as_diffusers_whose_empty_negative_prompt_is_zeros_too(
    studio: Studio, sdxl: FamilyModel, decoded_latents: list[torch.Tensor], negative: str, width: int, crop: tuple[int, int]
) -> None:
    work = job(sdxl, width=width, negative_prompt=negative, sdxl_crop_top=crop[0], sdxl_crop_left=crop[1])
    studio.pictures(work)
    theirs = xl_pipe(sdxl)(
        **asked(work), latents=start_noise(work), width=width, height=64, original_size=(64, width), target_size=(64, width),
        crops_coords_top_left=crop,
    ).images  # fmt: skip
    assert_close(decoded_latents, theirs)


@pytest.mark.parametrize("negative", ["", "blurry"])
def test_the_refiner_draws_as_diffusers_with_its_aesthetic_scores(
    studio: Studio, refiner: FamilyModel, decoded_latents: list[torch.Tensor], negative: str
) -> None:
    work = job(refiner, negative_prompt=negative, sdxl_refiner_high_aesthetic_score=7.0, sdxl_refiner_low_aesthetic_score=3.0)
    studio.pictures(work)
    seeds = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    theirs = refiner_pipe(refiner)(
        **asked(work), image=torch.zeros(2, 4, 8, 8), strength=1.0, generator=seeds, original_size=(64, 64), target_size=(64, 64),
        aesthetic_score=7.0, negative_aesthetic_score=3.0,
    ).images  # fmt: skip
    assert_close(decoded_latents, theirs)


@pytest.mark.parametrize("switch_at", [0.4, 0.8])
def test_base_and_refiner_draw_as_diffusers_two_pipelines_in_turn(
    studio: Studio, sdxl: FamilyModel, refiner: FamilyModel, decoded_latents: list[torch.Tensor], switch_at: float
) -> None:
    work = job(sdxl, refiner_checkpoint="refiner", refiner_switch_at=switch_at)
    studio.pictures(replace(work, refiner=OtherModel(refiner.path)))
    size: dict[str, Any] = {"original_size": (64, 64), "target_size": (64, 64)}
    begun = xl_pipe(sdxl)(**asked(work), **size, latents=start_noise(work), width=64, height=64, denoising_end=switch_at).images
    theirs = refiner_pipe(refiner)(
        **asked(work), **size, image=begun, denoising_start=switch_at, aesthetic_score=6.0, negative_aesthetic_score=2.5
    ).images
    assert_close(decoded_latents, theirs)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_a_controlnet_draws_as_diffusers(
    request: pytest.FixtureRequest, studio: Studio, decoded_latents: list[torch.Tensor], tmp_path: Path, family: str
) -> None:
    model: FamilyModel = request.getfixturevalue(family)
    shape, options = CONTROLS[family]
    control = make_control(tmp_path, "control", 21, shape, HEADS, **options)
    picture = Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 100).convert("RGB")
    inputs = InputPictures(tmp_path)
    work = job(model, control_units=[{"enabled": True, "model": "control", "weight": 0.7, "image": inputs.add(picture)}])
    theirs = with_control(model, control.model)(
        **asked(work), image=picture, latents=start_noise(work), width=64, height=64, controlnet_conditioning_scale=0.7
    ).images
    for file in (control.original, control.weights):
        studio.pictures(replace(work, pictures=inputs.files_of(work.request), controls={"control": file}))
        assert_close(decoded_latents[-2:], theirs)
    studio.pictures(job(model))
    assert (decoded_latents[-1] - theirs[1]).abs().max() > 0.05 * theirs.abs().max(), "the unit did nothing"


def with_control(model: FamilyModel, control: ControlNetModel) -> StableDiffusionControlNetPipeline | StableDiffusionXLControlNetPipeline:
    if len(model.text_encoders) > 1:
        pipe = StableDiffusionXLControlNetPipeline(controlnet=control, **xl_parts(model))
    else:
        pipe = StableDiffusionControlNetPipeline(
            controlnet=control, vae=model.vae, text_encoder=model.text_encoders[0], tokenizer=tokenizer_of("!"), unet=model.unet,
            scheduler=euler(model), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe
