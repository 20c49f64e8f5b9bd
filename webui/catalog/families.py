"""Telling a model's family from the names and shapes of its tensors, in A1111's order of questions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

Shapes = Mapping[str, tuple[int, ...]]

DRAWABLE = "sd1"
VAE = "vae"

_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
LORA, EMBEDDING, HYPERNETWORK, PICTURE, UNKNOWN = "lora", "embedding", "hypernetwork", "picture", "unknown"

# What stands somewhere, or at the end, of a tensor's name in files of the LoRA family.
_LORA_MARKS = (
    "lora_up", "lora_down", "lora_A", "lora_B", "lora.up", "lora.down", "hada_w1_a", "lokr_w1", "oft_blocks", "oft_diag", "lora_unet_",
    "lora_te", "lycoris_",
)  # fmt: skip
_LORA_ENDINGS = (".diff", ".w_norm", ".on_input", ".a1.weight")
_VAE_LATENTS = 4

_BY_SD1_INPUT: Mapping[int, str] = MappingProxyType({4: "sd1", 8: "ip2p", 9: "sd1-inpaint"})
_BY_SD2_INPUT: Mapping[int, str] = MappingProxyType({4: "sd2", 5: "sd2-depth", 9: "sd2-inpaint"})

_NOUNS: Mapping[str, str] = MappingProxyType(
    {
        "sd2": "an SD 2.x checkpoint",
        "sd2-depth": "an SD 2.x depth checkpoint",
        "sd2-inpaint": "an SD 2.x inpainting checkpoint",
        "sd1-inpaint": "an SD 1.x inpainting checkpoint",
        "ip2p": "an InstructPix2Pix checkpoint",
        "sdxl": "an SDXL checkpoint",
        "sdxl-inpaint": "an SDXL inpainting checkpoint",
        "sdxl-refiner": "an SDXL refiner",
        "sd3": "an SD 3 checkpoint",
    }
)

_ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "vae": "is a VAE; put it into models/VAE",
    "vae-other": "is a VAE for other latents than the 4 channels of SD 1.x",
    "vae-diffusers": "is a VAE in diffusers' layout; convert it to the original layout",
    LORA: "is a LoRA; put it into models/Lora",
    EMBEDDING: "is a textual inversion; put it into embeddings",
    HYPERNETWORK: "is a hypernetwork; put it into models/hypernetworks",
    "sd1-part": "is a part of an SD 1.x checkpoint, without its text encoder or VAE; get the whole checkpoint",
})  # fmt: skip


def family_of(shapes: Shapes) -> str:
    """One of: sd1, sd1-part, sd1-inpaint, ip2p, sd2, sd2-depth, sd2-inpaint, sdxl, sdxl-inpaint, sdxl-refiner, sd3, vae,
    vae-other, vae-diffusers, lora, embedding, unknown."""
    if "model.diffusion_model.x_embedder.proj.weight" in shapes:
        return "sd3"
    if _has_prefix(shapes, "conditioner.embedders.1."):
        return "sdxl-inpaint" if _input_channels(shapes) == 9 else "sdxl"
    if _has_prefix(shapes, "conditioner.embedders.0."):
        return "sdxl-refiner"
    if _INPUT in shapes:
        return _with_ldm_unet(shapes)
    return _without_unet(shapes)


def family_of_names(texts: Collection[str], tensors: int) -> str:
    """What a pickle holds, from the texts in it alone: lora, embedding, hypernetwork or unknown.  tensors: how many it has."""
    if "string_to_param" in texts:
        return EMBEDDING
    if any(text.startswith(("linear.0.", "linear1.")) for text in texts):
        return HYPERNETWORK
    if _is_lora(texts):
        return LORA
    return EMBEDDING if tensors == 1 else UNKNOWN


def checkpoint_refusal(family: str) -> str | None:
    """Why a file of this family cannot be a checkpoint, to follow the file's name; None if it can."""
    if family == DRAWABLE:
        return None
    if family in _ELSEWHERE:
        return _ELSEWHERE[family]
    noun = _NOUNS.get(family, "no model that is known here")
    return f"is {noun}; this version draws SD 1.x only"


def vae_refusal(family: str) -> str | None:
    """Why a file of this family cannot be a VAE, to follow the file's name; None if it can."""
    if family == VAE:
        return None
    return _ELSEWHERE[family] if family.startswith("vae-") else "is not a VAE"


def lora_refusal(family: str) -> str | None:
    """Why a file of this family cannot be a LoRA, to follow the file's name; None if it can."""
    return None if family == LORA else _instead(family, "no LoRA")


def embedding_refusal(family: str) -> str | None:
    """Why a file of this family cannot be a textual inversion, to follow the file's name; None if it can."""
    return None if family == EMBEDDING else _instead(family, "no textual inversion")


def hypernetwork_refusal(family: str) -> str | None:
    """Why a file of this family cannot be a hypernetwork, to follow the file's name; None if it can."""
    return None if family == HYPERNETWORK else _instead(family, "no hypernetwork")


def _is_lora(names: Iterable[str]) -> bool:
    return any(name.endswith(_LORA_ENDINGS) or any(mark in name for mark in _LORA_MARKS) for name in names)


def _instead(family: str, wanted: str) -> str:
    if family in _ELSEWHERE:
        return _ELSEWHERE[family]
    if family == DRAWABLE or family in _NOUNS:
        return f"is {_NOUNS.get(family, 'an SD 1.x checkpoint')}; put it into models/Stable-diffusion"
    return f"is {wanted} that is known here"


def _with_ldm_unet(shapes: Shapes) -> str:
    channels = _input_channels(shapes)
    if "model.diffusion_model.label_emb.0.0.weight" in shapes:
        return "sdxl"
    if _has_prefix(shapes, "depth_model."):
        return "sd2-depth"
    if _has_prefix(shapes, "cond_stage_model.model."):
        return _BY_SD2_INPUT.get(channels, UNKNOWN)
    family = _BY_SD1_INPUT.get(channels, UNKNOWN)
    whole = _has_prefix(shapes, "cond_stage_model.transformer.") and _has_prefix(shapes, "first_stage_model.decoder.")
    return "sd1-part" if family == DRAWABLE and not whole else family


def _without_unet(shapes: Shapes) -> str:
    if _is_lora(shapes):
        return LORA
    if "emb_params" in shapes or shapes.keys() == {"clip_l", "clip_g"}:
        return EMBEDDING
    for prefix in ("", "first_stage_model."):
        decoder = shapes.get(f"{prefix}decoder.conv_in.weight", ())
        if len(decoder) == 4 and f"{prefix}encoder.conv_in.weight" in shapes:
            if _has_prefix(shapes, f"{prefix}decoder.up_blocks."):
                return "vae-diffusers"
            return VAE if decoder[1] == _VAE_LATENTS else "vae-other"
    return UNKNOWN


def _input_channels(shapes: Shapes) -> int:
    shape = shapes.get(_INPUT, ())
    return shape[1] if len(shape) == 4 else 0


def _has_prefix(shapes: Shapes, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in shapes)
