"""Which layer of which module a tensor of a LoRA file belongs to, in all the ways there are of naming them.

kohya: lora_unet_down_blocks_0_..._to_q.lora_down.weight, or with the original model's blocks: lora_unet_input_blocks_1_...;
diffusers and PEFT: unet.down_blocks.0....to_q.lora_A.weight, also with processor.to_q_lora or lora_linear_layer inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from diffusers import UNet2DConditionModel
from torch import nn

from webui.catalog.ldm_layout import unet_name
from webui.engine.adapters.embeddings import TextEncoder

UNET = "unet"
TEXT = "text_encoder"
TEXT_2 = "text_encoder_2"

# The longest first, so that none hides behind another.
_PREFIXES: tuple[tuple[str, str], ...] = (
    ("base_model_model_text_encoder_2_", TEXT_2),
    ("base_model_model_text_encoder_", TEXT),
    ("base_model_model_text_model_", TEXT),
    ("base_model_model_unet_", UNET),
    ("base_model_model_", UNET),
    ("model_diffusion_model_", UNET),
    ("diffusion_model_", UNET),
    ("lycoris_unet_", UNET),
    ("lora_unet_", UNET),
    ("oft_unet_", UNET),
    ("unet_", UNET),
    ("lycoris_te2_", TEXT_2),
    ("lycoris_te1_", TEXT),
    ("lycoris_te_", TEXT),
    ("lora_te2_", TEXT_2),
    ("lora_te1_", TEXT),
    ("lora_te_", TEXT),
    ("oft_te2_", TEXT_2),
    ("oft_te1_", TEXT),
    ("text_encoder_2_", TEXT_2),
    ("text_encoder_", TEXT),
    ("transformer_", TEXT),
    ("", UNET),
    ("", TEXT),
)
_ONE_WORD = ("lora_", "lycoris_", "oft_")

# What may stand behind a layer's name in dotted names: other programs' words, and kohya's for them.
_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        ".lora_A.weight": "lora_down.weight",
        ".lora_B.weight": "lora_up.weight",
        ".lora_A.default.weight": "lora_down.weight",
        ".lora_B.default.weight": "lora_up.weight",
        ".lora_linear_layer.down.weight": "lora_down.weight",
        ".lora_linear_layer.up.weight": "lora_up.weight",
        ".lora.down.weight": "lora_down.weight",
        ".lora.up.weight": "lora_up.weight",
        "_lora.down.weight": "lora_down.weight",
        "_lora.up.weight": "lora_up.weight",
        ".lora_magnitude_vector.weight": "lora_magnitude_vector",
        ".lora_magnitude_vector.default.weight": "lora_magnitude_vector",
    }
)
# kohya's own words, those that others end with last.
_PARTS = (
    "lora_down.weight", "lora_up.weight", "lora_mid.weight", "lora_magnitude_vector", "alpha", "scale", "dora_scale",
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    "diff", "diff_b", "w_norm", "b_norm", "on_input", "a1.weight", "a2.weight", "b1.weight", "b2.weight",
    "oft_blocks", "oft_diag", "rescale", "weight", "bias",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A layer of one of a pipeline's modules.  module: "unet", "text_encoder" or "text_encoder_2".   path: as in named_modules()."""

    module: str
    path: str


class LayerNames:
    """Finds the layers of a UNet and the text encoders with it by the names that LoRA files use."""

    def __init__(self, unet: UNet2DConditionModel, *text_encoders: TextEncoder) -> None:
        texts = zip((TEXT, TEXT_2), map(_text_paths, text_encoders), strict=False)
        self._paths: Mapping[str, Mapping[str, str]] = {UNET: _unet_paths(unet), **dict(texts)}

    def find(self, tensor: str) -> tuple[Layer | None, str]:
        """The layer a tensor belongs to, None if there is no such layer; and what it is to the layer, in kohya's words."""
        name, part = split_name(tensor)
        name = name.replace("_processor_", "_")
        for prefix, module in _PREFIXES:
            if name.startswith(prefix) and (path := self._paths.get(module, {}).get(name[len(prefix) :])):
                return Layer(module, path), part
        return None, part


def split_name(tensor: str) -> tuple[str, str]:
    """A layer's name, with underscores only, and what the tensor is to it, in kohya's words ("" when it is nothing known)."""
    if tensor.startswith(_ONE_WORD):
        name, _, part = tensor.partition(".")
        return name, _SPELLINGS.get(f".{part}", part)
    for ending, part in (*_SPELLINGS.items(), *((f".{part}", part) for part in _PARTS)):
        if tensor.endswith(ending):
            return tensor.removesuffix(ending).replace(".", "_"), part
    return tensor.replace(".", "_"), ""


def _unet_paths(unet: UNet2DConditionModel) -> Mapping[str, str]:
    """Paths of the layers by their own names and by the original model's."""
    layers = int(unet.config["layers_per_block"])
    up_attention = tuple("CrossAttn" in kind for kind in unet.config["up_block_types"])
    paths: dict[str, str] = {}
    for path in _with_weights(unet):
        paths[path.replace(".", "_")] = path
        original = unet_name(f"{path}.weight", layers=layers, up_attention=up_attention).removesuffix(".weight")
        paths.setdefault(original.replace(".", "_"), path)
    for name in [name for name in paths if name.endswith("_to_out_0")]:
        paths.setdefault(name.removesuffix("_0"), paths[name])  # as old diffusers wrote it
    return paths


def _text_paths(text_encoder: TextEncoder) -> Mapping[str, str]:
    """Paths of the layers by transformers' names, with and without what stands before them where there is a projection."""
    paths: dict[str, str] = {}
    for path in _with_weights(text_encoder):
        name = path.removeprefix("text_model.").replace(".", "_")
        paths |= {name: path, f"text_model_{name}": path}
    return paths


def _with_weights(module: nn.Module) -> list[str]:
    return [path for path, layer in module.named_modules() if isinstance(layer._parameters.get("weight"), nn.Parameter)]
