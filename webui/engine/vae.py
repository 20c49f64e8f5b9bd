"""Latents to pictures and back: one at a time, in a wider type when numbers overflow, in tiles when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from webui.core.errors import OutOfMemory, WebuiError
from webui.engine.device import is_out_of_memory, release_memory

log = logging.getLogger(__name__)

TILE = 64
TILE_OVERLAP = 0.25

Compute = Callable[[AutoencoderKL, torch.Tensor], torch.Tensor]


class NotANumber(WebuiError):
    """The model returned NaN; A1111's clients look for the words of this message."""


def decode_picture(vae: AutoencoderKL, latent: torch.Tensor) -> Image.Image:
    """Decode one latent (C, h, w) to an RGB picture of 8 times its size.

    Raises OutOfMemory when not even a tile fits, NotANumber when the result is NaN in every precision.
    """
    decode = _in_memory(_decode_whole, decode_in_tiles, "decoded")
    return to_image(_in_sound_precision(vae, decode, latent[None] / vae.config["scaling_factor"]))


def to_image(pixels: torch.Tensor) -> Image.Image:
    """pixels: (1, 3, H, W) in [-1, 1]; values are cut off to whole levels, as in A1111."""
    levels = ((pixels[0].float() + 1) / 2).clamp(0, 1) * 255
    return Image.fromarray(levels.byte().permute(1, 2, 0).cpu().numpy())


def _in_sound_precision(vae: AutoencoderKL, run: Compute, given: torch.Tensor) -> torch.Tensor:
    """What run makes of the tensor in the VAE's own type; in float32 when that overflows.  Raises NotANumber."""
    made = run(vae, given.to(vae.dtype))
    if not made.isnan().any():
        return made
    if vae.dtype != torch.float32:
        log.warning("The VAE overflows in %s; once more in float32.", vae.dtype)
        narrow = vae.dtype
        vae.to(torch.float32)
        try:
            made = run(vae, given.float())
        finally:
            vae.to(narrow)
    if made.isnan().any():
        raise NotANumber("A tensor with all NaNs was produced in VAE. Choose another VAE or checkpoint, or start with --no-half-vae.")
    return made


def _in_memory(whole: Compute, tiled: Compute, doing: str) -> Compute:
    """The whole at once, in tiles when memory runs out.  doing: what is done, for messages.  The answer raises OutOfMemory."""

    def run(vae: AutoencoderKL, given: torch.Tensor) -> torch.Tensor:
        try:
            return whole(vae, given)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release_memory(given.device)
        log.warning("Too little memory for %s at once: the picture is %s in tiles.", "x".join(map(str, given.shape[-2:])), doing)
        try:
            return tiled(vae, given)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release_memory(given.device)
        raise OutOfMemory(f"out of memory: the picture cannot be {doing}, not even in tiles. Make it smaller, or start with --medvram.")

    return run


def _decode_whole(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    decoded: torch.Tensor = vae.decode(latents, return_dict=False)[0]
    return decoded


def decode_in_tiles(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Decode overlapping tiles and blend their edges; close to the whole, in a fraction of the memory."""
    _set_tiles(vae, latents.shape[-2:])
    decoded: torch.Tensor = vae.tiled_decode(latents, return_dict=False)[0]
    return decoded


def _encode_whole(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    middle: torch.Tensor = vae.encode(pixels).latent_dist.mode()
    return middle


def encode_in_tiles(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """As decode_in_tiles, the other way: pixels (B, 3, H, W) to latents that are not scaled yet."""
    _set_tiles(vae, [side // _downscale(vae) for side in pixels.shape[-2:]])
    vae.enable_tiling()
    try:
        return _encode_whole(vae, pixels)
    finally:
        vae.disable_tiling()


def _set_tiles(vae: AutoencoderKL, latent_size: Sequence[int]) -> None:
    tile = min(TILE, *(max(16, side // 2) for side in latent_size))
    vae.tile_latent_min_size, vae.tile_sample_min_size, vae.tile_overlap_factor = tile, tile * _downscale(vae), TILE_OVERLAP


def _downscale(vae: AutoencoderKL) -> int:
    """Pixels a latent stands for, in each direction."""
    return int(2 ** (len(vae.config["block_out_channels"]) - 1))


def encode_picture(vae: AutoencoderKL, image: Image.Image) -> torch.Tensor:
    """The latents (1, C, h, w) of a picture."""
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)[None]
    return encode_pixels(vae, pixels * 2 - 1)


def encode_pixels(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """The latents (1, C, h, w) of pixels (1, 3, H, W) in [-1, 1]: the middle of what the encoder says, so that they are always the same.

    Raises OutOfMemory when not even a tile fits, NotANumber when the result is NaN in every precision.
    """
    encode = _in_memory(_encode_whole, encode_in_tiles, "encoded")
    encoded = _in_sound_precision(vae, encode, pixels.to(vae.device))
    return encoded.float() * vae.config["scaling_factor"]
