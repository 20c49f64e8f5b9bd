"""A hires fix draws small, and then larger from that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.studio import Studio, events_of, pictures, work_for
from tests.engine.tiny_models import TinyModel
from tests.engine.upscaler_files import nearest_weights, save
from webui.core.errors import InvalidRequest
from webui.core.events import Drawn, Progress
from webui.core.hires_size import HiresSize
from webui.core.request import GenerationRequest, read_request
from webui.core.upscalers import LATENT_UPSCALERS, OWN_UPSCALERS, Upscaler
from webui.engine.device import Device
from webui.engine.generate import SkipBatch, Story, generate
from webui.engine.hires import LATENT_UPSCALERS as WAYS
from webui.engine.hires import hires_pairs
from webui.engine.image_models import ImageModels
from webui.engine.pipeline_manager import Pipeline
from webui.engine.rows import UNetCall
from webui.engine.upscale import FILTERS

HIRES = {"enable_hr": True, "denoising_strength": 0.6}


@pytest.mark.parametrize(
    ("wishes", "target"),
    [
        ({"hr_scale": 2.0}, HiresSize(1024, 1536)),
        ({"hr_scale": 1.5}, HiresSize(768, 1152)),
        ({"hr_resize_x": 1024}, HiresSize(1024, 1536)),
        ({"hr_resize_y": 1024}, HiresSize(682, 1024)),
        ({"hr_resize_x": 1024, "hr_resize_y": 1024}, HiresSize(1024, 1536, 0, 512)),
        ({"hr_resize_x": 512, "hr_resize_y": 1024}, HiresSize(682, 1024, 170, 0)),
        ({"hr_resize_x": 1024, "hr_resize_y": 1536}, HiresSize(1024, 1536)),
    ],
)
def test_the_size_of_the_second_pass_is_a1111s(wishes: dict[str, object], target: HiresSize) -> None:
    assert GenerationRequest(width=512, height=768, **wishes).hires_size == target


def test_every_upscaler_that_can_be_asked_for_is_there() -> None:
    assert tuple(WAYS) == LATENT_UPSCALERS
    assert tuple(FILTERS) == OWN_UPSCALERS


@pytest.mark.parametrize("upscaler", [*LATENT_UPSCALERS, *OWN_UPSCALERS])
def test_every_upscaler_draws_the_larger_picture(studio: Studio, tiny: TinyModel, upscaler: str) -> None:
    picture = studio.pictures(work_for(tiny.path, hr_upscaler=upscaler, hr_second_pass_steps=2, **HIRES))[0]
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 5


def test_a_file_enlarges_the_first_pass_and_other_jobs_go_on_meanwhile(
    studio: Studio, cpu: Device, tiny: TinyModel, tmp_path: Path
) -> None:
    upscaler = Upscaler("twice", save(tmp_path / "twice.safetensors", nearest_weights()), "ESRGAN")
    wishes = {"hr_upscaler": "twice", "hr_second_pass_steps": 1, "ESRGAN_tile": 16, **HIRES}
    work = replace(work_for(tiny.path, **wishes), upscalers={"twice": upscaler})
    images = ImageModels(cpu, tmp_path)
    run = studio.submit(work, lambda pipeline: generate(work, replace(studio.tools(pipeline), images=images)))
    by_file = pictures(events_of(run))[0]
    nearest = studio.pictures(work_for(tiny.path, **wishes | {"hr_upscaler": "Nearest"}))[0]
    assert np.array_equal(by_file, nearest)


def test_skipping_while_it_is_enlarged_leaves_the_first_passs_picture(studio: Studio, cpu: Device, tiny: TinyModel, tmp_path: Path) -> None:
    upscaler = Upscaler("twice", save(tmp_path / "twice.safetensors", nearest_weights()), "ESRGAN")
    work = replace(work_for(tiny.path, hr_upscaler="twice", ESRGAN_tile=16, **HIRES), upscalers={"twice": upscaler})

    def begin(pipeline: Pipeline) -> Story:
        story = generate(work, replace(studio.tools(pipeline), images=ImageModels(cpu, tmp_path)))
        item = next(story)
        while True:
            if isinstance(item, UNetCall) and not item.rows:
                item = story.throw(SkipBatch())
                continue
            answer = yield item
            try:
                item = next(story) if answer is None else story.send(answer)
            except StopIteration:
                return

    drawn = pictures(events_of(studio.submit(work, begin)))[0]
    assert drawn.shape == (64, 64, 3)


def test_both_sides_given_are_met_exactly(studio: Studio, tiny: TinyModel) -> None:
    assert studio.pictures(work_for(tiny.path, hr_resize_x=96, hr_resize_y=128, **HIRES))[0].shape == (128, 96, 3)


def test_a_picture_of_a_batch_is_the_picture_alone(deterministic_studio: Studio, tiny: TinyModel) -> None:
    batch = deterministic_studio.pictures(work_for(tiny.path, batch_size=2, seed=20, sampler="Euler a", **HIRES))
    alone = deterministic_studio.pictures(work_for(tiny.path, seed=21, sampler="Euler a", **HIRES))[0]
    assert np.array_equal(batch[1], alone)


@pytest.mark.parametrize(
    "change",
    [
        {"denoising_strength": 0.9}, {"hr_second_pass_steps": 9}, {"hr_sampler": "Heun"}, {"hr_schedule": "Karras"}, {"hr_prompt": "a dog"},
        {"hr_negative_prompt": "a dog"}, {"hr_scale": 1.5}, {"hr_upscaler": "Lanczos"},
    ],
)  # fmt: skip
def test_every_wish_for_the_second_pass_matters(studio: Studio, tiny: TinyModel, change: dict[str, object]) -> None:
    plain = studio.pictures(work_for(tiny.path, **HIRES))[0]
    changed = studio.pictures(work_for(tiny.path, **HIRES | change))[0]
    assert plain.shape != changed.shape or not np.array_equal(plain, changed)


def test_all_steps_of_the_second_pass_are_made_and_told(studio: Studio, tiny: TinyModel) -> None:
    events = studio.draw(work_for(tiny.path, hr_second_pass_steps=6, **HIRES))
    progress = [event for event in events if isinstance(event, Progress)]
    assert [(one.step, one.steps) for one in progress] == [*((step, 4) for step in range(1, 5)), *((step, 6) for step in range(1, 7))]
    assert [round(one.fraction * 10) for one in progress] == list(range(1, 11))
    assert list(pictures(events)) == [0]


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({}, {"Hires upscale": "2.0", "Hires upscaler": "Latent"}),
        ({"hr_second_pass_steps": 3}, {"Hires upscale": "2.0", "Hires steps": "3", "Hires upscaler": "Latent"}),
        ({"hr_resize_x": 128}, {"Hires resize": "128x0", "Hires upscaler": "Latent"}),
        (
            {"hr_sampler": "Heun", "hr_prompt": "a dog", "hr_negative_prompt": "red", "hr_schedule": "Karras"},
            {
                "Hires sampler": "Heun", "Hires prompt": "a dog", "Hires negative prompt": "red", "Hires schedule type": "Karras",
                "Hires upscale": "2.0", "Hires upscaler": "Latent",
            },
        ),
        ({"hr_sampler": "Euler", "hr_prompt": "a cat"}, {"Hires upscale": "2.0", "Hires upscaler": "Latent"}),
    ],
)  # fmt: skip
def test_the_infotext_says_what_differs_in_a1111s_order(wishes: dict[str, object], said: dict[str, str]) -> None:
    request = GenerationRequest(prompt="a cat", sampler="Euler", enable_hr=True, **wishes)
    pairs = hires_pairs(request, request.second_pass)
    assert (pairs, list(pairs)) == (said, list(said))


def test_the_first_pass_and_the_second_both_tell_what_had_an_effect(studio: Studio, tiny: TinyModel) -> None:
    events = studio.draw(work_for(tiny.path, prompt="a (cat)", emphasis="No norm", hr_sampler="Euler a", eta=0.5, **HIRES))
    (drawn,) = [event for event in events if isinstance(event, Drawn)]
    assert list(drawn.used) == ["Hires sampler", "Hires upscale", "Hires upscaler", "Emphasis", "Eta"]
    assert drawn.request.enable_hr


@pytest.mark.parametrize(
    "wishes", [{"width": 2048, "hr_scale": 4.5}, {"width": 64, "height": 2048, "hr_resize_x": 1024}, {"hr_resize_x": 8192, "height": 1024}]
)
def test_a_second_pass_that_no_machine_could_draw_is_refused(wishes: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="a side has at most 8192 pixels"):
        read_request({"enable_hr": True, **wishes})
    assert GenerationRequest(**wishes)
