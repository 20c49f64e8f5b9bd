"""Stable Diffusion 1.x, also for inpainting (9 channels) and InstructPix2Pix (8).

What shapes cannot tell comes from the file's metadata, and is SD 1.x's own where that is silent:
prediction_type (epsilon), unet_attention_heads (8), text_attention_heads (one per 64 channels),
norm_num_groups_unet (32), norm_num_groups_vae (32), vae_scaling_factor (0.18215).
"""

from __future__ import annotations

from webui.engine.families.base import Family, TextPart
from webui.engine.families.texts import TextShape, read_clip_shape
from webui.engine.families.unet import UNetShape, read_unet_shape
from webui.engine.loading import TensorFile
from webui.engine.text_encoders import TextReading

TEXT = ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.")
HEADS = 8


def unet_shape(file: TensorFile) -> UNetShape:
    """The UNet's architecture."""
    return read_unet_shape(file, heads=HEADS)


def text_shape(file: TensorFile) -> TextShape:
    """The text encoder's architecture."""
    return read_clip_shape(file, TEXT)


SD1 = Family(
    name="SD 1.x",
    recognises=lambda names: True,  # the last one asked, so that what a damaged file lacks is told
    unet=unet_shape,
    texts=(TextPart(text_shape, TextReading(clip_skip="always")),),
)
