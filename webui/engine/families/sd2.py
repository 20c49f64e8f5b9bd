"""Stable Diffusion 2.x (Rombach et al. 2022), eps and v, also for inpainting (9 channels) and depth (5).

Its text encoder is OpenCLIP's ViT-H, read before its last block; heads have 64 channels; prompts are padded with 0.
Metadata as in sd1.py, but unet_head_channels (64) and open_clip_attention_heads (one per 64 channels).
SD Turbo's files use the newer layout for the text encoder.
"""

from __future__ import annotations

from collections.abc import Collection

from webui.engine.families.base import Family, TextPart, has_any
from webui.engine.families.texts import TextShape, read_open_clip_shape
from webui.engine.families.unet import read_unet_shape
from webui.engine.loading import TensorFile
from webui.engine.text_encoders import TextReading

TEXT = ("cond_stage_model.model.", "conditioner.embedders.0.model.")


def recognises(names: Collection[str]) -> bool:
    """Whether a file with these names is of this family, once it is known to be no SDXL."""
    return has_any(names, *TEXT)


def text_shape(file: TensorFile) -> TextShape:
    """The text encoder's architecture."""
    return read_open_clip_shape(file, TEXT, projects=False)


SD2 = Family(
    name="SD 2.x",
    recognises=recognises,
    unet=read_unet_shape,
    texts=(TextPart(text_shape, TextReading(padding=0)),),
    asks_unet=True,
)
