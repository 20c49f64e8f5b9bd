"""A second checkpoint that takes over: against a loop by hand that changes models, and what else goes over with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from tests.engine.scenes import Begin, euler, scene
from tests.engine.studio import Studio, work_for
from tests.engine.test_starts import pipe_of
from tests.engine.tiny_models import TinyModel, TinyShape, make_checkpoint, rewrite
from webui.core.events import Drawn, EngineEvent, Failed, Finished, Remark
from webui.core.ports import NetworkFile, OtherModel, Work
from webui.engine import hires
from webui.engine.device import Device
from webui.engine.generate import _Batches
from webui.engine.pipeline_manager import Pipeline, PipelineSpec
from webui.engine.prompts import PromptReader

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def refined(model: TinyModel, by: TinyModel, **wishes: Any) -> Work:
    work = work_for(model.path, refiner_checkpoint=by.path.name, **{"steps": 10, "schedule": "Uniform", **wishes})
    return replace(work, refiner=OtherModel(by.path, title="other [0123456789]"))


def by_hand(first: TinyModel, second: TinyModel, *, switch_at: float, steps: int, seed: int) -> torch.Tensor:
    """Euler's method with the second model's text encoder and UNet from the first call on where so much of the schedule is done."""
    scheduler = euler(first)
    scheduler.set_timesteps(steps)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) * scheduler.sigmas[0]
    with torch.inference_mode():
        contexts = [torch.cat(pipe_of(model).encode_prompt("a cat", "cpu", 1, True, "")[::-1]) for model in (first, second)]
        for (sigma, following), timestep in zip(pairwise(scheduler.sigmas), scheduler.timesteps, strict=True):
            turn = (999 - int(timestep.round())) / 1000 >= switch_at
            scaled = (x / (sigma**2 + 1) ** 0.5).expand(2, -1, -1, -1)
            negative, positive = (first, second)[turn].unet(scaled, timestep, contexts[turn], return_dict=False)[0].chunk(2)
            x = x + (negative + 7.0 * (positive - negative)) * (following - sigma)
    return x


@pytest.mark.parametrize("switch_at", [0.01, 0.5, 0.8])
def test_latents_are_those_of_a_loop_by_hand_that_changes_models(
    studio: Studio, tiny: TinyModel, twin: TinyModel, decoded_latents: list[torch.Tensor], switch_at: float
) -> None:
    studio.pictures(refined(tiny, twin, refiner_switch_at=switch_at))
    theirs = by_hand(tiny, twin, switch_at=switch_at, steps=10, seed=7)
    torch.testing.assert_close(decoded_latents[0][None], theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_a_refiner_that_takes_over_at_the_end_never_does_and_is_never_loaded(studio: Studio, tiny: TinyModel, twin: TinyModel) -> None:
    events = studio.draw(refined(tiny, twin, refiner_switch_at=1.0))
    plain = studio.pictures(work_for(tiny.path, steps=10, schedule="Uniform"))[0]
    drawn = next(event for event in events if isinstance(event, Drawn))
    assert np.array_equal(np.asarray(drawn.image).astype(int), plain)
    assert "Refiner" not in drawn.used
    assert not studio.pipelines.resident(PipelineSpec(twin.path))


def test_the_infotext_names_the_refiner_and_the_moment(studio: Studio, tiny: TinyModel, twin: TinyModel) -> None:
    drawn = next(event for event in studio.draw(refined(tiny, twin)) if isinstance(event, Drawn))
    assert drawn.used["Refiner"] == "other [0123456789]"
    assert drawn.used["Refiner switch at"] == "0.8"
    by_steps = next(event for event in studio.draw(refined(tiny, twin, refiner_switch_by_sample_steps=True)) if isinstance(event, Drawn))
    assert by_steps.used["Refiner switch by sampling steps"] == "True"


@pytest.mark.parametrize(("where", "first", "second"), [("first pass", 1, 0), ("second pass", 0, 1), ("both passes", 1, 1)])
def test_with_a_hires_fix_the_refiner_acts_in_the_passes_that_the_settings_name(
    studio: Studio, tiny: TinyModel, twin: TinyModel, monkeypatch: pytest.MonkeyPatch, where: str, first: int, second: int
) -> None:
    begun: list[tuple[bool, int | None]] = []
    read = _Batches._reader

    def note(batches: _Batches, pipeline: Pipeline, hires_calls: int | None = None) -> PromptReader:
        begun.append((pipeline is not batches._tools.pipeline, hires_calls))
        return read(batches, pipeline, hires_calls)

    monkeypatch.setattr(_Batches, "_reader", note)
    hires = {"enable_hr": True, "denoising_strength": 0.5, "refiner_switch_at": 0.5, "hires_fix_refiner_pass": where}
    studio.pictures(refined(tiny, twin, **hires))
    refiners = [hires_calls for is_refiner, hires_calls in begun if is_refiner]
    assert (refiners.count(None), len(refiners) - refiners.count(None)) == (first, second)


def test_img2img_batches_and_networks_of_samplers_go_on_under_the_refiner(
    studio: Studio, begin: Begin, tiny: TinyModel, twin: TinyModel
) -> None:
    for sampler in ("DPM++ 2M SDE", "DDIM", "Heun"):
        work = begin(scene(), refiner_checkpoint="x", refiner_switch_at=0.6, batch_size=2, sampler=sampler, steps=6)
        pictures = studio.pictures(replace(work, refiner=OtherModel(twin.path)))
        assert len(pictures) == 2


def test_a_refiner_that_sees_something_else_is_refused_in_a_sentence(studio: Studio, tiny: TinyModel, inpainting: TinyModel) -> None:
    failed = studio.draw(refined(tiny, inpainting))[-1]
    assert isinstance(failed, Failed)
    assert "same kind" in failed.message
    assert isinstance(studio.draw(work_for(tiny.path))[-1], Finished)


@pytest.fixture
def scaled(tiny: TinyModel, tmp_path: Path) -> Path:
    """The same weights, of a family that scales its latents otherwise."""
    return rewrite(tiny.path, tmp_path / "scaled.safetensors", changes={}, metadata={"vae_scaling_factor": "0.13025"})


def test_a_refiner_of_other_latents_is_refused_in_a_sentence(studio: Studio, tiny: TinyModel, scaled: Path) -> None:
    failed = studio.draw(replace(refined(tiny, tiny), refiner=OtherModel(scaled)))[-1]
    assert isinstance(failed, Failed)
    assert "latents of another kind" in failed.message


def test_a_hires_checkpoint_of_other_latents_goes_on_from_pictures_alone(studio: Studio, tiny: TinyModel, scaled: Path) -> None:
    def second_by(upscaler: str) -> EngineEvent:
        work = work_for(tiny.path, enable_hr=True, denoising_strength=0.6, hr_upscaler=upscaler)
        return studio.draw(replace(work, hires_model=OtherModel(scaled)))[-1]

    assert isinstance(second_by("Lanczos"), Finished)
    failed = second_by("Latent")
    assert isinstance(failed, Failed)
    assert "'Latent' cannot enlarge them" in failed.message


def test_a_word_that_the_refiner_does_not_know_is_remarked_on(studio: Studio, tiny: TinyModel, tmp_path: Path) -> None:
    save_file({"emb_params": torch.ones(1, tiny.shape.width)}, tmp_path / "zyx.safetensors")
    wide = make_checkpoint(tmp_path / "wide.safetensors", 5, TinyShape(width=48))
    word = NetworkFile("embedding", "zyx", tmp_path / "zyx.safetensors")
    work = replace(refined(tiny, wide, prompt="a zyx", batch_count=2), networks=(word,))
    remarks = [event.text for event in studio.draw(work) if isinstance(event, Remark)]
    assert remarks == ["The embedding 'zyx' was made for another model family; drawn without it."]


def test_with_offloading_each_vae_of_a_hires_fix_is_on_the_device_when_it_works(
    tokenizer: CLIPTokenizer, tiny: TinyModel, twin: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(Device(torch.device("cpu"), torch.float32, torch.float32, offload=True), tokenizer)
    at_work: list[bool] = []

    def noting(act: Callable[..., Any]) -> Callable[..., Any]:
        def note(vae: AutoencoderKL, given: Any) -> Any:
            at_work.append(studio.pipelines._at_work is vae)
            return act(vae, given)

        return note

    for name in ("decode_picture", "encode_picture"):
        monkeypatch.setattr(hires, name, noting(getattr(hires, name)))
    work = work_for(tiny.path, enable_hr=True, denoising_strength=0.6, hr_upscaler="Lanczos", batch_size=2)
    try:
        studio.pictures(replace(work, hires_model=OtherModel(twin.path)))
    finally:
        studio.close()
    assert at_work == [True] * 4


def test_a_refiner_whose_file_is_gone_fails_the_job_alone_and_pins_nothing(studio: Studio, tiny: TinyModel, twin: TinyModel) -> None:
    missing = replace(refined(tiny, twin), refiner=OtherModel(tiny.path.with_name("gone.safetensors")))
    assert isinstance(studio.draw(missing)[-1], Failed)
    studio.pipelines.clear()
    assert not studio.pipelines.resident(PipelineSpec(tiny.path))


def test_the_second_pass_of_a_hires_fix_is_drawn_by_the_checkpoint_it_names(
    studio: Studio, tiny: TinyModel, twin: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    wishes = {"enable_hr": True, "denoising_strength": 0.6, "hr_checkpoint": "twin"}
    own = work_for(tiny.path, **wishes)
    other = replace(own, hires_model=OtherModel(twin.path, title="twin"))
    drawn = next(event for event in studio.draw(other) if isinstance(event, Drawn))
    assert drawn.used["Hires checkpoint"] == "twin"
    assert not np.array_equal(np.asarray(drawn.image).astype(int), studio.pictures(own)[0])
    studio.pictures(work_for(tiny.path, enable_hr=True, denoising_strength=0.6, hr_cfg=1.0))
    assert not torch.equal(decoded_latents[-1], decoded_latents[-2])
