"""The UNet that all families share: its architecture read from the shapes of a file's tensors, and built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional

from webui.catalog.ldm_layout import unet_name
from webui.core.errors import ModelError
from webui.engine.families.layout import UNET, read_divisor
from webui.engine.loading import TensorFile

MIDDLE = UNET + "middle_block.1."
VECTOR = UNET + "label_emb.0.0.weight"


@dataclass(frozen=True)
class UNetShape:
    """All that is needed to build a UNet's skeleton; equal shapes can share one.

    channels, attention, depths, heads: of each level; depths are transformer blocks in an attention, the last of them also the middle's.
    linear: projections around the transformer are linear layers rather than convolutions.   vector: width of what it is
    conditioned on beside the context, 0 for nothing, of which each number of the picture takes `number_width`.
    """

    channels: tuple[int, ...]
    layers: int
    attention: tuple[bool, ...]
    depths: tuple[int, ...]
    in_channels: int
    out_channels: int
    context: int
    heads: tuple[int, ...]
    groups: int
    linear: bool = False
    vector: int = 0
    number_width: int = 0

    def build(self) -> UNet2DConditionModel:
        """A UNet of this shape, that comes to odd sizes as the original does."""
        unet = UNet2DConditionModel(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            down_block_types=["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in self.attention],
            up_block_types=["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(self.attention)],
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            transformer_layers_per_block=self.depths,
            cross_attention_dim=self.context,
            attention_head_dim=self.heads,  # diffusers' name; for these models it is the number of heads
            norm_num_groups=self.groups,
            use_linear_projection=self.linear,
            addition_embed_type="text_time" if self.vector else None,
            addition_time_embed_dim=self.number_width or None,
            projection_class_embeddings_input_dim=self.vector or None,
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
class _Level:
    """One resolution on the way down.  depth: transformer blocks in its attentions, 0 without attention."""

    channels: int
    layers: int
    depth: int


def read_unet_shape(file: TensorFile, *, heads: int | None = None, pooled: int = 0, numbers: int = 0) -> UNetShape:
    """The UNet's architecture, from the shapes of its tensors.

    heads: how many attention heads a level has when the metadata's unet_attention_heads does not say; None for families whose
    heads have a width instead (unet_head_channels, 64).   pooled, numbers: of the vector it is conditioned on, the width of the
    text's part and how many numbers of the picture follow; 0 for families without such a vector.
    """
    levels = _levels(file)
    if not levels:
        raise ModelError(f"{file.path.name} has no UNet of Stable Diffusion.")
    channels = tuple(level.channels for level in levels)
    attended = [level.channels for level in levels if level.depth]
    middle = _depth(file, MIDDLE)
    if levels[-1].depth not in (0, middle):
        raise ModelError(f"{file.path.name}: the middle of its UNet has another depth than the level before it.")
    vector = file.shape(VECTOR, 2)[1] if numbers else 0
    return UNetShape(
        channels=channels,
        layers=max(level.layers for level in levels),
        attention=tuple(level.depth > 0 for level in levels),
        depths=tuple(level.depth or middle for level in levels),
        in_channels=file.shape(UNET + "input_blocks.0.0.weight", 4)[1],
        out_channels=file.shape(UNET + "out.2.weight", 4)[0],
        context=file.shape(MIDDLE + "transformer_blocks.0.attn2.to_k.weight", 2)[1],
        heads=_heads(file, channels, [*attended, channels[-1]], heads),
        groups=read_divisor(file, "norm_num_groups_unet", 32, channels),
        linear=file.dimensions(MIDDLE + "proj_in.weight") == 2,
        vector=vector,
        number_width=_number_width(file, vector - pooled, numbers) if numbers else 0,
    )


def _levels(file: TensorFile) -> list[_Level]:
    """Blocks are numbered through: those of a level, then what halves the size, then those of the next level."""
    blocks = UNET + "input_blocks."
    levels: list[_Level] = []
    block, layers = 1, 0
    while True:
        if f"{blocks}{block}.0.op.weight" in file.names:
            layers = 0
        elif f"{blocks}{block}.0.in_layers.0.weight" in file.names:
            layers += 1
            if layers == 1:
                width = file.shape(f"{blocks}{block}.0.out_layers.0.weight", 1)[0]
                levels.append(_Level(width, 1, _depth(file, f"{blocks}{block}.1.")))
            else:
                levels[-1] = _Level(levels[-1].channels, layers, levels[-1].depth)
        else:
            return levels
        block += 1


def _depth(file: TensorFile, attention: str) -> int:
    """Transformer blocks in an attention; at least one where there is any."""
    depth = 0
    while f"{attention}transformer_blocks.{depth}.norm1.weight" in file.names:
        depth += 1
    return max(depth, int(f"{attention}norm.weight" in file.names))


def _heads(file: TensorFile, channels: Sequence[int], attended: Sequence[int], fixed: int | None) -> tuple[int, ...]:
    if fixed is not None or "unet_attention_heads" in file.metadata:
        return (read_divisor(file, "unet_attention_heads", fixed or 1, attended),) * len(channels)
    width = read_divisor(file, "unet_head_channels", 64, attended)
    return tuple(max(1, one // width) for one in channels)


def _number_width(file: TensorFile, rest: int, numbers: int) -> int:
    if rest <= 0 or rest % numbers:
        raise ModelError(f"{file.path.name}: {VECTOR!r} leaves {rest} values for {numbers} numbers of the picture, which cannot be shared.")
    return rest // numbers
