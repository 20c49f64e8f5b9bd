"""Stable Diffusion 1.x from the original single-file layout. Widths and depths are read from the tensors.

What shapes cannot tell comes from the file's metadata, and is SD 1.x's own where that is silent:
prediction_type (epsilon), unet_attention_heads (8), text_attention_heads (one per 64 channels),
norm_num_groups_unet (32), norm_num_groups_vae (32), vae_scaling_factor (0.18215).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from webui.core.errors import ModelError
from webui.engine.families.ldm_layout import unet_name, vae_name
from webui.engine.loading import TensorFile

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.")
V_PREDICTION_MARKER = "v_pred"


@dataclass(frozen=True)
class UNetShape:
    """All that is needed to build a UNet's skeleton; equal shapes can share one."""

    channels: tuple[int, ...]
    layers: int
    attention: tuple[bool, ...]
    transformer_layers: int
    in_channels: int
    out_channels: int
    context: int
    heads: int
    groups: int

    def build(self) -> UNet2DConditionModel:
        """A UNet of this shape, that comes to odd sizes as the original does."""
        unet = UNet2DConditionModel(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            down_block_types=["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in self.attention],
            up_block_types=["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(self.attention)],
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            transformer_layers_per_block=self.transformer_layers,
            cross_attention_dim=self.context,
            attention_head_dim=self.heads,  # diffusers' name; for these models it is the number of heads
            norm_num_groups=self.groups,
        )
        for block in unet.up_blocks:
            if block.upsamplers is not None:
                block.upsamplers = nn.ModuleList(Upsample(upsampler.conv) for upsampler in block.upsamplers)
        return unet

    def name_in(self, file: TensorFile) -> Callable[[str], str]:
        """What says of a weight of the module its name in the file."""
        up_attention = tuple(reversed(self.attention))
        return lambda ours: UNET + unet_name(ours, layers=self.layers, up_attention=up_attention)


class Upsample(nn.Module):
    """Twice the size, a convolution, and only then to the size that the level above has, where that is odd.

    diffusers comes to that size before the convolution, which draws other pictures wherever a side is no multiple of 64.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, hidden: torch.Tensor, output_size: Sequence[int] | None = None) -> torch.Tensor:
        """hidden: (B, C, h, w).   output_size: (h', w'), about twice as large; None: exactly twice."""
        doubled = self.conv(functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        if output_size is None or tuple(output_size) == tuple(doubled.shape[2:]):
            return doubled
        return functional.interpolate(doubled, size=tuple(output_size), mode="nearest")


@dataclass(frozen=True)
class VaeShape:
    """All that is needed to build a VAE's skeleton.  prefix is not part of it: a VAE alone in a file has none."""

    channels: tuple[int, ...]
    layers: int
    latent_channels: int
    groups: int
    scaling_factor: float

    def build(self) -> AutoencoderKL:
        """A VAE of this shape."""
        levels = len(self.channels)
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            latent_channels=self.latent_channels,
            norm_num_groups=self.groups,
            scaling_factor=self.scaling_factor,
        )

    def name_in(self, file: TensorFile) -> Callable[[str], str]:
        """What says of a weight of the module its name in the file."""
        prefix = vae_prefix(file)
        return lambda ours: prefix + vae_name(ours, levels=len(self.channels))


@dataclass(frozen=True)
class TextShape:
    """All that is needed to build the skeleton of CLIP's text encoder."""

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    positions: int

    def build(self) -> CLIPTextModel:
        """A text encoder of this shape."""
        return CLIPTextModel(
            CLIPTextConfig(
                vocab_size=self.vocabulary,
                hidden_size=self.width,
                intermediate_size=self.inner,
                num_hidden_layers=self.layers,
                num_attention_heads=self.heads,
                max_position_embeddings=self.positions,
                projection_dim=self.width,
                hidden_act="quick_gelu",
                bos_token_id=49406,
                eos_token_id=49407,
            )
        )

    def name_in(self, file: TensorFile) -> Callable[[str], str]:
        """What says of a weight of the module its name in the file."""
        prefix = _text_prefix(file)
        return lambda ours: prefix + ours


def read_unet_shape(file: TensorFile) -> UNetShape:
    """The UNet's architecture, from the shapes of its tensors."""
    blocks = UNET + "input_blocks."
    channels: list[int] = []
    attention: list[bool] = []
    layers = 0
    block, in_level = 1, 0
    while f"{blocks}{block}.0.in_layers.0.weight" in file.names or f"{blocks}{block}.0.op.weight" in file.names:
        if f"{blocks}{block}.0.op.weight" in file.names:
            in_level = 0
        else:
            if in_level == 0:
                channels.append(file.shape(f"{blocks}{block}.0.out_layers.0.weight", 1)[0])
                attention.append(f"{blocks}{block}.1.norm.weight" in file.names)
            in_level += 1
            layers = max(layers, in_level)
        block += 1
    if not channels:
        raise ModelError(f"{file.path.name} has no UNet of Stable Diffusion 1.x.")
    cross_attention = UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    with_attention = [width for width, attends in zip(channels, attention, strict=True) if attends]
    return UNetShape(
        channels=tuple(channels),
        layers=layers,
        attention=tuple(attention),
        transformer_layers=file.count(UNET + "middle_block.1.transformer_blocks.{}."),
        in_channels=file.shape(blocks + "0.0.weight", 4)[1],
        out_channels=file.shape(UNET + "out.2.weight", 4)[0],
        context=file.shape(cross_attention, 2)[1],
        heads=_divisor(file, "unet_attention_heads", 8, [*with_attention, channels[-1]]),
        groups=_divisor(file, "norm_num_groups_unet", 32, channels),
    )


def read_vae_shape(file: TensorFile) -> VaeShape:
    """The VAE's architecture; works for a whole checkpoint and for a VAE alone in a file."""
    prefix = vae_prefix(file)
    levels = file.count(prefix + "encoder.down.{}.")
    if not levels:
        raise ModelError(f"{file.path.name} has no VAE of Stable Diffusion 1.x.")
    channels = tuple(file.shape(f"{prefix}encoder.down.{level}.block.0.conv1.weight", 4)[0] for level in range(levels))
    return VaeShape(
        channels=channels,
        layers=file.count(prefix + "encoder.down.0.block.{}."),
        latent_channels=file.shape(prefix + "decoder.conv_in.weight", 4)[1],
        groups=_divisor(file, "norm_num_groups_vae", 32, channels),
        scaling_factor=_scaling_factor(file),
    )


def read_text_shape(file: TensorFile) -> TextShape:
    """The text encoder's architecture."""
    prefix = _text_prefix(file)
    vocabulary, width = file.shape(prefix + "embeddings.token_embedding.weight", 2)
    return TextShape(
        vocabulary=vocabulary,
        width=width,
        inner=file.shape(prefix + "encoder.layers.0.mlp.fc1.weight", 2)[0],
        layers=file.count(prefix + "encoder.layers.{}."),
        heads=_divisor(file, "text_attention_heads", max(1, width // 64), [width]),
        positions=file.shape(prefix + "embeddings.position_embedding.weight", 2)[0],
    )


def predicts_v(file: TensorFile) -> bool:
    """Whether the UNet predicts v rather than the noise."""
    return file.metadata.get("prediction_type") == "v_prediction" or V_PREDICTION_MARKER in file.names


def vae_prefix(file: TensorFile) -> str:
    """What stands before the VAE's names: nothing when the file is a VAE alone."""
    return VAE if any(name.startswith(VAE) for name in file.names) else ""


def _text_prefix(file: TensorFile) -> str:
    for prefix in TEXT:
        if prefix + "embeddings.token_embedding.weight" in file.names:
            return prefix
    raise ModelError(f"{file.path.name} has no text encoder of Stable Diffusion 1.x.")


def _divisor(file: TensorFile, key: str, default: int, widths: Sequence[int]) -> int:
    """A number from the metadata that must divide the widths it is used on."""
    value = file.metadata.get(key, str(default))
    if not value.isdecimal() or int(value) == 0:
        raise ModelError(f"{file.path.name}: its metadata {key!r} is {value!r}; it must be a whole number above 0.")
    for width in widths:
        if width % int(value):
            raise ModelError(f"{file.path.name}: {key} is {value}, which does not divide the width {width}. Its metadata must say it.")
    return int(value)


def _scaling_factor(file: TensorFile) -> float:
    value = file.metadata.get("vae_scaling_factor", "0.18215")
    try:
        factor = float(value)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise ModelError(f"{file.path.name}: its metadata 'vae_scaling_factor' is {value!r}; it must be a number above 0.")
    return factor
