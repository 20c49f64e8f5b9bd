"""One picture as it enters: decoded, with more canvas around it, brought to size, cut to what its mask shows, encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional

from webui.core.errors import InvalidRequest
from webui.core.images import decode_image
from webui.core.request import GenerationRequest
from webui.core.request_parts.picture import INPAINT_AREAS, MASK_MODES, RESIZE_MODES
from webui.core.settings import Settings
from webui.engine.extra_channels import EstimateDepth, Given, extra_channels
from webui.engine.masking import (
    FILL,
    Box,
    Overlay,
    blur,
    crop_around,
    doubled,
    extended,
    fill_masked,
    flatten,
    overlay_of,
    read_mask,
    resize,
)
from webui.engine.pipeline_manager import Pipeline
from webui.engine.vae import encode_picture

Enlarge = Callable[[Image.Image, int, int], Image.Image]
LATENT_UPSCALE = RESIZE_MODES[3]
ONLY_MASKED = INPAINT_AREAS[1]
# A latent upscale encodes the picture in its own size, which takes some kilobytes a pixel.
MAX_ENCODED_PIXELS = 2048 * 2048
MAX_SIDE_OUTPAINTED = 16384


@dataclass(frozen=True)
class Inputs:
    """What pictures are read with.

    files: of the request's pictures.   estimate: how depth is told where a model wants it.
    enlarge: called before a picture is brought to a size.
    """

    files: Mapping[str, Path]
    settings: Settings
    estimate: EstimateDepth
    enlarge: Enlarge = lambda image, width, height: image


@dataclass(frozen=True)
class Part:
    """What one picture gives to the batch.

    latents: (1, C, h, w).   kept: (1, 1, h, w), 1 where they stay.   channels: (1, E, h, w) that the UNet wants beside them.
    overlay: what is laid over the result.   laid_over: the picture that it is made of, at its size.   drawn_from: as it was encoded.
    """

    latents: torch.Tensor
    kept: torch.Tensor
    channels: torch.Tensor | None
    overlay: Overlay | None
    laid_over: Image.Image
    drawn_from: Image.Image
    is_masked: bool


@dataclass(frozen=True)
class _Masked:
    """One picture's mask at the size of drawing.  over: at the size of the picture;   box: what is cut out of it."""

    mask: Image.Image
    over: Image.Image
    box: Box | None


def given_mask(request: GenerationRequest, files: Mapping[str, Path]) -> Image.Image | None:
    """The mask as it was sent, white what is drawn anew; None without one."""
    if not request.mask:
        return None
    mask = read_mask(decode_image(files[request.mask].read_bytes()), rounded=request.mask_round)
    return mask if request.mask_mode == MASK_MODES[0] else ImageOps.invert(mask)


def given_depth(request: GenerationRequest, inputs: Inputs) -> Image.Image | None:
    """The depth map that was sent."""
    return flatten(decode_image(inputs.files[request.depth_map].read_bytes())).convert("L") if request.depth_map else None


def read_picture(
    request: GenerationRequest, name: str, mask: Image.Image | None, depth: Image.Image | None, pipeline: Pipeline, inputs: Inputs
) -> Part:
    """name: the picture's hash.   mask, depth: as they were sent, of any size.   Raises InvalidRequest."""
    original = flatten(decode_image(inputs.files[name].read_bytes()), inputs.settings.img2img_background_color)
    original, mask = outpainted(request, original, mask)
    if request.resize_mode == LATENT_UPSCALE and original.width * original.height > MAX_ENCODED_PIXELS:
        raise InvalidRequest(
            f"The picture is {original.width}x{original.height}; for a latent upscale it may have {MAX_ENCODED_PIXELS} pixels. "
            "Choose another resize mode, or a smaller picture."
        )
    masked = _masked(request, mask, original.size) if mask else None
    picture, laid_over, overlay = _picture(request, original, masked, inputs.enlarge)
    if min(picture.size) < pipeline.downscale:  # less than one latent
        picture = picture.resize((max(picture.width, pipeline.downscale), max(picture.height, pipeline.downscale)))
    size = (request.height // pipeline.downscale, request.width // pipeline.downscale)
    latents = encode_picture(pipeline.vae, picture)
    if request.resize_mode == LATENT_UPSCALE:
        latents = functional.interpolate(latents, size=size, mode="bilinear", antialias=False)
    kept = _kept(masked.mask, size, rounded=_is_rounded(request)) if masked else torch.zeros(1, 1, *size)
    given = Given(
        picture, _of_size(masked.mask, picture.size).convert("L") if masked else None, _depth(request, depth, original.size, masked)
    )
    channels = extra_channels(
        pipeline, request, given, size=size, estimate=inputs.estimate, mask_weight=inputs.settings.inpainting_mask_weight
    )
    return Part(latents, kept, channels, overlay, laid_over, picture, masked is not None)


def outpainted(request: GenerationRequest, image: Image.Image, mask: Image.Image | None) -> tuple[Image.Image, Image.Image | None]:
    """The picture on its larger canvas; all that is new is white in the mask."""
    if not any(request.outpainting):
        return image, mask
    left, up, right, down = request.outpainting
    width, height = image.width + left + right, image.height + up + down
    if max(width, height) > MAX_SIDE_OUTPAINTED:
        raise InvalidRequest(f"outpaint: the picture would be {width}x{height}; a side has at most {MAX_SIDE_OUTPAINTED}. Add less.")
    inner = _of_size(mask, image.size) if mask else Image.new("L", image.size)
    canvas = Image.new("L", (width, height), 255)
    canvas.paste(inner, (left, up))
    return extended(image, request.outpainting), canvas


def _depth(request: GenerationRequest, depth: Image.Image | None, size: tuple[int, int], masked: _Masked | None) -> Image.Image | None:
    """A depth map cut and brought to size as the picture is."""
    if depth is None:
        return None
    depth = _of_size(depth, size)
    if masked and masked.box:
        return resize(depth.crop(masked.box), FILL, request.width, request.height)
    return resize(depth, request.resize_mode, request.width, request.height)


def _masked(request: GenerationRequest, mask: Image.Image, size: tuple[int, int]) -> _Masked | None:
    """A mask as it lies on a picture of this size; None where only what it shows is to be drawn, and it shows nothing."""
    mask = blur(_of_size(mask, size), request.mask_blur_x, request.mask_blur_y)
    if request.inpaint_area != ONLY_MASKED:
        mask = resize(mask, request.resize_mode, request.width, request.height)
        return _Masked(mask, doubled(mask), None)
    box = crop_around(mask, request.masked_padding, request.width, request.height)
    if box is None:
        return None
    return _Masked(resize(mask.crop(box), FILL, request.width, request.height), mask, box)


def masked_box(request: GenerationRequest, mask: Image.Image, size: tuple[int, int]) -> Box | None:
    """What is cut out of a picture of this size where only what its mask shows is drawn; None where nothing is."""
    masked = _masked(request, mask, size)
    return masked.box if masked else None


def _picture(
    request: GenerationRequest, image: Image.Image, masked: _Masked | None, enlarge: Enlarge
) -> tuple[Image.Image, Image.Image, Overlay | None]:
    """A picture as it is encoded, as it is laid over the result, and what of it."""
    if masked and masked.box:
        laid_over = image
        image = resize(enlarge(image.crop(masked.box), request.width, request.height), FILL, request.width, request.height)
    else:
        larger = image if request.resize_mode == LATENT_UPSCALE else enlarge(image, request.width, request.height)
        laid_over = resize(larger, request.resize_mode, request.width, request.height)
        image = image if request.resize_mode == LATENT_UPSCALE else laid_over
    if masked is None:
        return image, laid_over, None
    overlay = overlay_of(laid_over, masked.over, masked.box)
    if request.masked_content == "original":
        return image, laid_over, overlay
    return fill_masked(image, _of_size(masked.mask, image.size)), laid_over, overlay


def _of_size(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Brought to that size without the ripples of a sharper filter, where the picture is to stay."""
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)


def _is_rounded(request: GenerationRequest) -> bool:
    return request.mask_round and not request.soft_inpainting


def _kept(mask: Image.Image, size: tuple[int, int], *, rounded: bool) -> torch.Tensor:
    """(1, 1, h, w): 1 where the mask is black."""
    small = np.asarray(mask.convert("RGB").resize((size[1], size[0])), dtype=np.float32)[..., 0] / 255
    return torch.from_numpy(1 - (np.around(small) if rounded else small))[None, None]
