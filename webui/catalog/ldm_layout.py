"""The original (latent diffusion) names of tensors, for each name in diffusers' and transformers' modules.

Every function takes a module's own parameter name and returns the name in the file, without the part's prefix. Of a name that no such
module has they raise ValueError or IndexError, or make one that no file has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_UNET_TOP: Mapping[str, str] = MappingProxyType(
    {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
)
_UNET_RESNET: Mapping[str, str] = MappingProxyType(
    {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
)
_VAE_ATTENTION: Mapping[str, str] = MappingProxyType({"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"})

_OPEN_CLIP_TOP: Mapping[str, str] = MappingProxyType(
    {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
)
_OPEN_CLIP_LAYER: Mapping[str, str] = MappingProxyType(
    {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
)
_IN_PROJECTION = ("q_proj", "k_proj", "v_proj")
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Cut:
    """A weight that is a part of a tensor in the file: the number-th of so many equal pieces of its rows, or its transpose."""

    name: str
    number: int = 0
    of: int = 1
    transposed: bool = False


def unet_name(name: str, *, layers: int, up_attention: tuple[bool, ...]) -> str:
    """layers: residual blocks a level.   up_attention: for each level on the way up, whether it has attention."""
    part, _, rest = name.partition(".")
    if part in ("down_blocks", "up_blocks"):
        level, kind, index, rest = rest.split(".", 3)
        position = int(level) * (layers + 1) + int(index)
        if part == "down_blocks":
            return _down_name(kind, position + 1, (int(level) + 1) * (layers + 1), rest)
        return _up_name(kind, position, int(level) * (layers + 1) + layers, rest, attention=up_attention[int(level)])
    if part == "mid_block":
        kind, index, rest = rest.split(".", 2)
        if kind == "attentions":
            return f"middle_block.1.{rest}"
        return f"middle_block.{2 * int(index)}.{_renamed(rest, _UNET_RESNET)}"
    return _renamed(name, _UNET_TOP)


def vae_name(name: str, *, levels: int) -> str:
    """levels: how many resolutions the VAE has; its way up is numbered backwards in the original."""
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if ".mid_block.attentions.0." in name:
        before, _, rest = name.partition(".mid_block.attentions.0.")
        return f"{before}.mid.attn_1.{_renamed(rest, _VAE_ATTENTION)}"
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def open_clip_place(ours: str, prefix: str = "", *, as_linear: bool = False) -> str | Cut:
    """Where open_clip keeps a weight that transformers' text encoder calls so.  as_linear: its projection is stored as a linear layer's."""
    name = ours.removeprefix("text_model.")
    if name == "text_projection.weight":
        return prefix + name if as_linear else Cut(prefix + "text_projection", transposed=True)
    if name in _OPEN_CLIP_TOP:
        return prefix + _OPEN_CLIP_TOP[name]
    match = _LAYER.fullmatch(name)
    if match is None:
        raise ValueError(name)
    number, layer, kind = match.groups()
    block = f"{prefix}transformer.resblocks.{number}."
    if layer in _OPEN_CLIP_LAYER:
        return f"{block}{_OPEN_CLIP_LAYER[layer]}.{kind}"
    which = _IN_PROJECTION.index(layer.removeprefix("self_attn."))
    return Cut(f"{block}attn.in_proj_{kind}", which, len(_IN_PROJECTION))


def _down_name(kind: str, position: int, downsampler: int, rest: str) -> str:
    if kind == "downsamplers":
        return f"input_blocks.{downsampler}.0.op.{rest.removeprefix('conv.')}"
    if kind == "attentions":
        return f"input_blocks.{position}.1.{rest}"
    return f"input_blocks.{position}.0.{_renamed(rest, _UNET_RESNET)}"


def _up_name(kind: str, position: int, upsampler: int, rest: str, *, attention: bool) -> str:
    if kind == "upsamplers":
        return f"output_blocks.{upsampler}.{2 if attention else 1}.{rest}"
    if kind == "attentions":
        return f"output_blocks.{position}.1.{rest}"
    return f"output_blocks.{position}.0.{_renamed(rest, _UNET_RESNET)}"


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for ours, original in table.items():
        if name.startswith(ours + "."):
            return original + name[len(ours) :]
    return name
