"""The story of one job, with diffusers' own pipeline as the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from tests.engine.studio import Studio, pictures, work_for
from tests.engine.tiny_models import TinyModel
from webui.core.events import Drawn, EngineEvent, Failed, Preview, Progress, Remark
from webui.core.ports import NetworkFile, Work
from webui.core.samplers import SAMPLERS
from webui.engine.device import Device
from webui.engine.generate import SkipBatch, Story, Tools, generate
from webui.engine.noise import NoiseSource, PictureNoise, PictureSeed
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.prompts import lora_hashes
from webui.engine.rows import UNetCall
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
    seeds = [PictureSeed(request.seed + index) for index in range(request.batch_size)]
    noise = PictureNoise(seeds, shape, NoiseSource("CPU", torch.device("cpu"))).first()
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
        {"seed": 8}, {"CLIP_stop_at_last_layers": 2}, {"prompt": "a (cat:1.6)"}, {"prompt": "a [cat:dog:0.5]"}, {"prompt": "a [cat|dog]"},
        {"prompt": "a cat AND a dog"}, {"prompt": "a cat :0.5"}, {"subseed": 9, "subseed_strength": 0.5}, {"randn_source": "NV"},
        {"seed_resize_from_w": 96, "seed_resize_from_h": 64}, {"cfg_rescale": 0.7}, {"s_min_uncond": 15.0}, {"skip_early_cond": 0.5},
        {"s_churn": 5.0}, {"always_discard_next_to_last_sigma": True}, {"sd_noise_schedule": "Zero Terminal SNR"},
        {"use_downcasted_alpha_bar": True}, {"tiling": True},
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


def used(events: list[EngineEvent]) -> list[dict[str, str]]:
    return [dict(event.used) for event in events if isinstance(event, Drawn)]


def test_the_text_of_a_step_is_that_of_a_prompt_of_its_own(deterministic_studio: Studio, tiny: TinyModel) -> None:
    def draw(prompt: str) -> np.ndarray:
        return deterministic_studio.pictures(work_for(tiny.path, prompt=prompt, steps=4))[0]

    assert np.array_equal(draw("a [cat:dog:0]"), draw("a dog"))
    assert np.array_equal(draw("a [cat:dog:1.0]"), draw("a cat"))
    assert np.array_equal(draw("a [cat:dog:2]"), draw("a [cat::2][dog:2]"))


def test_a_prompt_that_changes_is_encoded_once_and_never_again_for_another_seed(
    pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel
) -> None:
    tools = Tools(pipeline, tokenizer, lambda: None)
    asked: list[torch.Tensor] = []
    hook = pipeline.text_encoders[0].register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    try:
        for seed in (1, 2):
            tell(generate(work_for(tiny.path, prompt="a [cat|dog]", steps=8, seed=seed, batch_count=2), tools), pipeline)
    finally:
        hook.remove()
    assert [len(tokens) for tokens in asked] == [1, 2]  # the negative prompt, and cat and dog in one call


def test_pictures_of_a_job_may_have_prompts_of_their_own(deterministic_studio: Studio, tiny: TinyModel) -> None:
    prompts = ("a cat", "a dog AND a tree BREAK tall", "a cat")
    work = work_for(tiny.path, batch_size=3, prompts=prompts, seed=20)
    together = deterministic_studio.draw(work)
    assert [event.request.prompt for event in together if isinstance(event, Drawn)] == list(prompts)
    for index, prompt in enumerate(prompts):
        alone = deterministic_studio.pictures(work_for(tiny.path, prompt=prompt, seed=20 + index))[0]
        assert np.array_equal(pictures(together)[index], alone)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE", "Restart", "LCM", "DPM adaptive"])
def test_noise_on_the_way_is_each_pictures_own(deterministic_studio: Studio, tiny: TinyModel, sampler: str) -> None:
    batch = deterministic_studio.pictures(work_for(tiny.path, sampler=sampler, batch_size=2, seed=20))
    alone = deterministic_studio.pictures(work_for(tiny.path, sampler=sampler, seed=21))[0]
    if sampler == "DPM adaptive":  # its steps depend on the error of the whole batch, in A1111 too
        assert batch[1].shape == alone.shape
    else:
        assert np.array_equal(batch[1], alone)


@pytest.mark.parametrize("sampler", [sampler.label for sampler in SAMPLERS])
def test_every_sampler_draws_and_says_how_far_it_is(pipeline: Pipeline, tokenizer: CLIPTokenizer, tiny: TinyModel, sampler: str) -> None:
    events = tell(generate(work_for(tiny.path, sampler=sampler, steps=5), Tools(pipeline, tokenizer, lambda: None)), pipeline)
    progress = [event.fraction for event in events if isinstance(event, Progress)]
    assert all(before <= after for before, after in pairwise(progress))
    assert progress[-1] == pytest.approx(1.0, abs=0.1)
    assert pictures(events)[0].std() > 5


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({}, {}),
        ({"prompt": "a (cat:1.2)", "emphasis": "No norm"}, {"Emphasis": "No norm"}),
        ({"prompt": "a [cat:dog:0.5]", "emphasis": "No norm"}, {}),
        ({"s_min_uncond": 15.0}, {"NGMS": "15.0"}),
        ({"eta": 0.5, "sampler": "Euler a"}, {"Eta": "0.5"}),
        ({"s_churn": 5}, {"Sigma churn": "5"}),
        ({"sd_noise_schedule": "Zero Terminal SNR"}, {"Noise Schedule": "Zero Terminal SNR"}),
        ({"initial_noise_multiplier": 0.9}, {}),
        ({"pad_cond_uncond": True}, {}),
        ({"pad_cond_uncond": True, "negative_prompt": "a BREAK b"}, {"Pad conds": "True"}),
        ({"pad_cond_uncond_v0": True, "prompt": "a BREAK b"}, {"Pad conds v0": "True"}),
    ],
)
def test_the_infotext_learns_what_had_an_effect(studio: Studio, tiny: TinyModel, wishes: dict[str, object], said: dict[str, str]) -> None:
    assert used(studio.draw(work_for(tiny.path, **wishes))) == [said]


def test_a_tiled_picture_fits_its_own_edges_and_the_next_is_not_tiled(deterministic_studio: Studio, tiny: TinyModel) -> None:
    plain = deterministic_studio.pictures(work_for(tiny.path))[0]
    tiled = deterministic_studio.pictures(work_for(tiny.path, tiling=True))[0]
    assert not np.array_equal(plain, tiled)
    assert np.array_equal(deterministic_studio.pictures(work_for(tiny.path))[0], plain)


def a_lora(path: Path, strength: float) -> Path:
    """Changes the text encoder's and the UNet's first attention layers."""
    generator = torch.Generator().manual_seed(3)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * strength

    tensors = {}
    for layer in (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
    ):
        tensors |= {f"{layer}.lora_down.weight": noise(4, 32), f"{layer}.lora_up.weight": noise(32, 4), f"{layer}.alpha": torch.tensor(4.0)}
    save_file(tensors, path)
    return path


@pytest.fixture
def lora(tmp_path: Path) -> NetworkFile:
    return NetworkFile("lora", "mine", a_lora(tmp_path / "mine.safetensors", 1.0))


def test_a_lora_acts_where_it_is_named_and_leaves_no_trace(deterministic_studio: Studio, tiny: TinyModel, lora: NetworkFile) -> None:
    def draw(prompt: str) -> np.ndarray:
        return deterministic_studio.pictures(replace(work_for(tiny.path, prompt=prompt), networks=(lora,)))[0]

    plain, strong = draw("a cat"), draw("a cat<lora:mine:1>")
    assert not np.array_equal(plain, strong)
    assert not np.array_equal(strong, draw("a cat<lora:mine:0.5>"))
    assert not np.array_equal(strong, draw("a cat<lora:mine:0:1>"))
    assert np.array_equal(draw("a cat<lora:mine:0>"), plain)
    assert np.array_equal(draw("a cat"), plain)


def test_the_infotext_names_the_loras_of_the_pictures_own_prompt(studio: Studio, tiny: TinyModel, lora: NetworkFile) -> None:
    hashed = replace(lora, name="my: own, one", hash="0123456789ab")
    prompts = ("a cat", "a cat<lora:mine:0.5><lora:mine:0.2>")
    work = replace(work_for(tiny.path, prompts=prompts, batch_size=2), networks=(replace(lora, hash="0123456789ab"), hashed))
    assert used(studio.draw(work)) == [{}, {"Lora hashes": "mine: 0123456789ab"}]
    assert lora_hashes("<lora:my: own, one:1>", (hashed,)) == {}  # a tag's name has no colon
    assert lora_hashes("<lora:mine, all:1>", (replace(hashed, name="mine, all"),)) == {"Lora hashes": "mine all: 0123456789ab"}


def test_a_lora_may_come_and_go_on_the_way(deterministic_studio: Studio, tiny: TinyModel, lora: NetworkFile) -> None:
    def draw(prompt: str) -> np.ndarray:
        return deterministic_studio.pictures(replace(work_for(tiny.path, prompt=prompt, steps=4), networks=(lora,)))[0]

    plain, strong = draw("a cat"), draw("a cat<lora:mine:1>")
    half = draw("a cat[<lora:mine:1>::0.5]")
    assert not np.array_equal(half, plain)
    assert not np.array_equal(half, strong)
    assert np.array_equal(draw("a cat[<lora:mine:1>::1.0]"), strong)
    assert np.array_equal(draw("a cat[<lora:mine:1>:0]"), strong)
    assert not np.array_equal(draw("a cat<lora:mine:1@0,0@1>"), strong)


def test_each_picture_of_a_batch_may_wear_another_lora(deterministic_studio: Studio, tiny: TinyModel, lora: NetworkFile) -> None:
    prompts = ("a cat", "a cat<lora:mine:1>", "a cat<lora:mine:0.5>")
    batch = deterministic_studio.pictures(replace(work_for(tiny.path, prompts=prompts, batch_size=3, seed=20), networks=(lora,)))
    for index, prompt in enumerate(prompts):
        alone = deterministic_studio.pictures(replace(work_for(tiny.path, prompt=prompt, seed=20 + index), networks=(lora,)))[0]
        assert np.array_equal(batch[index], alone)


def test_a_strength_that_is_no_number_is_remarked_on_once(studio: Studio, tiny: TinyModel, lora: NetworkFile) -> None:
    work = replace(work_for(tiny.path, prompt="a cat<lora:mine:strong>", batch_count=2), networks=(lora,))
    remarks = [event.text for event in studio.draw(work) if isinstance(event, Remark)]
    assert len(remarks) == 1
    assert "'strong'" in remarks[0]


def test_a_loras_own_embedding_is_read_where_the_lora_is_named_unless_the_user_has_one_of_that_word(
    deterministic_studio: Studio, tiny: TinyModel, tmp_path: Path
) -> None:
    def embedding(name: str, seed: int) -> NetworkFile:
        save_file({"emb_params": torch.randn(1, tiny.shape.width, generator=torch.Generator().manual_seed(seed))}, tmp_path / name)
        return NetworkFile("embedding", "zyx", tmp_path / name)

    brought, own = embedding("brought.safetensors", 1), embedding("own.safetensors", 2)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    nothing = {f"{layer}.lora_down.weight": torch.zeros(4, 32), f"{layer}.lora_up.weight": torch.zeros(32, 4)}
    save_file({**nothing, "bundle_emb.zyx.emb_params": load_file(brought.path)["emb_params"]}, tmp_path / "with.safetensors")
    lora = NetworkFile("lora", "with", tmp_path / "with.safetensors")

    def draw(prompt: str, *files: NetworkFile) -> np.ndarray:
        return deterministic_studio.pictures(replace(work_for(tiny.path, prompt=prompt), networks=files))[0]

    alone = draw("a zyx", brought)
    assert np.array_equal(draw("a zyx<lora:with:1>", lora), alone)
    assert not np.array_equal(draw("a zyx"), alone)
    assert np.array_equal(draw("a zyx<lora:with:1>", lora, own), draw("a zyx", own))


def test_a_lora_that_is_replaced_under_its_name_acts_anew(deterministic_studio: Studio, tiny: TinyModel, lora: NetworkFile) -> None:
    work = replace(work_for(tiny.path, prompt="a cat<lora:mine:1>"), networks=(lora,))
    before = deterministic_studio.pictures(work)[0]
    lora.path.unlink()
    a_lora(lora.path, 0.3)
    assert not np.array_equal(deterministic_studio.pictures(work)[0], before)


def test_a_lora_for_other_models_is_remarked_on(studio: Studio, tiny: TinyModel, tmp_path: Path) -> None:
    layer = "lora_unet_input_blocks_99_1_proj_in"
    tensors = {f"{layer}.lora_down.weight": torch.zeros(4, 8), f"{layer}.lora_up.weight": torch.zeros(8, 4)}
    save_file(tensors, tmp_path / "other.safetensors")
    other = NetworkFile("lora", "other", tmp_path / "other.safetensors")
    events = studio.draw(replace(work_for(tiny.path, prompt="a<lora:other:1>", batch_count=2), networks=(other,)))
    assert [event.text for event in events if isinstance(event, Remark)] == [
        "other.safetensors changes nothing: it was made for another model family."
    ]
