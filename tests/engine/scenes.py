"""Pictures and masks to start from, and diffusers' Euler to compare with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler
from PIL import Image

from tests.engine.tiny_models import TinyModel
from webui.core.ports import Work
from webui.engine.vae import encode_picture

Begin = Callable[..., Work]


def scene(width: int = 64, height: int = 64, seed: int = 1) -> Image.Image:
    """Smooth colours."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def left_half(width: int = 64, height: int = 64) -> Image.Image:
    """White on the left."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return mask


def ramp(width: int = 64, height: int = 64) -> Image.Image:
    """From black on the left to white on the right."""
    return Image.fromarray(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1)))


def euler(model: TinyModel) -> EulerDiscreteScheduler:
    """With the noise levels that ours has under "Uniform"."""
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace", steps_offset=1,
        prediction_type=model.shape.prediction,
    )  # fmt: skip


def encoded(model: TinyModel, image: Image.Image) -> torch.Tensor:
    """Its latents (1, 4, h, w)."""
    with torch.inference_mode():
        return encode_picture(model.vae, image)
