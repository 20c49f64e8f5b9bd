"""Stable Diffusion XL, the base model (Podell et al. 2023), also for inpainting (9 channels).

Two text encoders, CLIP's ViT-L and OpenCLIP's ViT-bigG, each read before its last layer without the final norm. Beside them the UNet gets
bigG's pooled vector and six numbers: the size the picture is said to come from, where it is said to be cut, and the size wanted.
Metadata as in sd2.py, but text_attention_heads for the first encoder, and vae_scaling_factor is 0.13025.
"""

from __future__ import annotations

from collections.abc import Collection

from webui.core.settings import Settings
from webui.engine.families.base import Family, TextPart, has_any
from webui.engine.families.texts import TextShape, read_clip_shape, read_open_clip_shape
from webui.engine.families.unet import UNetShape, read_unet_shape
from webui.engine.loading import TensorFile
from webui.engine.text_encoders import TextReading

FIRST = ("conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.0.transformer.")
SECOND = ("conditioner.embedders.1.model.",)
NUMBERS = 6
LATENT_SCALE = 0.13025
TAESD = "taesdxl_decoder.safetensors"


def recognises(names: Collection[str]) -> bool:
    """Whether a file with these names is of this family."""
    return has_any(names, *SECOND)


def first_shape(file: TensorFile) -> TextShape:
    """The architecture of CLIP's text encoder."""
    return read_clip_shape(file, FIRST)


def second_shape(file: TensorFile) -> TextShape:
    """The architecture of OpenCLIP's text encoder."""
    return read_open_clip_shape(file, SECOND, projects=True)


def unet_shape(file: TensorFile) -> UNetShape:
    """The UNet's architecture."""
    return read_unet_shape(file, pooled=second_shape(file).projection, numbers=NUMBERS)


def numbers(size: tuple[int, int], settings: Settings, is_negative: bool) -> tuple[float, ...]:
    """Original height and width, crop from top and left, wanted height and width.  size: (width, height) in pixels."""
    width, height = size
    return height, width, settings.sdxl_crop_top, settings.sdxl_crop_left, height, width


SDXL = Family(
    name="SDXL",
    recognises=recognises,
    unet=unet_shape,
    texts=(
        TextPart(first_shape, TextReading(layer=2, normed=False, clip_skip="if wished")),
        TextPart(second_shape, TextReading(padding=0, layer=2, normed=False, pooled=True)),
    ),
    latent_scale=LATENT_SCALE,
    taesd=TAESD,
    numbers=numbers,
    zeroes_empty_negative=True,
)
