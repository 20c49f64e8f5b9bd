"""Telling control models, and what is found beside them, from the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CONTROL = "control"

# Both layouts: the original one, alone in a file or inside a whole checkpoint, and diffusers'.
_INPUTS = ("control_model.input_hint_block.0.weight", "input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight")
_ATTENTIONS = (
    "control_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight", "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
)  # fmt: skip
_UNION = ("task_embedding", "control_model.task_embedding")
# Vectors of the text encoder that a family's prompts become, by which its control models are told apart.
_BY_CONTEXT: Mapping[int, str] = MappingProxyType({768: "control-sd1", 1024: "control-sd2", 2048: "control-sdxl"})

CONTROL_NOUNS: Mapping[str, str] = MappingProxyType({
    "control-lora": "a Control-LoRA, which works only together with another model's weights",
    "control-union": "a ControlNet union, which needs to be told what its picture shows",
    "control-difference": "a ControlNet stored as the difference from a checkpoint",
    "t2i-adapter": "a T2I adapter",
    "ip-adapter": "an IP-Adapter",
    "control-lllite": "a ControlLLLite",
})  # fmt: skip


def control_family(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """One of: control (of a size that is no family's), control-sd1, control-sd2, control-sdxl, and the keys of CONTROL_NOUNS;
    None for anything else."""
    if any(name.startswith("lllite_") for name in shapes):
        return "control-lllite"
    if any(name.startswith(("image_proj.", "ip_adapter.")) for name in shapes):
        return "ip-adapter"
    if "style_embedding" in shapes or any(name.startswith(("body.0.", "adapter.body.0.", "adapter.conv_in.")) for name in shapes):
        return "t2i-adapter"
    if not any(name in shapes for name in _INPUTS):
        return None
    if "lora_controlnet" in shapes or any(name.endswith((".up", ".down")) for name in shapes):
        return "control-lora"
    if any(name in shapes for name in _UNION):
        return "control-union"
    if "difference" in shapes:
        return "control-difference"
    context = next((shapes[name][-1] for name in _ATTENTIONS if len(shapes.get(name, ())) == 2), 0)
    return _BY_CONTEXT.get(context, CONTROL)


def control_elsewhere(family: str) -> str | None:
    """What to do with a file of this family that lies in another folder, to follow the file's name; None for no control model."""
    if control_refusal(family) is None:
        return "is a ControlNet; put it into models/ControlNet"
    noun = CONTROL_NOUNS.get(family)
    return f"is {noun}, which this version cannot use" if noun else None


def control_refusal(family: str) -> str | None:
    """Why a file of this family cannot be a control model, to follow the file's name; None if it can."""
    if family == CONTROL or family in _BY_CONTEXT.values():
        return None
    noun = CONTROL_NOUNS.get(family)
    if noun:
        return f"is {noun}; this version follows whole ControlNets only"
    return "is no control model that is known here"
