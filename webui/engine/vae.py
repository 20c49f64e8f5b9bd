"""Latents to pictures: one at a time, in a wider type when numbers overflow, in tiles when memory runs out."""

from __future__ import annotations

import logging

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from webui.core.errors import OutOfMemory, WebuiError
from webui.engine.device import is_out_of_memory, release_memory

log = logging.getLogger(__name__)

TILE = 64
TILE_OVERLAP = 0.25


class NotANumber(WebuiError):
    """The model returned NaN; A1111's clients look for the words of this message."""


def decode_picture(vae: AutoencoderKL, latent: torch.Tensor) -> Image.Image:
    """Decode one latent (C, h, w) to an RGB picture of 8 times its size.

    Raises OutOfMemory when not even a tile fits, NotANumber when the result is NaN in every precision.
    """
    return to_image(_decode_in_sound_precision(vae, latent[None] / vae.config["scaling_factor"]))


def to_image(pixels: torch.Tensor) -> Image.Image:
    """pixels: (1, 3, H, W) in [-1, 1]; values are cut off to whole levels, as in A1111."""
    levels = ((pixels[0].float() + 1) / 2).clamp(0, 1) * 255
    return Image.fromarray(levels.byte().permute(1, 2, 0).cpu().numpy())


def _decode_in_sound_precision(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    pixels = _decode_in_memory(vae, latents.to(vae.dtype))
    if not pixels.isnan().any():
        return pixels
    if vae.dtype != torch.float32:
        log.warning("The VAE overflows in %s; decoding in float32.", vae.dtype)
        narrow = vae.dtype
        vae.to(torch.float32)
        try:
            pixels = _decode_in_memory(vae, latents.float())
        finally:
            vae.to(narrow)
    if pixels.isnan().any():
        raise NotANumber("A tensor with all NaNs was produced in VAE. Choose another VAE or checkpoint, or start with --no-half-vae.")
    return pixels


def _decode_in_memory(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    try:
        return vae.decode(latents, return_dict=False)[0]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    release_memory(latents.device)
    log.warning("Too little memory to decode %s latents at once; decoding in tiles.", "x".join(map(str, latents.shape[-2:])))
    try:
        return decode_in_tiles(vae, latents)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    release_memory(latents.device)
    raise OutOfMemory("out of memory: the picture cannot be decoded, not even in tiles. Make it smaller, or start with --medvram.")


def decode_in_tiles(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Decode overlapping tiles and blend their edges; close to the whole, in a fraction of the memory."""
    scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
    tile = min(TILE, *(max(16, side // 2) for side in latents.shape[-2:]))
    vae.tile_latent_min_size, vae.tile_sample_min_size, vae.tile_overlap_factor = tile, tile * scale, TILE_OVERLAP
    return vae.tiled_decode(latents, return_dict=False)[0]


def encode_picture(vae: AutoencoderKL, image: Image.Image) -> torch.Tensor:
    """The latents (1, C, h, w) of a picture."""
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)[None]
    return encode_pixels(vae, pixels * 2 - 1)


def encode_pixels(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """The latents (1, C, h, w) of pixels (1, 3, H, W) in [-1, 1]: the middle of what the encoder says, so that they are always the same."""
    encoded = vae.encode(pixels.to(device=vae.device, dtype=vae.dtype)).latent_dist.mode()
    return encoded.float() * vae.config["scaling_factor"]
