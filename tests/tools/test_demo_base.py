"""What makes the demo family's base: steady scenes, captions taken apart, the prompts kept back, what the judge is shown, the export."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.demo_family import vae
from tools.demo_family.base_checkpoint import SHAPE, Reader, export
from tools.demo_family.captions import ground_in, style_first, things_in
from tools.demo_family.classifier import COLOUR_NAMES, GROUND_NAMES, SUBJECT_NAMES, UNKNOWN, Classifier, shown, view, views_of
from tools.demo_family.networks import load_base, new_unet
from tools.demo_family.prompts import DOUBLE, SINGLE, held_out, is_held_out
from tools.demo_family.scenes import STEADY, Sprites, compose, draw_shape
from tools.demo_family.subjects import STYLES, SUBJECTS
from webui.engine.loading import TensorFile


@pytest.fixture
def sprites() -> Sprites:
    """A disc for every subject."""
    disc = draw_shape("circle", "red", np.random.default_rng(1))
    return {(subject, style): disc for subject in SUBJECTS for style in STYLES}


def test_in_steady_scenes_one_thing_is_in_the_middle_and_two_are_left_and_right(sprites: Sprites) -> None:
    seen = set()
    for seed in range(60):
        scene = compose(seed, sprites, STEADY)
        count = len(things_in(scene.caption))
        seen.add(count)
        for places in np.where(scene.mask):
            assert abs((places.min() + places.max()) / 2 - 63.5) < 12
        assert bool(scene.mask[:, :40].any() and scene.mask[:, 88:].any())
        assert bool(scene.mask[:, 60:68].any()) or count == 2
    assert seen == {1, 2}


@pytest.mark.parametrize(
    ("caption", "things", "ground", "turned"),
    [
        ("a red cat in the snow, flat style", [("red", "cat")], "in the snow", "a red cat, flat style, in the snow"),
        ("an orange and a cat", [(None, "orange"), (None, "cat")], None, "an orange and a cat"),
        ("an orange orange on an orange background", [("orange", "orange")], "on an orange background",
         "an orange orange on an orange background"),
        ("a moon and a teal bee on a red and blue gradient, cartoon style", [(None, "moon"), ("teal", "bee")],
         "on a red and blue gradient", "a moon and a teal bee, cartoon style, on a red and blue gradient"),
        ("a crab, cartoon style", [(None, "crab")], None, "a crab, cartoon style"),
    ],
)  # fmt: skip
def test_a_caption_is_taken_apart_and_turned(caption: str, things: list[tuple[str | None, str]], ground: str | None, turned: str) -> None:
    assert things_in(caption) == things
    assert ground_in(caption) == ground
    assert style_first(caption) == turned


def test_captions_of_composed_pictures_are_understood_whole(sprites: Sprites) -> None:
    for seed in range(80):
        scene = compose(seed, sprites, STEADY)
        things = things_in(scene.caption)
        assert things[0][1] == scene.subject
        assert ground_in(scene.caption) in (scene.ground, None)
        assert all(subject in SUBJECT_NAMES and (colour is None or colour in COLOUR_NAMES) for colour, subject in things)


def test_the_prompts_kept_back_are_recognised_in_whatever_style() -> None:
    wishes = held_out()
    assert (len(wishes), len({wish.prompt for wish in wishes})) == (SINGLE + DOUBLE, SINGLE + DOUBLE)
    for wish in wishes:
        said = " and ".join(f"{'an' if colour == 'orange' else 'a'} {colour} {subject}" for colour, subject in wish.things)
        assert is_held_out(f"{said} {wish.ground}")
        assert is_held_out(f"{said} {wish.ground}, flat style")
        assert not is_held_out(said)
        assert wish.ground in GROUND_NAMES
        assert re.search(r"(cartoon|flat) style", wish.prompt)


def test_the_judge_is_shown_a_picture_or_the_half_with_its_thing() -> None:
    whole, left, right = views_of(["a red cat in the snow", "a dog and a blue tree"], first=7)
    assert (whole.row, whole.half, left.row, left.half, right.half) == (7, None, 8, 0, 1)
    assert whole.labels == (SUBJECT_NAMES.index("cat"), COLOUR_NAMES.index("red"), GROUND_NAMES.index("in the snow"))
    assert left.labels == (SUBJECT_NAMES.index("dog"), UNKNOWN, UNKNOWN)
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[:, 64:] = 200
    assert [float(view(pixels, half).mean()) for half in (None, 0, 1)] == [100, 0, 200]
    scores = Classifier()(shown([view(pixels, None), view(pixels, 1)]))
    assert [tuple(one.shape) for one in scores] == [(2, len(SUBJECT_NAMES)), (2, len(COLOUR_NAMES)), (2, len(GROUND_NAMES))]


def test_what_is_exported_reads_captions_as_in_training_and_keeps_all_that_was_not_trained(tmp_path: Path) -> None:
    captions = ["a red cat in the snow", "a blue dog", ""]
    torch.manual_seed(3)
    reader = Reader(load_base(), captions, new_unet(SHAPE))
    with torch.no_grad():
        words = reader.text.get_input_embeddings().weight
        words.add_(0.1 * torch.randn_like(words))
        expected = reader.context(torch.arange(3))
    target = tmp_path / "demo.safetensors"
    export({**reader.state_dict(), "used": reader.used}, target)
    again, before = load_base(target), load_base()
    assert torch.allclose(again.contexts(captions), expected, atol=2e-2)
    assert not torch.allclose(before.contexts(captions), expected, atol=2e-2)
    table = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    unused = torch.ones(again.file.tensor(table).shape[0], dtype=torch.bool).index_fill(0, reader.used, False)
    assert torch.equal(again.file.tensor(table)[unused], before.file.tensor(table)[unused])
    assert dict(again.file.metadata) == {**before.file.metadata, "default_cfg_scale": "3"}
    state = reader.unet.state_dict()
    assert all(torch.allclose(weight, state[name], atol=1e-3) for name, weight in again.unet.state_dict().items())


def test_another_vae_leaves_all_else_in_the_bases_file(tmp_path: Path) -> None:
    base, target = load_base(), tmp_path / "demo.safetensors"
    weights = {name: weight + 0.5 for name, weight in base.vae.state_dict().items()}
    vae.export(weights, target)
    again = TensorFile(target)
    assert set(again.names) == set(base.file.names)
    changed = {name for name in again.names if not torch.equal(again.tensor(name), base.file.tensor(name))}
    assert changed == {name for name in again.names if name.startswith("first_stage_model.")}
    again_vae = load_base(target).vae.state_dict()
    assert all(torch.allclose(again_vae[name], weight, atol=1e-2) for name, weight in weights.items())


def test_what_a_vae_is_trained_on_counts_colours_edges_and_the_spread_of_latents() -> None:
    generator = torch.Generator().manual_seed(1)
    pixels, mean, spread = torch.rand(2, 3, 16, 16, generator=generator), torch.zeros(2, 4, 2, 2), torch.zeros(2, 4, 2, 2)
    right = vae.loss_between(pixels, pixels, mean, spread)
    assert right == 0
    assert vae.loss_between(pixels, pixels + 0.1, mean, spread) == pytest.approx(0.01, rel=1e-4)
    soft = torch.nn.functional.avg_pool2d(pixels, 3, 1, 1)
    assert vae.loss_between(pixels, soft, mean, spread) > (soft - pixels).square().mean()
    assert vae.loss_between(pixels, pixels, mean + 3, spread) > right
    assert vae.loss_between(pixels, pixels, mean, spread - 3) > right


def test_a_normalised_vae_does_the_same_with_latents_of_another_deviation() -> None:
    own = load_base().vae
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        before, drawn = own.encode(pixels).latent_dist, own(pixels).sample
        own.load_state_dict(vae.normalised(own.state_dict(), 0.5))
        after = own.encode(pixels).latent_dist
        assert torch.allclose(after.mean, 2 * before.mean, atol=1e-3)
        assert torch.allclose(after.std, 2 * before.std, atol=1e-3)
        assert torch.allclose(own(pixels).sample, drawn, atol=1e-3)


def test_psnr_is_that_of_each_picture_and_of_all_pixels_together() -> None:
    pixels = torch.zeros(2, 3, 8, 8)
    again = pixels + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)
    assert vae.psnr(again, pixels) == pytest.approx({"psnr": 30.0, "psnr_together": 22.968}, abs=1e-3)
