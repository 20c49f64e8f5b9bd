"""Telling a model's family from the names and shapes of its tensors, in A1111's order of questions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from webui.catalog.control_families import control_elsewhere, control_family
from webui.core.extension_points import NewFamily, is_added

Shapes = Mapping[str, tuple[int, ...]]

VAE = "vae"
# Families of checkpoints that can draw; those for inpainting, editing and depth in the modes that give them their picture.
DRAWABLE = frozenset({
    "sd1", "sd1-depth", "sd1-inpaint", "ip2p", "sd2", "sd2-inpaint", "sd2-depth", "sdxl", "sdxl-inpaint", "sdxl-ip2p", "sdxl-refiner",
})  # fmt: skip

_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
LORA, EMBEDDING, HYPERNETWORK, PICTURE, UNKNOWN = "lora", "embedding", "hypernetwork", "picture", "unknown"

# What stands somewhere, or at the end, of a tensor's name in files of the LoRA family.
_LORA_MARKS = (
    "lora_up", "lora_down", "lora_A", "lora_B", "lora.up", "lora.down", "hada_w1_a", "lokr_w1", "oft_blocks", "oft_diag", "lora_unet_",
    "lora_te", "lycoris_",
)  # fmt: skip
_LORA_ENDINGS = (".diff", ".w_norm", ".on_input", ".a1.weight")
_VAE_LATENTS = 4

_BY_SD1_INPUT: Mapping[int, str] = MappingProxyType({4: "sd1", 5: "sd1-depth", 8: "ip2p", 9: "sd1-inpaint"})
_BY_SD2_INPUT: Mapping[int, str] = MappingProxyType({4: "sd2", 5: "sd2-depth", 9: "sd2-inpaint"})
_BY_SDXL_INPUT: Mapping[int, str] = MappingProxyType({4: "sdxl", 8: "sdxl-ip2p", 9: "sdxl-inpaint"})

_NOUNS: Mapping[str, str] = MappingProxyType(
    {
        "sd1": "an SD 1.x checkpoint",
        "sd2": "an SD 2.x checkpoint",
        "sd2-depth": "an SD 2.x depth checkpoint",
        "sd2-inpaint": "an SD 2.x inpainting checkpoint",
        "sd1-depth": "an SD 1.x depth checkpoint",
        "sd1-inpaint": "an SD 1.x inpainting checkpoint",
        "ip2p": "an InstructPix2Pix checkpoint",
        "sdxl": "an SDXL checkpoint",
        "sdxl-inpaint": "an SDXL inpainting checkpoint",
        "sdxl-ip2p": "an SDXL checkpoint for editing by instruction",
        "sdxl-refiner": "an SDXL refiner",
        "sdxl-pruned": "an SDXL with layers taken out, such as SSD-1B",
        "sd3": "an SD 3 checkpoint",
        "flux": "a FLUX checkpoint",
        "unclip": "an SD 2.x unCLIP checkpoint, which draws variations of a picture",
        "alt": "an AltDiffusion checkpoint",
        "svd": "a video model",
    }
)

_ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "vae": "is a VAE; put it into models/VAE",
    "vae-other": "is a VAE for other latents than the 4 channels of SD 1.x, 2.x and SDXL",
    "vae-diffusers": "is a VAE in diffusers' layout; convert it to the original layout",
    LORA: "is a LoRA; put it into models/Lora",
    EMBEDDING: "is a textual inversion; put it into embeddings",
    HYPERNETWORK: "is a hypernetwork; put it into models/hypernetworks",
    "sd1-part": "is a part of an SD 1.x checkpoint, without its text encoder or VAE; get the whole checkpoint",
    "sdxl-part": "is a part of an SDXL checkpoint, without its text encoders; get the whole checkpoint",
})  # fmt: skip


def family_of(shapes: Shapes) -> str:
    """One of: sd1, sd1-part, sd1-inpaint, ip2p, sd2, sd2-depth, sd2-inpaint, sdxl, sdxl-part, sdxl-pruned, sdxl-inpaint, sdxl-ip2p,
    sdxl-refiner, sd3, flux, unclip, alt, svd, vae, vae-other, vae-diffusers, lora, embedding, unknown; and what control_family says."""
    if "model.diffusion_model.x_embedder.proj.weight" in shapes:
        return "sd3"
    if any(f"{prefix}double_blocks.0.img_attn.qkv.weight" in shapes for prefix in ("", "model.diffusion_model.")):
        return "flux"
    if control := control_family(shapes):
        return control
    if _has_prefix(shapes, "conditioner.embedders.1.model."):
        return _with_sdxl_texts(shapes)
    if _INPUT in shapes:
        return _with_ldm_unet(shapes)
    return _without_unet(shapes)


def added_family(shapes: Shapes, added: Sequence[NewFamily]) -> NewFamily | None:
    """The first of extensions' families that recognises a file. What this program draws itself is offered to none of them."""
    if not added or family_of(shapes) in DRAWABLE:
        return None
    return next((one for one in added if one.recognises(shapes)), None)


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
    if family in DRAWABLE or is_added(family):
        return None
    if reason := _ELSEWHERE.get(family) or control_elsewhere(family):
        return reason
    noun = _NOUNS.get(family, "no model that is known here")
    return f"is {noun}; this version draws SD 1.x, SD 2.x and SDXL"


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
    if reason := _ELSEWHERE.get(family) or control_elsewhere(family):
        return reason
    if family in DRAWABLE:
        return f"is {_NOUNS[family]}; put it into models/Stable-diffusion"
    if family in _NOUNS:
        return f"is {_NOUNS[family]}, not {wanted.removeprefix('no ')}"
    return f"is {wanted} that is known here"


def _with_sdxl_texts(shapes: Shapes) -> str:
    family = _BY_SDXL_INPUT.get(_input_channels(shapes), UNKNOWN)
    is_whole = _has_prefix(shapes, "model.diffusion_model.middle_block.1.transformer_blocks.")
    has_middle = _has_prefix(shapes, "model.diffusion_model.middle_block.")
    return "sdxl-pruned" if has_middle and not is_whole else family


def _with_ldm_unet(shapes: Shapes) -> str:
    channels = _input_channels(shapes)
    if "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight" in shapes:
        return "svd"
    if "embedder.model.ln_final.weight" in shapes:
        return "unclip"
    if _has_prefix(shapes, "cond_stage_model.roberta."):
        return "alt"
    if "model.diffusion_model.label_emb.0.0.weight" in shapes:
        return "sdxl-refiner" if _has_prefix(shapes, "conditioner.embedders.0.model.") else "sdxl-part"
    if _has_prefix(shapes, "depth_model."):
        return "sd2-depth"
    # SD Turbo is an SD 2.1 whose text encoder has the newer name.
    if _has_prefix(shapes, "cond_stage_model.model.") or _has_prefix(shapes, "conditioner.embedders.0.model."):
        return _BY_SD2_INPUT.get(channels, UNKNOWN)
    family = _BY_SD1_INPUT.get(channels, UNKNOWN)
    whole = _has_prefix(shapes, "cond_stage_model.transformer.") and _has_prefix(shapes, "first_stage_model.decoder.")
    return "sd1-part" if family == "sd1" and not whole else family


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
