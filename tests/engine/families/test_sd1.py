"""Stable Diffusion 1.x: what is read from a file's tensors and metadata, and what is refused."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import Module
from torch.nn.functional import interpolate

from tests.engine.tiny_models import LoneVae, TinyModel, assert_same_weights, rewrite
from webui.core.errors import ModelError
from webui.engine.device import Device
from webui.engine.families.prediction import read_prediction
from webui.engine.families.sd1 import SD1, text_shape
from webui.engine.families.sd1 import TEXT as TEXTS
from webui.engine.families.texts import TextShape
from webui.engine.families.unet import UNetShape
from webui.engine.families.vae import VaeShape, read_vae_shape
from webui.engine.loading import TensorFile
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


def load(path: Path, cpu: Device, vae: Path | None = None) -> str:
    """Load a checkpoint whole; the error's sentence if it is refused."""
    try:
        with PipelineManager(cpu, 10**9).lease(PipelineSpec(path, vae)):
            return "loaded"
    except ModelError as error:
        return str(error)


@pytest.mark.parametrize("name", ["tiny", "deep", "headless", "tiny_v"])
def test_every_weight_is_the_one_that_was_written(request: pytest.FixtureRequest, name: str, cpu: Device) -> None:
    model: TinyModel = request.getfixturevalue(name)
    with PipelineManager(cpu, 10**9).lease(PipelineSpec(model.path)) as pipeline:
        assert_same_weights(pipeline.unet, model.unet)
        assert_same_weights(pipeline.vae, model.vae)
        assert_same_weights(pipeline.text_encoders[0], model.text_encoder)


@pytest.mark.parametrize("name", ["tiny", "deep", "headless"])
def test_the_modules_compute_what_the_originals_compute(request: pytest.FixtureRequest, name: str, cpu: Device) -> None:
    model: TinyModel = request.getfixturevalue(name)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 16, 16, generator=generator)
    context = torch.randn(1, 77, model.shape.width, generator=generator)
    tokens = torch.tensor([[49406, *[2368] * 75, 49407]])
    with torch.no_grad(), PipelineManager(cpu, 10**9).lease(PipelineSpec(model.path)) as pipeline:
        # Weights are mapped where they lie in the file. From an uneven address some processors (seen on AMD's) add in another order.
        close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)
        close(pipeline.unet(latents, 500, context).sample, model.unet(latents, 500, context).sample)
        close(pipeline.vae.decode(latents).sample, model.vae.decode(latents).sample)
        close(pipeline.text_encoders[0](tokens).last_hidden_state, model.text_encoder(tokens).last_hidden_state)


def test_widths_depths_and_heads_are_read(deep: TinyModel) -> None:
    file = TensorFile(deep.path)
    assert SD1.unet(file) == UNetShape(
        channels=(16, 32, 48), layers=2, attention=(False, True, True), depths=(1, 1, 1),
        in_channels=4, out_channels=4, context=48, heads=(4, 4, 4), groups=16,
    )  # fmt: skip
    assert read_vae_shape(file) == VaeShape(channels=(8, 16, 16), layers=1, latent_channels=4, groups=8, scaling_factor=0.18215)
    assert text_shape(file) == TextShape(vocabulary=49408, width=48, inner=96, layers=2, heads=4, positions=77, prefixes=TEXTS)


def test_without_metadata_the_numbers_are_stable_diffusions_own(tiny: TinyModel, tmp_path: Path) -> None:
    silent = rewrite(tiny.path, tmp_path / "silent.safetensors", changes={}, metadata=dict.fromkeys(tiny.shape.metadata))
    unet = SD1.unet(TensorFile(silent))
    assert (unet.heads, unet.groups) == ((8, 8), 32)
    assert text_shape(TensorFile(silent)).heads == 1  # one for 64 channels
    assert read_prediction(TensorFile(silent)).v is None


def test_heads_that_are_not_said_are_eight(headless: TinyModel) -> None:
    assert "unet_attention_heads" not in TensorFile(headless.path).metadata
    assert SD1.unet(TensorFile(headless.path)).heads == (8, 8)


def test_v_prediction_is_read_from_the_metadata_or_the_marker(tiny: TinyModel, tiny_v: TinyModel, tmp_path: Path) -> None:
    assert read_prediction(TensorFile(tiny.path)).v is None
    assert read_prediction(TensorFile(tiny_v.path)).v
    marked = rewrite(tiny.path, tmp_path / "marked.safetensors", changes={"v_pred": torch.zeros(0)}, metadata={})
    assert read_prediction(TensorFile(marked)).v


def test_the_vaes_scaling_factor_is_read(tiny: TinyModel, tmp_path: Path, cpu: Device) -> None:
    scaled = rewrite(tiny.path, tmp_path / "scaled.safetensors", changes={}, metadata={"vae_scaling_factor": "0.5"})
    with PipelineManager(cpu, 10**9).lease(PipelineSpec(scaled)) as pipeline:
        assert pipeline.vae.config["scaling_factor"] == 0.5


def test_an_older_text_encoder_prefix_is_read_too(tiny: TinyModel, tmp_path: Path, cpu: Device) -> None:
    tensors = {TEXT + name: None for name in tiny.text_encoder.state_dict()}
    older = {"cond_stage_model.transformer." + name: weight.clone() for name, weight in tiny.text_encoder.state_dict().items()}
    path = rewrite(tiny.path, tmp_path / "older.safetensors", changes=tensors | older, metadata={})
    with PipelineManager(cpu, 10**9).lease(PipelineSpec(path)) as pipeline:
        assert_same_weights(pipeline.text_encoders[0], tiny.text_encoder)


def test_a_vae_alone_in_a_file_has_no_prefix(tiny: TinyModel, lone_vae: LoneVae, cpu: Device) -> None:
    with PipelineManager(cpu, 10**9).lease(PipelineSpec(tiny.path, lone_vae.path)) as pipeline:
        assert_same_weights(pipeline.vae, lone_vae.vae)
        assert_same_weights(pipeline.unet, tiny.unet)


@pytest.mark.parametrize(
    "missing",
    [
        UNET + "input_blocks.0.0.weight",
        UNET + "out.2.bias",
        UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        VAE + "decoder.conv_in.weight",
        VAE + "post_quant_conv.bias",
        TEXT + "embeddings.token_embedding.weight",
        TEXT + "encoder.layers.1.mlp.fc2.weight",
    ],
)
def test_a_missing_tensor_is_told(tiny: TinyModel, tmp_path: Path, cpu: Device, missing: str) -> None:
    path = rewrite(tiny.path, tmp_path / "hole.safetensors", changes={missing: None}, metadata={})
    sentence = load(path, cpu)
    assert sentence.startswith("hole.safetensors")
    assert missing in sentence or "no text encoder" in sentence


@pytest.mark.parametrize(
    "name",
    [
        UNET + "input_blocks.1.0.in_layers.2.weight",
        UNET + "input_blocks.0.0.weight",
        VAE + "decoder.conv_out.weight",
        TEXT + "embeddings.position_embedding.weight",
        TEXT + "final_layer_norm.weight",
    ],
)
@pytest.mark.parametrize("wrong", [(3, 5), (7,), (1, 2, 3, 4, 5)])
def test_a_wrong_shape_is_told(tiny: TinyModel, tmp_path: Path, cpu: Device, name: str, wrong: tuple[int, ...]) -> None:
    path = rewrite(tiny.path, tmp_path / "odd.safetensors", changes={name: torch.zeros(wrong)}, metadata={})
    sentence = load(path, cpu)
    assert sentence.startswith("odd.safetensors: ")
    assert "has shape" in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unet_attention_heads", "three"),
        ("unet_attention_heads", "0"),
        ("unet_attention_heads", "-4"),
        ("unet_attention_heads", "5"),
        ("text_attention_heads", "7"),
        ("norm_num_groups_unet", "12"),
        ("norm_num_groups_unet", "10000000000000000000000"),
        ("norm_num_groups_vae", "32"),
        ("norm_num_groups_vae", "²"),
        ("vae_scaling_factor", "0"),
        ("vae_scaling_factor", "nan"),
        ("vae_scaling_factor", "a fifth"),
    ],
)
def test_a_wrong_number_in_the_metadata_is_told(tiny: TinyModel, tmp_path: Path, cpu: Device, key: str, value: str) -> None:
    path = rewrite(tiny.path, tmp_path / "said.safetensors", changes={}, metadata={key: value})
    sentence = load(path, cpu)
    assert sentence.startswith("said.safetensors: ")
    assert key in sentence
    assert value in sentence


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_told(tiny: TinyModel, tmp_path: Path, cpu: Device, part: float) -> None:
    content = tiny.path.read_bytes()
    (tmp_path / "short.safetensors").write_bytes(content[: int(len(content) * part)])
    assert load(tmp_path / "short.safetensors", cpu).startswith("short.safetensors cannot be read as a safetensors file")


@pytest.mark.parametrize(("kept", "says"), [(UNET, "no text encoder"), (TEXT, "no UNet"), ("nothing", "no text encoder")])
def test_a_part_of_a_checkpoint_is_told(tiny: TinyModel, tmp_path: Path, cpu: Device, kept: str, says: str) -> None:
    file = TensorFile(tiny.path)
    tensors = {name: file.tensor(name) for name in file.names if name.startswith(kept)}
    save_file(tensors or {"x": torch.zeros(1)}, tmp_path / "part.safetensors", dict(file.metadata))
    assert load(tmp_path / "part.safetensors", cpu).startswith(f"part.safetensors has {says} of Stable Diffusion")


def test_a_file_that_is_no_vae_is_told(tiny: TinyModel, tmp_path: Path, cpu: Device) -> None:
    save_file({"decoder.conv_in.weight": torch.zeros(8, 4, 3, 3)}, tmp_path / "half.safetensors")
    assert load(tiny.path, cpu, tmp_path / "half.safetensors") == "half.safetensors has no VAE of Stable Diffusion."


@pytest.mark.parametrize(("size", "same"), [((8, 16), True), ((6, 10), False)])
def test_odd_sizes_are_come_to_after_the_convolution_as_in_the_original(
    deep: TinyModel, cpu: Device, size: tuple[int, int], same: bool
) -> None:
    generator = torch.Generator().manual_seed(1)
    asked = torch.randn(1, 4, *size, generator=generator), torch.tensor([500.0]), torch.randn(1, 77, deep.shape.width, generator=generator)
    with torch.inference_mode(), PipelineManager(cpu, 10**9).lease(PipelineSpec(deep.path)) as pipeline:
        ours = pipeline.unet(*asked).sample
        theirs = deep.unet(*asked).sample
        assert torch.allclose(ours, theirs, atol=1e-5) is same
        original = deepcopy(deep.unet)
        for block in original.up_blocks[:-1]:
            (upsampler,) = block.upsamplers

            def up_as_the_original(
                hidden: torch.Tensor, output_size: torch.Size | None = None, conv: Module = upsampler.conv
            ) -> torch.Tensor:
                doubled = conv(hidden.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
                return doubled if output_size is None else interpolate(doubled, size=tuple(output_size), mode="nearest")

            upsampler.forward = up_as_the_original
        torch.testing.assert_close(ours, original(*asked).sample, rtol=0, atol=1e-5)
