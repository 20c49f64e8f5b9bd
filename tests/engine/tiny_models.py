"""Real models at tiny widths and random weights, written as real checkpoints in the original single-file layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from webui.catalog.ldm_layout import unet_name, vae_name
from webui.engine.families.layout import UNET, VAE
from webui.engine.families.sd1 import TEXT


@dataclass(frozen=True)
class TinyShape:
    """What distinguishes one tiny model from another."""

    channels: tuple[int, ...] = (32, 64)
    attention: tuple[bool, ...] = (True, False)
    layers: int = 1
    heads: int = 4
    width: int = 32
    vae_channels: tuple[int, ...] = (16, 16, 16, 32)
    prediction: str = "epsilon"
    says_heads: bool = True
    in_channels: int = 4

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself, because shapes cannot."""
        said = {"norm_num_groups_unet": "16", "norm_num_groups_vae": "8", "text_attention_heads": "4"}
        if self.prediction != "epsilon":
            said["prediction_type"] = self.prediction
        if self.says_heads:
            said["unet_attention_heads"] = str(self.heads)
        return said


@dataclass(frozen=True)
class TinyModel:
    """A checkpoint file and the modules that it was written from."""

    path: Path
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    shape: TinyShape = field(default_factory=TinyShape)


@dataclass(frozen=True)
class LoneVae:
    """A VAE's file and the module that it was written from."""

    path: Path
    vae: AutoencoderKL


def make_checkpoint(path: Path, seed: int, shape: TinyShape | None = None) -> TinyModel:
    """Build modules with random weights of this seed and write them as one checkpoint."""
    shape = shape or TinyShape()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TinyModel(path, _build_unet(shape), _build_vae(shape), _build_text_encoder(shape), shape)
    save_file(checkpoint_tensors(model), path, shape.metadata)
    return model


def make_vae(path: Path, seed: int) -> LoneVae:
    """Write a VAE alone in a file, as models/VAE has them: without a prefix."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = _build_vae(TinyShape())
    save_file(vae_tensors(vae, ""), path, {"norm_num_groups_vae": "8"})
    return LoneVae(path, vae)


def checkpoint_tensors(model: TinyModel) -> dict[str, torch.Tensor]:
    """A model's tensors under their names in the original layout."""
    shape = model.shape
    up_attention = tuple(reversed(shape.attention))
    unet = {
        UNET + unet_name(name, layers=shape.layers, up_attention=up_attention): weight for name, weight in model.unet.state_dict().items()
    }
    text = {TEXT[0] + name: weight for name, weight in model.text_encoder.state_dict().items()}
    return {name: weight.contiguous() for name, weight in {**unet, **vae_tensors(model.vae, VAE), **text}.items()}


def rewrite(source: Path, target: Path, *, changes: Mapping[str, torch.Tensor | None], metadata: Mapping[str, str | None]) -> Path:
    """A checkpoint with some tensors and metadata replaced, or left out where the new value is None."""
    with safe_open(source, framework="pt") as file:
        tensors: dict[str, torch.Tensor | None] = {name: file.get_tensor(name) for name in file.keys()} | dict(changes)
        said: dict[str, str | None] = dict(file.metadata()) | dict(metadata)
    save_file(
        {name: tensor for name, tensor in tensors.items() if tensor is not None},
        target,
        {key: value for key, value in said.items() if value is not None},
    )
    return target


def _build_unet(shape: TinyShape) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        in_channels=shape.in_channels,
        block_out_channels=shape.channels,
        layers_per_block=shape.layers,
        cross_attention_dim=shape.width,
        attention_head_dim=shape.heads,
        norm_num_groups=16,
        down_block_types=["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in shape.attention],
        up_block_types=["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(shape.attention)],
    )
    with torch.no_grad():
        unet.conv_out.weight.mul_(3)  # unit variance, as a trained model's answers have: what is asked must matter
    return unet.eval()


def _build_vae(shape: TinyShape) -> AutoencoderKL:
    levels = len(shape.vae_channels)
    return AutoencoderKL(
        block_out_channels=shape.vae_channels,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
    ).eval()


def _build_text_encoder(shape: TinyShape) -> CLIPTextModel:
    encoder = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=shape.width,
            intermediate_size=2 * shape.width,
            num_hidden_layers=2,
            num_attention_heads=4,
            vocab_size=49408,
            bos_token_id=49406,
            eos_token_id=49407,
        )
    )
    torch.nn.init.normal_(encoder.final_layer_norm.bias)  # else every vector's mean is 0, which no trained model's is
    return encoder.eval()


def vae_tensors(vae: AutoencoderKL, prefix: str) -> dict[str, torch.Tensor]:
    """A VAE's tensors under their names in the original layout."""
    levels = len(vae.config["block_out_channels"])
    tensors = {}
    for name, weight in vae.state_dict().items():
        original = vae_name(name, levels=levels)
        # The original writes these linear layers as 1x1 convolutions.
        is_convolution = ".attn_1." in original and weight.ndim == 2
        tensors[prefix + original] = (weight[:, :, None, None] if is_convolution else weight).contiguous()
    return tensors


def assert_same_weights(left: nn.Module, right: nn.Module) -> None:
    """Bit for bit, under the same names."""
    ours, theirs = left.state_dict(), right.state_dict()
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different, different
