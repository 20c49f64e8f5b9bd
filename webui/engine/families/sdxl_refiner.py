"""The refiner of Stable Diffusion XL: OpenCLIP's ViT-bigG alone, and an aesthetic score in the place of the wanted size."""

from __future__ import annotations

from collections.abc import Collection

from webui.core.settings import Settings
from webui.engine.families.base import Family, TextPart, has_any
from webui.engine.families.sdxl import LATENT_SCALE, TAESD
from webui.engine.families.texts import TextShape, read_open_clip_shape
from webui.engine.families.unet import VECTOR, UNetShape, read_unet_shape
from webui.engine.loading import TensorFile
from webui.engine.text_encoders import TextReading

TEXT = ("conditioner.embedders.0.model.",)
NUMBERS = 5


def recognises(names: Collection[str]) -> bool:
    """Whether a file with these names is of this family, once it is known to be no SDXL base."""
    return VECTOR in names and has_any(names, *TEXT)


def text_shape(file: TensorFile) -> TextShape:
    """The text encoder's architecture."""
    return read_open_clip_shape(file, TEXT, projects=True)


def unet_shape(file: TensorFile) -> UNetShape:
    """The UNet's architecture."""
    return read_unet_shape(file, pooled=text_shape(file).projection, numbers=NUMBERS)


def numbers(size: tuple[int, int], settings: Settings, is_negative: bool) -> tuple[float, ...]:
    """Original height and width, crop from top and left, aesthetic score.  size: (width, height) in pixels."""
    width, height = size
    score = settings.sdxl_refiner_low_aesthetic_score if is_negative else settings.sdxl_refiner_high_aesthetic_score
    return height, width, settings.sdxl_crop_top, settings.sdxl_crop_left, score


SDXL_REFINER = Family(
    name="SDXL refiner",
    recognises=recognises,
    unet=unet_shape,
    texts=(TextPart(text_shape, TextReading(padding=0, layer=2, normed=False, pooled=True)),),
    latent_scale=LATENT_SCALE,
    taesd=TAESD,
    numbers=numbers,
    zeroes_empty_negative=True,
)
