"""The original names of tensors, checked by diffusers' own converters, which go the other way."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file

from tests.engine.tiny_models import TinyModel
from webui.catalog.ldm_layout import unet_name, vae_name


def assert_same_tensors(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name].reshape(ours[name].shape)) for name in ours)


@pytest.fixture(params=["tiny", "deep"])
def model(request: pytest.FixtureRequest) -> TinyModel:
    """Two levels and one layer; three levels and two layers."""
    return request.getfixturevalue(request.param)


def test_unet_names_are_those_that_diffusers_converts(model: TinyModel) -> None:
    assert_same_tensors(model.unet.state_dict(), convert_ldm_unet_checkpoint(load_file(model.path), dict(model.unet.config)))


def test_vae_names_are_those_that_diffusers_converts(model: TinyModel) -> None:
    assert_same_tensors(model.vae.state_dict(), convert_ldm_vae_checkpoint(load_file(model.path), dict(model.vae.config)))


def test_text_encoder_names_are_those_that_diffusers_converts(model: TinyModel) -> None:
    converted = convert_ldm_clip_checkpoint(load_file(model.path))
    assert_same_tensors(model.text_encoder.state_dict(), {name.removeprefix("text_model."): tensor for name, tensor in converted.items()})


@pytest.mark.parametrize(
    ("ours", "original"),
    [
        ("conv_in.weight", "input_blocks.0.0.weight"),
        ("down_blocks.0.attentions.1.norm.weight", "input_blocks.2.1.norm.weight"),
        ("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"),
        ("down_blocks.1.resnets.0.conv_shortcut.bias", "input_blocks.4.0.skip_connection.bias"),
        ("down_blocks.3.resnets.1.time_emb_proj.weight", "input_blocks.11.0.emb_layers.1.weight"),
        ("mid_block.resnets.1.norm2.bias", "middle_block.2.out_layers.0.bias"),
        ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),  # second in its block: no attention before it
        ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight"),  # third: after the attention
        ("up_blocks.3.attentions.2.proj_out.bias", "output_blocks.11.1.proj_out.bias"),
        ("conv_out.bias", "out.2.bias"),
    ],
)
def test_names_in_stable_diffusions_own_size(ours: str, original: str) -> None:
    assert unet_name(ours, layers=2, up_attention=(False, True, True, True)) == original


@pytest.mark.parametrize(
    ("ours", "original"),
    [
        ("encoder.down_blocks.2.downsamplers.0.conv.weight", "encoder.down.2.downsample.conv.weight"),
        ("decoder.up_blocks.0.upsamplers.0.conv.bias", "decoder.up.3.upsample.conv.bias"),
        ("decoder.up_blocks.2.resnets.0.conv_shortcut.weight", "decoder.up.1.block.0.nin_shortcut.weight"),
        ("decoder.mid_block.attentions.0.to_out.0.weight", "decoder.mid.attn_1.proj_out.weight"),
        ("quant_conv.weight", "quant_conv.weight"),
    ],
)
def test_vae_names_in_stable_diffusions_own_size(ours: str, original: str) -> None:
    assert vae_name(ours, levels=4) == original
