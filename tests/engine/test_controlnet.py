"""Drawing after pictures, with diffusers' ControlNet pipelines as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file

from tests.engine.studio import Studio, work_for
from tests.engine.tiny_controls import TinyControl, make_control
from tests.engine.tiny_models import TinyModel
from webui.core.events import Drawn, Failed
from webui.core.ports import Work
from webui.engine.adapters.controlnet import SOFTER
from webui.engine.noise import NoiseSource, PictureNoise, PictureSeed
from webui.engine.tokenizer import build_tokenizer
from webui.engine.vae import encode_picture
from webui.jobs.inputs import InputPictures

Begin = Callable[..., Work]


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> list[TinyControl]:
    """Two that fit the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("controls")
    return [make_control(folder, "first", 11), make_control(folder, "second", 12)]


@pytest.fixture
def begin(tmp_path: Path, tiny: TinyModel) -> Begin:
    """A job whose units are (control file, picture, changes); `init` and `mask` are pictures that it starts from."""
    inputs = InputPictures(tmp_path)

    def begin(
        *units: tuple[Path, Image.Image | None, dict[str, Any]], init: Image.Image | None = None, mask: Image.Image | None = None,
        model: TinyModel = tiny, **wishes: Any,
    ) -> Work:  # fmt: skip
        asked = []
        for file, picture, changes in units:
            unit = {"enabled": True, "model": str(file), "image": inputs.add(picture) if picture else "", **changes}
            asked.append({**unit, "mask": inputs.add(unit["mask"]) if "mask" in unit else ""})
        starts = {"init_images": (inputs.add(init),)} if init else {}
        work = work_for(model.path, control_units=asked, mask=inputs.add(mask) if mask else "", **starts, **wishes)
        return replace(work, pictures=inputs.files_of(work.request), controls={str(file): file for file, _, _ in units})

    return begin


def scene(width: int = 64, height: int = 64, seed: int = 1) -> Image.Image:
    """Smooth colours."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def parts_of(model: TinyModel) -> dict[str, Any]:
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    unet = copy(model.unet)
    unet.register_to_config(sample_size=64)  # the pipeline compares it
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace", steps_offset=1
    )
    return {
        "vae": model.vae, "text_encoder": model.text_encoder, "tokenizer": tokenizer, "unet": unet, "scheduler": scheduler,
        "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False,
    }  # fmt: skip


def of_diffusers(model: TinyModel, work: Work, nets: list[TinyControl], pictures: list[Image.Image], **options: Any) -> torch.Tensor:
    """The latents that diffusers draws with the modules the files were written from, and our start noise."""
    pipe = StableDiffusionControlNetPipeline(controlnet=[net.model for net in nets], **parts_of(model))
    pipe.set_progress_bar_config(disable=True)
    request = work.request
    seeds = [PictureSeed(request.seed + index) for index in range(request.batch_size)]
    shape = (4, request.height // 8, request.width // 8)
    noise = PictureNoise(seeds, shape, NoiseSource("CPU", torch.device("cpu"))).first()
    latents: torch.Tensor = pipe(
        request.prompt, image=pictures, negative_prompt=request.negative_prompt, num_images_per_prompt=request.batch_size, latents=noise,
        num_inference_steps=request.steps, guidance_scale=request.cfg_scale, width=request.width, height=request.height,
        output_type="latent", **options,
    ).images  # fmt: skip
    return latents


def assert_close(ours: list[torch.Tensor], theirs: torch.Tensor) -> None:
    torch.testing.assert_close(torch.stack(ours), theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


USUAL = {"steps": 10, "schedule": "Uniform", "negative_prompt": "blurry", "seed": 5}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("span", [(0.0, 1.0), (0.2, 0.8)])
@pytest.mark.parametrize("count", [1, 2])
def test_latents_are_those_of_diffusers(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl], decoded_latents: list[torch.Tensor],
    span: tuple[float, float], count: int,
) -> None:  # fmt: skip
    used, pictures = controls[:count], [scene(96, 64, seed) for seed in range(count)]
    weights = [0.7, 1.3][:count]
    changes = [{"weight": weight, "guidance_start": span[0], "guidance_end": span[1]} for weight in weights]
    units = [(net.original, picture, change) for net, picture, change in zip(used, pictures, changes, strict=True)]
    work = begin(*units, width=96, height=64, batch_size=2, **USUAL)
    studio.pictures(work)
    theirs = of_diffusers(
        tiny, work, used, pictures, controlnet_conditioning_scale=weights, control_guidance_start=[span[0]] * count,
        control_guidance_end=[span[1]] * count,
    )  # fmt: skip
    assert_close(decoded_latents, theirs)
    plain = work_for(tiny.path, width=96, height=64, **USUAL)
    studio.pictures(plain)
    assert (decoded_latents[-1] - theirs[0]).abs().max() > 0.05 * theirs.abs().max(), "the units did nothing"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_latents_from_a_picture_are_those_of_diffusers(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl], decoded_latents: list[torch.Tensor]
) -> None:
    work = begin((controls[0].original, scene(seed=2), {"weight": 0.7}), init=scene(), denoising_strength=0.5, **USUAL)
    studio.pictures(work)
    pipe = StableDiffusionControlNetImg2ImgPipeline(controlnet=controls[0].model, **parts_of(tiny))
    pipe.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        start = encode_picture(tiny.vae, scene())
    theirs = pipe(
        "a cat", image=start, control_image=scene(seed=2), negative_prompt="blurry", num_inference_steps=10,
        strength=0.6 + 1e-6,  # A1111 does one step more
        guidance_scale=7.0, generator=torch.Generator().manual_seed(5), output_type="latent", controlnet_conditioning_scale=0.7,
    ).images  # fmt: skip
    assert_close(decoded_latents, theirs)


def test_both_layouts_and_a_pickle_give_the_same_bits(
    studio: Studio, begin: Begin, controls: list[TinyControl], decoded_latents: list[torch.Tensor], tmp_path: Path
) -> None:
    torch.save(load_file(controls[0].original), tmp_path / "control_v11p.pth")
    for file in (controls[0].original, controls[0].weights, tmp_path / "control_v11p.pth"):
        studio.pictures(begin((file, scene(), {})))
    first, *others = decoded_latents
    assert all(torch.equal(first, other) for other in others)


def test_weight_0_and_an_idle_unit_are_no_unit_bit_for_bit(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl], decoded_latents: list[torch.Tensor]
) -> None:
    studio.pictures(work_for(tiny.path))
    studio.pictures(begin((controls[0].original, scene(), {"weight": 0.0})))
    studio.pictures(begin((controls[0].original, scene(), {"enabled": False})))
    studio.pictures(begin((controls[0].original, scene(), {})))
    assert torch.equal(decoded_latents[0], decoded_latents[1])
    assert torch.equal(decoded_latents[0], decoded_latents[2])
    assert not torch.equal(decoded_latents[0], decoded_latents[3])


def test_units_of_one_model_add_up(studio: Studio, begin: Begin, controls: list[TinyControl], decoded_latents: list[torch.Tensor]) -> None:
    studio.pictures(begin((controls[0].original, scene(), {"weight": 0.5}), (controls[0].original, scene(), {"weight": 0.25})))
    studio.pictures(begin((controls[0].original, scene(), {"weight": 0.75})))
    torch.testing.assert_close(*decoded_latents, rtol=0, atol=1e-4)


def by_hand(
    model: TinyModel, net: TinyControl, picture: Image.Image, *, scales: list[float], also_negative: bool, hint: torch.Tensor | None = None
) -> torch.Tensor:
    """Euler's method with one unit, written out.  scales: of each answer."""
    scheduler = parts_of(model)["scheduler"]
    scheduler.set_timesteps(4)
    pipe = StableDiffusionControlNetPipeline(controlnet=net.model, **parts_of(model))
    if hint is None:
        hint = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    with torch.inference_mode():
        context = torch.cat(pipe.encode_prompt("a cat", "cpu", 1, True, "")[::-1])
        x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(7)) * scheduler.sigmas[0]
        for sigma, following, timestep in zip(scheduler.sigmas, scheduler.sigmas[1:], scheduler.timesteps, strict=False):
            scaled = (x / (sigma**2 + 1) ** 0.5).expand(2, -1, -1, -1)
            down, middle = net.model(scaled, timestep, context, hint.expand(2, -1, -1, -1), return_dict=False)
            rows = torch.tensor([1.0 if also_negative else 0.0, 1.0])[:, None, None, None]
            answers = [answer * scale * rows for answer, scale in zip((*down, middle), scales, strict=True)]
            noise = model.unet(
                scaled, timestep, context, return_dict=False, down_block_additional_residuals=tuple(answers[:-1]),
                mid_block_additional_residual=answers[-1],
            )[0]  # fmt: skip
            negative, positive = noise.chunk(2)
            x = x + (negative + 7.0 * (positive - negative)) * (following - sigma)
    return x


@pytest.mark.parametrize(("mode", "also_negative"), [("My prompt is more important", True), ("ControlNet is more important", False)])
def test_the_modes_weigh_the_layers_and_spare_the_negative_prompt_as_sd_webui_controlnet_does(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl], decoded_latents: list[torch.Tensor], mode: str,
    also_negative: bool,
) -> None:  # fmt: skip
    studio.pictures(begin((controls[0].original, scene(), {"control_mode": mode, "weight": 0.9}), schedule="Uniform"))
    scales = [0.9 * SOFTER ** (4 - place) for place in range(5)]  # four answers on the way down, one in the middle
    theirs = by_hand(tiny, controls[0], scene(), scales=scales, also_negative=also_negative)
    assert_close(decoded_latents, theirs)


def test_a_model_that_averages_over_the_picture_spares_the_negative_prompt(
    studio: Studio, begin: Begin, tiny: TinyModel, tmp_path: Path, decoded_latents: list[torch.Tensor]
) -> None:
    pooling = make_control(tmp_path, "shuffle", 13, global_pool_conditions=True)
    for file in (pooling.original, pooling.weights):
        studio.pictures(begin((file, scene(), {}), schedule="Uniform"))
    theirs = by_hand(tiny, pooling, scene(), scales=[1.0] * 5, also_negative=False)
    assert torch.equal(*decoded_latents)
    assert_close(decoded_latents[:1], theirs)


def test_an_inpainting_unit_sees_minus_one_where_the_mask_is_white(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl], decoded_latents: list[torch.Tensor]
) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    studio.pictures(begin((controls[0].original, scene(), {"module": "inpaint_only", "mask": mask}), schedule="Uniform"))
    hint = torch.from_numpy(np.asarray(scene(), dtype=np.float32) / 255).permute(2, 0, 1)[None].clone()
    hint[..., :32] = -1
    theirs = by_hand(tiny, controls[0], scene(), scales=[1.0] * 5, also_negative=True, hint=hint)
    assert_close(decoded_latents, theirs)


def test_without_a_picture_of_its_own_a_unit_follows_the_one_that_the_job_starts_from(
    studio: Studio, begin: Begin, controls: list[TinyControl], decoded_latents: list[torch.Tensor]
) -> None:
    for picture in (None, scene(80, 64)):
        unit = (controls[0].original, picture, {"resize_mode": "Just Resize"})
        studio.pictures(begin(unit, init=scene(80, 64), denoising_strength=0.7))
    assert torch.equal(*decoded_latents)


def test_where_only_what_a_mask_shows_is_drawn_only_that_is_followed(
    studio: Studio, begin: Begin, controls: list[TinyControl], decoded_latents: list[torch.Tensor]
) -> None:
    whole = scene(256, 256)
    mask = Image.new("L", (256, 256))
    mask.paste(255, (32, 32, 96, 96))
    area = {"init": whole, "mask": mask, "inpaint_area": "Only masked", "masked_padding": 0, "mask_blur_x": 0, "mask_blur_y": 0}
    studio.pictures(begin((controls[0].original, None, {}), **area))
    elsewhere = whole.copy()
    elsewhere.paste((0, 255, 0), (128, 128, 256, 256))
    studio.pictures(begin((controls[0].original, elsewhere, {}), **area))
    elsewhere.paste((0, 255, 0), (32, 32, 64, 64))
    studio.pictures(begin((controls[0].original, elsewhere, {}), **area))
    assert torch.equal(decoded_latents[0], decoded_latents[1])
    assert not torch.equal(decoded_latents[0], decoded_latents[2])


@pytest.mark.parametrize("option", ["Both", "Low res only", "High res only"])
def test_a_unit_acts_in_the_passes_of_a_hires_fix_that_it_is_for(
    studio: Studio, begin: Begin, controls: list[TinyControl], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    seen: list[tuple[int, ...]] = []
    real = type(controls[0].model).forward

    def noting(self: Any, sample: torch.Tensor, *rest: Any, **more: Any) -> Any:
        seen.append(tuple(sample.shape[2:]))
        return real(self, sample, *rest, **more)

    monkeypatch.setattr(type(controls[0].model), "forward", noting)
    picture = studio.pictures(begin((controls[0].original, scene(), {"hr_option": option}), enable_hr=True, denoising_strength=0.6))[0]
    assert picture.shape == (128, 128, 3)
    assert set(seen) == {"Both": {(8, 8), (16, 16)}, "Low res only": {(8, 8)}, "High res only": {(16, 16)}}[option]


def test_thin_lines_are_followed_less_strictly_in_the_second_pass(
    studio: Studio, begin: Begin, controls: list[TinyControl], monkeypatch: pytest.MonkeyPatch
) -> None:
    softened: list[bool] = []

    def noting(model: Any, weight: float, *, is_soft: bool) -> tuple[float, ...]:
        softened.append(is_soft)
        return (weight,) * 5

    monkeypatch.setattr("webui.engine.controls.scales_of", noting)
    for module in ("none", "canny"):
        studio.pictures(begin((controls[0].original, scene(), {"module": module}), enable_hr=True))
    assert softened == [False, False, False, True]


def test_jobs_with_different_pictures_and_weights_share_passes_and_come_out_as_alone(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl], decoded_latents: list[torch.Tensor]
) -> None:
    works = [
        begin((controls[0].original, scene(seed=seed), {"weight": weight, "guidance_end": end}), seed=seed)
        for seed, weight, end in ((1, 0.5, 1.0), (2, 1.0, 0.5), (3, 1.5, 1.0))
    ]
    alone = [studio.pictures(work)[0] for work in works]
    passes = studio.loop.passes
    together = studio.draw_together(*works)
    assert studio.loop.passes - passes == works[0].request.steps
    for events, picture in zip(together, alone, strict=True):
        (drawn,) = [event for event in events if isinstance(event, Drawn)]
        assert abs(np.asarray(drawn.image).astype(int) - picture).max() <= 1


def test_pictures_of_a_batch_are_those_drawn_alone(deterministic_studio: Studio, begin: Begin, controls: list[TinyControl]) -> None:
    unit = (controls[0].original, scene(), {"control_mode": "ControlNet is more important"})
    batch = deterministic_studio.pictures(begin(unit, batch_size=2, seed=20))
    assert np.array_equal(batch[1], deterministic_studio.pictures(begin(unit, seed=21))[0])


def failure(studio: Studio, work: Work) -> str:
    end = studio.draw(work)[-1]
    assert isinstance(end, Failed)
    return end.message


def test_a_control_model_of_another_size_is_refused_and_both_are_named(
    studio: Studio, begin: Begin, deep: TinyModel, controls: list[TinyControl]
) -> None:
    message = failure(studio, begin((controls[0].original, scene(), {}), model=deep))
    assert "'first' does not fit the checkpoint 'deep'" in message
    assert "layers a level, attention on" in message
    message = failure(studio, begin((controls[0].weights, scene(), {}), model=deep))
    assert "'first-folder' does not fit the checkpoint 'deep'" in message


@pytest.mark.parametrize(
    ("config", "says"), [("{", "cannot be read"), ('{"norm_num_groups": 7}', "7"), ('{"attention_head_dim": [4]}', "[4]")]
)
def test_a_damaged_config_is_named(studio: Studio, begin: Begin, tmp_path: Path, config: str, says: str) -> None:
    control = make_control(tmp_path, "broken", 14)
    (control.folder / "config.json").write_text(config)
    assert says in failure(studio, begin((control.weights, scene(), {})))


def test_a_control_model_stays_in_memory_while_its_job_needs_it_and_goes_when_room_is_wanted(
    studio: Studio, begin: Begin, tiny: TinyModel, controls: list[TinyControl]
) -> None:
    studio.pictures(begin((controls[0].original, scene(), {})))
    loaded = {key[0] for key in studio.pipelines._components}
    assert "control" in loaded
    studio.pipelines.clear()
    assert not studio.pipelines._components
