"""The story of one job, with diffusers' own pipeline as the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from tests.engine.studio import Studio, pictures, work_for
from tests.engine.tiny_models import TinyModel
from webui.core.events import Drawn, EngineEvent, Failed, Preview, Progress, Remark
from webui.core.ports import Work
from webui.engine.device import Device
from webui.engine.generate import SkipBatch, Story, Tools, UNetCall, generate
from webui.engine.noise import PictureNoise
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.tokenizer import build_tokenizer


@pytest.fixture
def pipeline(cpu: Device, tiny: TinyModel) -> Iterator[Pipeline]:
    with torch.inference_mode(), PipelineManager(cpu, 10**9).lease(PipelineSpec(tiny.path)) as leased:
        yield leased


def tell(story: Story, pipeline: Pipeline, *, skip_at: int | None = None) -> list[EngineEvent]:
    """A story to its end, without a device loop.  skip_at: which wish to answer with a skip, from 0."""
    events: list[EngineEvent] = []
    wishes = 0
    try:
        item = next(story)
        while True:
            if not isinstance(item, UNetCall):
                events.append(item)
                item = next(story)
            elif wishes == skip_at:
                wishes += 1
                item = story.throw(SkipBatch())
            else:
                wishes += 1
                item = story.send([pipeline.unet(rows.x, rows.timestep, rows.context, return_dict=False)[0] for rows in item.rows])
    except StopIteration:
        return events


def diffusers_pictures(model: TinyModel, work: Work, output: str) -> np.ndarray:
    """What diffusers' pipeline draws with the very modules the file was written from, and our start noise."""
    request = work.request
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace", steps_offset=1,
        prediction_type=model.shape.prediction,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=tokenizer, unet=model.unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    shape = (4, request.height // 8, request.width // 8)
    seeds = [request.seed + index for index in range(request.batch_size)]
    noise = PictureNoise(seeds, shape, source="CPU", device=torch.device("cpu")).draw()
    return pipe(
        request.prompt, negative_prompt=request.negative_prompt, num_images_per_prompt=request.batch_size, latents=noise,
        num_inference_steps=request.steps, guidance_scale=request.cfg_scale, width=request.width, height=request.height, output_type=output,
    ).images  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["tiny", "tiny_v"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_pictures_are_those_of_diffusers_pipeline(
    request: pytest.FixtureRequest, studio: Studio, decoded_latents: list[torch.Tensor], name: str, size: tuple[int, int]
) -> None:
    model: TinyModel = request.getfixturevalue(name)
    work = work_for(
        model.path, prompt="a cat on a mat", negative_prompt="blurry", steps=10, cfg_scale=7, seed=5, batch_size=2,
        width=size[0], height=size[1], schedule="Uniform",
    )  # fmt: skip
    ours = studio.pictures(work)
    latents = diffusers_pictures(model, work, "latent")
    torch.testing.assert_close(torch.stack(decoded_latents), latents, rtol=0, atol=1e-4 * float(latents.abs().max()))
    for index, theirs in enumerate(diffusers_pictures(model, work, "pil")):
        assert ours[index].shape == (size[1], size[0], 3)
        assert abs(ours[index] - np.asarray(theirs).astype(int)).max() <= 1
        assert ours[index].std() > 10


def test_pictures_of_a_batch_are_those_drawn_alone(deterministic_studio: Studio, tiny: TinyModel) -> None:
    batches = work_for(tiny.path, batch_size=2, batch_count=2, seed=20, sampler="Euler a")
    together = deterministic_studio.pictures(batches)
    assert sorted(together) == [0, 1, 2, 3]
    for index, picture in together.items():
        alone = deterministic_studio.pictures(work_for(tiny.path, seed=20 + index, sampler="Euler a"))[0]
        assert np.array_equal(picture, alone)


def test_each_picture_tells_the_request_that_draws_it_alone(deterministic_studio: Studio, tiny: TinyModel) -> None:
    events = deterministic_studio.draw(work_for(tiny.path, batch_size=2, batch_count=2, seed=20))
    drawn = [event for event in events if isinstance(event, Drawn)]
    assert [(event.request.seed, event.request.batch_size, event.request.batch_count) for event in drawn] == [
        (20, 1, 1), (21, 1, 1), (22, 1, 1), (23, 1, 1)
    ]  # fmt: skip
    again = deterministic_studio.pictures(replace(work_for(tiny.path), request=drawn[2].request))[0]
    assert np.array_equal(again, np.asarray(drawn[2].image))


def test_pictures_already_done_are_not_drawn_again(deterministic_studio: Studio, tiny: TinyModel) -> None:
    wishes = {"batch_size": 2, "batch_count": 3, "seed": 20, "sampler": "Euler a"}
    everything = deterministic_studio.pictures(work_for(tiny.path, **wishes))
    passes = deterministic_studio.loop.passes
    rest = deterministic_studio.pictures(work_for(tiny.path, done=frozenset({0, 1, 2}), **wishes))
    assert sorted(rest) == [3, 4, 5]
    assert all(np.array_equal(rest[index], everything[index]) for index in rest)
    assert deterministic_studio.loop.passes - passes == passes // 2


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DDIM"])
@pytest.mark.parametrize(("count", "steps", "done"), [(1, 7, set()), (3, 2, set()), (3, 2, {0}), (1, 1, set())])
def test_progress_rises_to_1_and_never_falls(
    pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel, sampler: str, count: int, steps: int, done: set[int]
) -> None:
    work = work_for(tiny.path, sampler=sampler, batch_count=count, steps=steps, done=frozenset(done))
    events = tell(generate(work, Tools(pipeline, tokenizer, lambda: None)), pipeline)
    progress = [event for event in events if isinstance(event, Progress)]
    fractions = [event.fraction for event in progress]
    assert fractions[0] > 0
    assert all(before < after for before, after in pairwise(fractions))
    assert fractions[-1] == pytest.approx(1.0)
    assert all(event.eta > 0 for event in progress[:-1])
    assert progress[-1].eta == pytest.approx(0.0, abs=1e-6)
    assert (progress[-1].batch, progress[-1].batches) == (count - 1, count)
    assert all(1 <= event.step <= event.steps == steps for event in progress)
    assert progress[-1].step == steps
    assert {event.batch for event in progress} == set(range(count)) - done


def test_a_picture_comes_right_after_the_last_step_of_its_batch(pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel) -> None:
    events = tell(generate(work_for(tiny.path, batch_count=2, steps=2), Tools(pipeline, tokenizer, lambda: None)), pipeline)
    assert [type(event).__name__ for event in events] == ["Progress", "Progress", "Drawn"] * 2


def test_cfg_scale_1_ignores_the_negative_prompt(deterministic_studio: Studio, tiny: TinyModel) -> None:
    with_negative = deterministic_studio.pictures(work_for(tiny.path, negative_prompt="a dog", cfg_scale=1))[0]
    assert np.array_equal(with_negative, deterministic_studio.pictures(work_for(tiny.path, cfg_scale=1))[0])
    stronger = deterministic_studio.pictures(work_for(tiny.path, negative_prompt="a dog", cfg_scale=3))[0]
    assert not np.array_equal(stronger, with_negative)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a dog"}, {"negative_prompt": "a dog"}, {"steps": 5}, {"sampler": "Heun"}, {"schedule": "Karras"}, {"cfg_scale": 3},
        {"seed": 8}, {"CLIP_stop_at_last_layers": 2}, {"prompt": "a (cat:1.6)"},
    ],
)  # fmt: skip
def test_every_wish_matters(studio: Studio, tiny: TinyModel, change: dict[str, object]) -> None:
    wishes = {"prompt": "a cat", "steps": 4}
    assert not np.array_equal(studio.pictures(work_for(tiny.path, **wishes))[0], studio.pictures(work_for(tiny.path, **wishes | change))[0])


def test_a_skipped_batch_is_what_was_denoised_last(
    pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    shown: list[torch.Tensor] = []

    def show(latents: torch.Tensor) -> Image.Image:
        shown.append(latents[0])
        return Image.new("RGB", (8, 8))

    work = work_for(tiny.path, steps=6)
    events = tell(generate(work, Tools(pipeline, tokenizer, lambda: show)), pipeline, skip_at=4)
    assert [event.step for event in events if isinstance(event, Preview)] == [1, 2, 3, 4]
    assert torch.equal(decoded_latents[0], shown[-1])
    assert [event.used for event in events if isinstance(event, Drawn)] == [{"Stopped at step": "4"}]


def test_a_batch_skipped_before_its_first_step_gives_no_picture(pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel) -> None:
    events = tell(generate(work_for(tiny.path, batch_count=2), Tools(pipeline, tokenizer, lambda: None)), pipeline, skip_at=0)
    assert list(pictures(events)) == [1]


@pytest.mark.parametrize(("every", "steps_shown"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (-1, [])])
def test_previews_come_every_so_many_steps_but_not_after_the_last(
    pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel, every: int, steps_shown: list[int]
) -> None:
    work = work_for(tiny.path, steps=6, show_progress_every_n_steps=every)
    events = tell(generate(work, Tools(pipeline, tokenizer, lambda: lambda _: Image.new("RGB", (8, 8)))), pipeline)
    assert [event.step for event in events if isinstance(event, Preview)] == steps_shown


def test_latents_that_are_not_a_number_are_told_as_the_unets(studio: Studio, tiny: TinyModel) -> None:
    work = work_for(tiny.path, prompt="(" * 3000 + "cat" + ")" * 3000, emphasis="No norm")
    end = studio.draw(work)[-1]
    assert isinstance(end, Failed)
    assert end.message.startswith("A tensor with all NaNs was produced in Unet.")


def test_syntax_that_is_not_read_yet_is_remarked_on(studio: Studio, tiny: TinyModel) -> None:
    def remarks(prompt: str) -> list[str]:
        return [event.text for event in studio.draw(work_for(tiny.path, prompt=prompt)) if isinstance(event, Remark)]

    assert remarks("a (cat:1.2)") == []
    assert remarks("<lora:x:1> a cat AND a dog") == [
        "Drawn as plain text, because this version cannot do it yet: extra networks <...>, AND."
    ]
