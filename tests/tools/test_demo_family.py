"""What makes the demo family: scenes, what a depth UNet is shown, the loop that trains, and the reading of ncnn's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from spandrel.architectures.Compact import Compact

from tools.demo_family.convert_upscalers import convert
from tools.demo_family.depth_checkpoint import as_channel
from tools.demo_family.scenes import Sprites, compose, draw_shape, recolour, usual_colour
from tools.demo_family.subjects import COLOURS, SHAPES, STYLES, SUBJECTS
from tools.demo_family.training import Plan, Training, velocity_batch
from webui.core.request import GenerationRequest
from webui.engine.extra_channels import Given, depth_channel, no_estimator


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
