"""ControlNets: a copy of a UNet's way down, whose answers to a picture are added to the UNet's own.

Source: Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models". The architecture is read from the shapes of
the tensors, in the original layout and in diffusers'; what shapes cannot tell (attention heads, groups of the norms) comes from the
file's metadata or the config.json beside it, else it is the UNet's, of which the ControlNet is a copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn

from webui.catalog.ldm_layout import unet_name
from webui.core.errors import ModelError
from webui.engine.loading import TensorFile

MAX_CONFIG = 1024 * 1024
PREFIXES = ("control_model.", "")
# What a soft unit's deepest answer is multiplied with once for each level above it: sd-webui-controlnet's number.
SOFTER = 0.825
# diffusers' name of the only weights of a folder, which then has the config.json.
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model"


@dataclass(frozen=True)
class ControlShape:
    """All that is needed to build a ControlNet's skeleton.

    depths: transformer layers of each level.   heads: of each level.   hint: widths on the picture's way to the latents' size.
    added: width of SDXL's added vector, None without one.   pools: its answers are averaged over the picture.
    """

    channels: tuple[int, ...]
    layers: int
    attention: tuple[bool, ...]
    depths: tuple[int, ...]
    in_channels: int
    context: int
    is_linear: bool
    heads: tuple[int, ...]
    groups: int
    hint: tuple[int, ...]
    hint_channels: int
    added: int | None
    added_time: int
    upcasts: bool
    pools: bool

    def build(self) -> ControlNetModel:
        """A ControlNet of this shape."""
        added: dict[str, Any] = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": self.added_time,
            "projection_class_embeddings_input_dim": self.added,
        }
        return ControlNetModel(
            in_channels=self.in_channels,
            conditioning_channels=self.hint_channels,
            down_block_types=["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in self.attention],
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            norm_num_groups=self.groups,
            cross_attention_dim=self.context,
            transformer_layers_per_block=self.depths,
            attention_head_dim=self.heads,
            use_linear_projection=self.is_linear,
            upcast_attention=self.upcasts,
            conditioning_embedding_out_channels=self.hint,
            global_pool_conditions=self.pools,
            **(added if self.added else {}),
        )

    def name_in(self, file: TensorFile) -> Callable[[str], str]:
        """What says of a weight of the module its name in the file."""
        prefix = _original_prefix(file)
        if prefix is None:
            return lambda ours: ours
        return lambda ours: prefix + _original_name(ours, self.layers, len(self.hint))


@dataclass(frozen=True, eq=False)
class Control:
    """What one unit adds to one row.

    model: the ControlNet.   hint: (3, H, W) in 0..1, in pixels of the drawing.   scales: what each answer is multiplied with, from the
    highest level to the middle block.
    """

    model: nn.Module
    hint: torch.Tensor
    scales: tuple[float, ...]


def scales_of(model: nn.Module, weight: float, *, is_soft: bool) -> tuple[float, ...]:
    """What a ControlNet's answers are multiplied with.  is_soft: the less the further up, as in sd-webui-controlnet's modes."""
    count = len(model.controlnet_down_blocks) + 1
    return tuple(weight * (SOFTER ** (count - 1 - place) if is_soft else 1.0) for place in range(count))


def unet_additions(
    controls: Sequence[Sequence[Control]],
    x: torch.Tensor,
    timestep: torch.Tensor,
    context: torch.Tensor,
    *,
    bring: Callable[[nn.Module], None],
    added: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """What the UNet is to be called with beside its rows; nothing where no row has a control.

    controls: of each row.   x: (n, C, h, w).   timestep: (n,).   context: (n, T, D).   added: SDXL's conditions, (n, ...) each.
    Each ControlNet runs once, on all rows that want it.
    """
    totals: list[torch.Tensor] | None = None
    for model, entries in _gathered(controls):
        bring(model)
        rows = [row for row, _ in entries]
        answers = _answers(model, [control for _, control in entries], rows, x, timestep, context, added)
        placed = answers if rows == list(range(len(x))) else [_placed(answer, rows, len(x)) for answer in answers]
        totals = placed if totals is None else [total + one for total, one in zip(totals, placed, strict=True)]
    if totals is None:
        return {}
    return {"down_block_additional_residuals": tuple(totals[:-1]), "mid_block_additional_residual": totals[-1]}


def _gathered(controls: Sequence[Sequence[Control]]) -> list[tuple[nn.Module, list[tuple[int, Control]]]]:
    """The rows of each ControlNet, each row once; a row that has two units of one ControlNet comes again in a further group."""
    groups: dict[tuple[int, int], list[tuple[int, Control]]] = {}
    for row, own in enumerate(controls):
        seen: dict[int, int] = {}
        for control in own:
            model = id(control.model)
            seen[model] = seen.get(model, 0) + 1
            groups.setdefault((model, seen[model]), []).append((row, control))
    return [(entries[0][1].model, entries) for entries in groups.values()]


def _answers(
    model: nn.Module,
    controls: Sequence[Control],
    rows: list[int],
    x: torch.Tensor,
    timestep: torch.Tensor,
    context: torch.Tensor,
    added: Mapping[str, torch.Tensor] | None,
) -> list[torch.Tensor]:
    """(k, c, h', w') of each level, for k rows."""
    hints = torch.stack([control.hint for control in controls]).to(x)
    # An inpainting or depth UNet is shown more than the latents, a ControlNet only these.
    shown = x[rows, : model.config["in_channels"]]
    more = {"added_cond_kwargs": {name: one[rows] for name, one in added.items()}} if added and model.config["addition_embed_type"] else {}
    down, middle = model(shown, timestep[rows], context[rows], hints, return_dict=False, **more)
    scales = torch.tensor([control.scales for control in controls], dtype=x.dtype, device=x.device)
    return [answer * scales[:, place, None, None, None] for place, answer in enumerate((*down, middle))]


def _placed(answer: torch.Tensor, rows: list[int], count: int) -> torch.Tensor:
    """The answer in its rows of `count`, zeros in the others."""
    all_rows = answer.new_zeros((count, *answer.shape[1:]))
    all_rows[rows] = answer
    return all_rows


def read_control_shape(file: TensorFile, unet: UNet2DConditionModel) -> ControlShape:
    """The ControlNet's architecture.  unet: the one it is to steer.  Raises ModelError."""
    said, prefix = _said(file), _original_prefix(file)
    read = _read_diffusers(file) if prefix is None else _read_original(file, prefix)
    channels = read["channels"]
    heads = said.get("num_attention_heads") or said.get("attention_head_dim") or file.metadata.get("unet_attention_heads")
    of_unet = unet.config["num_attention_heads"] or unet.config["attention_head_dim"]
    if isinstance(of_unet, list | tuple) and len(of_unet) != len(channels):
        of_unet = 1  # it does not fit, which check_fits says
    groups = said.get("norm_num_groups") or file.metadata.get("norm_num_groups_unet") or unet.config["norm_num_groups"]
    attending = [width if attends else 0 for width, attends in zip(channels, (*read["attention"][:-1], True), strict=True)]
    return ControlShape(
        **read,
        heads=_divisors(file, heads or of_unet, attending),
        groups=_divisors(file, groups, channels)[0],
        added_time=unet.config["addition_time_embed_dim"] or 256,
        upcasts=bool(said.get("upcast_attention", unet.config["upcast_attention"])),
        # The original files do not say it; sd-webui-controlnet goes by the name, too.
        pools=bool(said.get("global_pool_conditions", "shuffle" in file.path.stem.lower())),
    )


def check_fits(shape: ControlShape, unet: UNet2DConditionModel, control: str, checkpoint: str) -> None:
    """Raises ModelError naming both when the ControlNet's answers cannot be added to this UNet's."""
    config = unet.config
    attention = tuple(kind.startswith("CrossAttn") for kind in config["down_block_types"])
    needed = tuple(config["block_out_channels"]), config["layers_per_block"], attention, config["cross_attention_dim"]
    if needed != (shape.channels, shape.layers, shape.attention, shape.context):
        own, wanted = (
            f"widths {widths}, {layers} layers a level, attention on {sum(attends)} levels and prompts of {context} numbers"
            for widths, layers, attends, context in ((shape.channels, shape.layers, shape.attention, shape.context), needed)
        )
        raise ModelError(
            f"The control model {control!r} does not fit the checkpoint {checkpoint!r}: it has {own}, the checkpoint {wanted}. "
            "Choose a control model of the checkpoint's family."
        )
    if bool(shape.added) != (config["addition_embed_type"] == "text_time"):
        raise ModelError(
            f"The control model {control!r} does not fit the checkpoint {checkpoint!r}: one of them is SDXL. "
            "Choose a control model of the checkpoint's family."
        )


def _original_prefix(file: TensorFile) -> str | None:
    """What stands before the original names; None for a file in diffusers' layout.  Raises ModelError for anything else."""
    if "controlnet_cond_embedding.conv_in.weight" in file.names:
        return None
    for prefix in PREFIXES:
        if prefix + "input_hint_block.0.weight" in file.names:
            return prefix
    raise ModelError(f"{file.path.name} has no ControlNet.")


def _read_original(file: TensorFile, prefix: str) -> dict[str, Any]:
    blocks = prefix + "input_blocks."
    channels: list[int] = []
    depths: list[int] = []
    layers, in_level, block = 0, 0, 1
    while f"{blocks}{block}.0.in_layers.0.weight" in file.names or f"{blocks}{block}.0.op.weight" in file.names:
        if f"{blocks}{block}.0.op.weight" in file.names:
            in_level = 0
        else:
            if in_level == 0:
                channels.append(file.shape(f"{blocks}{block}.0.out_layers.0.weight", 1)[0])
                depths.append(file.count(f"{blocks}{block}.1.transformer_blocks.{{}}."))
            in_level += 1
            layers = max(layers, in_level)
        block += 1
    convolution = re.compile(re.escape(prefix) + r"input_hint_block\.(\d{1,4})\.weight", re.ASCII)
    places = sorted(int(match[1]) for name in file.names if (match := convolution.fullmatch(name)))
    middle = prefix + "middle_block.1."
    label = prefix + "label_emb.0.0.weight"
    return {
        **_common(file, channels, layers, depths, middle),
        "in_channels": file.shape(blocks + "0.0.weight", 4)[1],
        "hint": tuple(file.shape(f"{prefix}input_hint_block.{place}.weight", 4)[0] for place in places[:-1:2]),
        "hint_channels": file.shape(prefix + "input_hint_block.0.weight", 4)[1],
        "added": file.shape(label, 2)[1] if label in file.names else None,
    }


def _read_diffusers(file: TensorFile) -> dict[str, Any]:
    levels = range(file.count("down_blocks.{}."))
    channels = [file.shape(f"down_blocks.{level}.resnets.0.conv1.weight", 4)[0] for level in levels]
    layers = file.count("down_blocks.0.resnets.{}.")
    depths = [file.count(f"down_blocks.{level}.attentions.0.transformer_blocks.{{}}.") for level in levels]
    embedding = "controlnet_cond_embedding."
    label = "add_embedding.linear_1.weight"
    wider = range(1, file.count(embedding + "blocks.{}."), 2)
    return {
        **_common(file, channels, layers, depths, "mid_block.attentions.0."),
        "in_channels": file.shape("conv_in.weight", 4)[1],
        "hint": tuple(file.shape(f"{embedding}{name}.weight", 4)[0] for name in ("conv_in", *(f"blocks.{place}" for place in wider))),
        "hint_channels": file.shape(embedding + "conv_in.weight", 4)[1],
        "added": file.shape(label, 2)[1] if label in file.names else None,
    }


def _common(file: TensorFile, channels: list[int], layers: int, depths: list[int], middle: str) -> dict[str, Any]:
    if not channels:
        raise ModelError(f"{file.path.name} has no ControlNet.")
    projection = middle + "proj_in.weight"
    return {
        "channels": tuple(channels),
        "layers": layers,
        "attention": tuple(depth > 0 for depth in depths),
        # The middle block is as deep as the last level; where that has no attention, nothing else asks for its depth.
        "depths": (*(max(1, depth) for depth in depths[:-1]), max(1, file.count(middle + "transformer_blocks.{}."))),
        "context": file.shape(middle + "transformer_blocks.0.attn2.to_k.weight", 2)[1],
        "is_linear": projection in file.names and len(file.tensor(projection).shape) == 2,
    }


def _divisors(file: TensorFile, said: Any, widths: Sequence[int]) -> tuple[int, ...]:
    """A number for each width, which it must divide.  said: one for all, or one for each."""
    each = said if isinstance(said, list | tuple) else [said] * len(widths)
    try:
        numbers = tuple(int(one) for one in each)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != len(widths) or any(number < 1 or width % number for number, width in zip(numbers, widths, strict=True)):
        raise ModelError(f"{file.path.name}: it or its config.json says {said!r}, which does not divide its widths {tuple(widths)}.")
    return numbers


def _said(file: TensorFile) -> Mapping[str, Any]:
    """The config.json that diffusers writes beside its only weights; nothing for other files."""
    path = file.path.with_name("config.json")
    if not file.path.stem.startswith(DIFFUSERS_WEIGHTS) or not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path.parent.name}/config.json cannot be read ({error}). Download it again.") from None
    return said if isinstance(said, dict) else {}


def _original_name(ours: str, layers: int, hints: int) -> str:
    """hints: widths on the picture's way; between each two lie two convolutions, between each two of these an activation."""
    embedding = "controlnet_cond_embedding."
    if ours.startswith(embedding):
        part, _, rest = ours.removeprefix(embedding).partition(".")
        if part == "blocks":
            number, _, rest = rest.partition(".")
            return f"input_hint_block.{2 * int(number) + 2}.{rest}"
        return f"input_hint_block.{0 if part == 'conv_in' else 4 * hints - 2}.{rest}"
    if ours.startswith("controlnet_down_blocks."):
        number, rest = ours.removeprefix("controlnet_down_blocks.").split(".", 1)
        return f"zero_convs.{number}.0.{rest}"
    if ours.startswith("controlnet_mid_block."):
        return "middle_block_out.0." + ours.removeprefix("controlnet_mid_block.")
    if ours.startswith("add_embedding."):
        return ours.replace("add_embedding.linear_1", "label_emb.0.0").replace("add_embedding.linear_2", "label_emb.0.2")
    return unet_name(ours, layers=layers, up_attention=())
