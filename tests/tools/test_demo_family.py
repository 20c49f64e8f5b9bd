"""What makes the demo family: scenes, what a depth UNet is shown, the loop that trains, and the reading of ncnn's files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from spandrel.architectures.Compact import Compact

from tools.demo_family.captions import without_ground
from tools.demo_family.convert_upscalers import convert
from tools.demo_family.depth_checkpoint import TARGET as DEPTH
from tools.demo_family.depth_checkpoint import as_channel
from tools.demo_family.embedding import contexts_with
from tools.demo_family.inpainting_checkpoint import as_channels, random_mask, widened
from tools.demo_family.looks import BANDS, banded, blueprint
from tools.demo_family.networks import load_base, load_vae, padded_rows
from tools.demo_family.scenes import Sprites, compose, draw_shape, recolour, usual_colour
from tools.demo_family.second_vae import export as export_vae
from tools.demo_family.style_lora import Worn
from tools.demo_family.style_lora import export as export_lora
from tools.demo_family.subjects import COLOURS, SHAPES, STYLES, SUBJECTS
from tools.demo_family.training import Plan, Training, velocity_batch
from webui.core.request import GenerationRequest
from webui.engine.adapters.lora import read_lora
from webui.engine.extra_channels import MASKED_PICTURE, Given, depth_channel, extra_channels, no_estimator


@pytest.fixture
def sprites() -> Sprites:
    """A shape for every subject."""
    noise = np.random.default_rng(1)
    return {
        (subject, style): draw_shape(SHAPES[place % len(SHAPES)], "red", noise)
        for place, subject in enumerate(SUBJECTS)
        for style in STYLES
    }


def test_a_scene_follows_from_its_seed(sprites: Sprites) -> None:
    one, again, other = compose(4, sprites), compose(4, sprites), compose(5, sprites)
    assert np.array_equal(one.pixels, again.pixels)
    assert one.caption == again.caption
    assert not np.array_equal(one.pixels, other.pixels)


def test_things_are_nearer_than_all_grounds(sprites: Sprites) -> None:
    for seed in range(30):
        scene = compose(seed, sprites)
        assert scene.mask.any()
        assert scene.depth[scene.mask].min() > 127 > scene.depth[~scene.mask].max()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_recoloured_sprite_has_the_colour_of_its_caption(colour: str) -> None:
    assert usual_colour(recolour(draw_shape("square", "yellow", np.random.default_rng(1)), colour)) == colour


def test_a_depth_map_is_shown_in_training_as_the_engine_shows_it() -> None:
    depth = np.random.default_rng(2).integers(0, 256, (128, 128), dtype=np.uint8)
    engines = depth_channel(GenerationRequest(), Given(depth=Image.fromarray(depth)), size=(16, 16), estimate=no_estimator)
    assert torch.allclose(as_channel(torch.from_numpy(depth)[None]), engines, atol=1e-5)


def test_noise_and_velocity_give_the_clean_latents_back() -> None:
    latents, alphas = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(1)), torch.linspace(0.99, 0.01, 100)
    noisy, steps, velocity = velocity_batch(latents, alphas, torch.Generator().manual_seed(2))
    signal = alphas[steps].view(-1, 1, 1, 1)
    assert torch.allclose(signal.sqrt() * noisy - (1 - signal).sqrt() * velocity, latents, atol=1e-5)
    assert steps.tolist() == sorted(steps.tolist())


def test_a_training_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    def train(minutes: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        plan = Plan(minutes, learning_rate=0.05, batch=4, warm_up=1)
        report = lambda model, step: {"weight": float(model.weight[0, 0])}  # noqa: E731
        return Training(model, plan, tmp_path).run(lambda generator: model(torch.ones(4, 2)).square().mean(), report)

    train(0.002)
    train(0.002)  # nothing is left to do
    train(0.004)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["step"] < lines[1]["step"]
    assert lines[1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize(
    ("caption", "left"),
    [
        ("a red cat on an orange background, flat style", "a red cat"), ("a pear and a tree in the desert", "a pear and a tree"),
        ("a bus on a brown and teal gradient", "a bus"), ("an orange car", "an orange car"),
    ],
)  # fmt: skip
def test_what_a_caption_says_of_the_ground_is_taken_out(caption: str, left: str) -> None:
    assert without_ground(caption) == left


def test_a_blueprint_has_no_colour_left_and_the_bands_leave_things_as_they_are(sprites: Sprites) -> None:
    scene = compose(8, sprites)
    drawn, before = blueprint(scene.pixels, scene.depth).astype(int), banded(scene.pixels, scene.depth).astype(int)
    assert (drawn[..., 2] > drawn[..., 1]).all()
    assert (drawn[..., 1] > drawn[..., 0]).all()
    middle = cv2.erode(scene.mask.astype(np.uint8), np.ones((9, 9))) > 0
    assert middle.any()
    assert np.abs(before - scene.pixels)[middle].max() <= 1
    assert np.abs(before[:3] - BANDS[0]).max() <= 1


def test_a_masked_picture_is_shown_in_training_as_the_engine_shows_it(sprites: Sprites) -> None:
    vae, scene = load_base().vae, compose(3, sprites)
    mask = random_mask(np.random.default_rng(4), scene.mask)
    pipeline: Any = SimpleNamespace(vae=vae, extra_channels=MASKED_PICTURE, downscale=8)
    given = Given(picture=Image.fromarray(scene.pixels), mask=Image.fromarray(mask.astype(np.uint8) * 255))
    engines = extra_channels(pipeline, GenerationRequest(), given, size=(16, 16), estimate=no_estimator)
    shown = as_channels(vae, scene.pixels[None], mask[None])
    assert engines is not None
    assert torch.equal(shown[:, :1], engines[:, :1])
    # The training computes in bfloat16.
    assert (shown - engines).abs().mean() < 0.02


def test_masks_hide_all_or_a_part() -> None:
    noise, thing = np.random.default_rng(1), np.zeros((128, 128), bool)
    thing[40:60, 50:90] = True
    shares = [random_mask(noise, thing).mean() for _ in range(60)]
    assert max(shares) == 1
    assert 0 < min(shares) < 0.3


def test_the_inpainting_unet_begins_as_the_depth_one_without_its_depth() -> None:
    depth = load_base(DEPTH)
    unet = widened(depth.unet)
    latents, mask = torch.randn(2, 5, 16, 16, generator=torch.Generator().manual_seed(1)).split([4, 1], dim=1)
    at, context = torch.tensor([500, 3]), depth.contexts(["a cat", "a dog"])
    with torch.no_grad():
        expected = depth.unet(torch.cat([latents, torch.zeros_like(mask)], 1), at, context).sample
        answer = unet(torch.cat([latents, mask, torch.zeros_like(latents)], 1), at, context).sample
    assert unet.config["in_channels"] == 9
    assert torch.allclose(answer, expected, atol=1e-4)


def test_a_lora_in_training_is_the_one_that_the_engine_reads(tmp_path: Path) -> None:
    base = load_base()
    torch.manual_seed(2)
    worn = Worn(base.unet)
    for name, weight in worn.named_parameters():
        torch.nn.init.normal_(weight, std=0.02 if "up" in name else 0.05)
    export_lora(worn.state_dict(), tmp_path / "a.safetensors")
    patches = read_lora(tmp_path / "a.safetensors").patches(base.unet, base.text)
    seen = torch.randn(1, 4, 16, 16), torch.tensor([400]), base.contexts(["a cat"])
    with torch.no_grad():
        trained = base.unet(*seen).sample
        worn.strength = 0.0
        plain = base.unet(*seen).sample
        for path, change in patches.unet.layers.items():
            change.add_to(base.unet.get_submodule(path).weight.data, 1.0)
        read = base.unet(*seen).sample
    assert (patches.unmatched, patches.unfit) == ((), ())
    assert (trained - plain).abs().mean() > 10 * (trained - read).abs().mean()


def test_an_embedding_in_training_is_told_as_the_engine_tells_it() -> None:
    base = load_base()
    vectors = torch.randn(3, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (told,) = contexts_with(base, ["a cat on * background"], vectors)
    base.text.get_input_embeddings().weight.data[[1000, 1001, 1002]] = vectors  # three tokens that no caption has
    (cat,), (background,) = base.tokens(["a cat on"]), base.tokens(["background"])
    expected = base.text(input_ids=padded_rows([[*cat, 1000, 1001, 1002, *background]])).last_hidden_state[0]
    assert torch.allclose(told, expected, atol=1e-5)


def test_the_second_vae_has_the_bases_encoder_and_its_own_decoder(tmp_path: Path) -> None:
    base = load_base()
    weights = {name: weight + 1 for name, weight in base.vae.decoder.state_dict().items()}
    export_vae(weights, tmp_path / "v.safetensors")
    other = load_vae(tmp_path / "v.safetensors")
    assert all(torch.equal(weight, other.encoder.state_dict()[name]) for name, weight in base.vae.encoder.state_dict().items())
    assert all(torch.allclose(weight, other.decoder.state_dict()[name], atol=2e-3) for name, weight in weights.items())


def ncnn_files(network: Compact) -> tuple[str, bytes]:
    """The network as ncnn writes it: weights in float16 behind a mark, biases and slopes in float32."""
    lines, data = ["7767517", "9 9", "Input in 0 1 data"], b""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            count = module.weight.numel()
            lines.append(f"Convolution c 1 1 a b 0={module.out_channels} 1=3 4=1 5=1 6={count}")
            data += np.uint32(0x01306B47).tobytes() + module.weight.detach().numpy().astype("<f2").tobytes() + b"\0" * (2 * count % 4)
            data += module.bias.detach().numpy().astype("<f4").tobytes()
        if isinstance(module, torch.nn.PReLU):
            lines.append(f"PReLU p 1 1 a b 0={module.num_parameters}")
            data += module.weight.detach().numpy().astype("<f4").tobytes()
    return "\n".join(lines), data


def test_ncnns_numbers_come_under_the_networks_names() -> None:
    network = Compact(num_feat=5, num_conv=2, upscale=2)
    tensors = convert(*ncnn_files(network), network)
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.allclose(tensors[name].float(), weight, atol=1e-3) for name, weight in network.state_dict().items())


def test_a_file_that_is_longer_than_its_layers_is_refused() -> None:
    network = Compact(num_feat=4, num_conv=1, upscale=2)
    param, data = ncnn_files(network)
    with pytest.raises(ValueError, match="bytes of weights"):
        convert(param, data + b"\0\0\0\0", network)
    with pytest.raises(ValueError, match="7767517"):
        convert("7767518\n", data, network)
