"""What some UNets want beside the noisy latents: the masked picture (inpainting), its depth (depth2img), the picture (instruct-pix2pix).

How many channels a UNet has more than its latents tells which of them it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from webui.core.errors import InvalidRequest, ModelError
from webui.core.request import GenerationRequest
from webui.engine.masking import resize
from webui.engine.pipeline_manager import Pipeline
from webui.engine.vae import encode_pixels

NOTHING, DEPTH, PICTURE, MASKED_PICTURE = 0, 1, 4, 5

EstimateDepth = Callable[[Image.Image], np.ndarray]
"""A picture's depth as (H, W) numbers of any range; more is nearer."""


def no_estimator(image: Image.Image) -> np.ndarray:
    """Where there is nothing that estimates depth.  Raises InvalidRequest."""
    raise InvalidRequest("There is no depth estimator. Put a DPT model into models/Depth, or give a depth map.")


@dataclass(frozen=True)
class Given:
    """What the channels are made of.

    picture: as it is encoded, None where there is none.   mask: of the same size, mode "L", white is drawn anew.
    depth: the depth map to use, None to estimate it from the picture.
    """

    picture: Image.Image | None = None
    mask: Image.Image | None = None
    depth: Image.Image | None = None


def extra_channels_of(pipeline: Pipeline) -> int:
    """How many channels the UNet wants beside the latents.  Raises ModelError for a number that no known model has."""
    extra = pipeline.extra_channels
    if extra not in (NOTHING, DEPTH, PICTURE, MASKED_PICTURE):
        raise ModelError(
            f"This checkpoint's UNet has {extra} more channels than its latents; known are 1 (depth2img), 4 (instruct-pix2pix) and "
            "5 (inpainting). Choose another checkpoint."
        )
    return extra


def extra_channels(
    pipeline: Pipeline,
    request: GenerationRequest,
    given: Given,
    *,
    size: tuple[int, int],
    estimate: EstimateDepth,
    mask_weight: float = 1.0,
) -> torch.Tensor | None:
    """(1, E, h, w) for one picture; None where the UNet wants nothing.

    size: (h, w) of the latents.   mask_weight: how much of what is masked is hidden from an inpainting model, 0..1.
    Raises InvalidRequest when the model needs a picture or a depth map and there is none.
    """
    extra = extra_channels_of(pipeline)
    if extra == MASKED_PICTURE:
        return _masked_picture(pipeline, request, given, size, mask_weight)
    if extra == DEPTH:
        return depth_channel(request, given, size=size, estimate=estimate)
    if extra == PICTURE:
        if given.picture is None:
            raise InvalidRequest("This is an instruct-pix2pix checkpoint: it changes a picture. Give it one in img2img, or choose another.")
        # The model was trained on latents that are not scaled.
        latents = encode_pixels(pipeline.vae, _pixels(given.picture)) / pipeline.vae.config["scaling_factor"]
        return functional.interpolate(latents, size=size, mode="nearest") if latents.shape[2:] != size else latents
    return None


def depth_channel(request: GenerationRequest, given: Given, *, size: tuple[int, int], estimate: EstimateDepth) -> torch.Tensor:
    """(1, 1, h, w) in [-1, 1], 1 is nearest.  Raises InvalidRequest when there is neither a picture nor a depth map."""
    if given.depth is not None:
        depth = np.asarray(given.depth.convert("L"), dtype=np.float32)
    elif given.picture is not None:
        depth = estimate(given.picture).astype(np.float32)
    else:
        raise InvalidRequest("This is a depth checkpoint: it needs a picture or a depth map. Give it one in depth2img, or choose another.")
    small = functional.interpolate(torch.from_numpy(depth)[None, None], size=size, mode="bicubic", align_corners=False)
    return read_depth(request, small)


def read_depth(request: GenerationRequest, depth: torch.Tensor) -> torch.Tensor:
    """Depth of any range as the request wants it read: to [-1, 1], inverted, cut off at near and far."""
    low, high = depth.amin(), depth.amax()
    share = (depth - low) / (high - low) if high > low else torch.zeros_like(depth)
    if request.depth_invert:
        share = 1 - share
    return ((share - request.depth_far) / (request.depth_near - request.depth_far)).clamp(0, 1) * 2 - 1


def depth_picture(request: GenerationRequest, depth: np.ndarray) -> Image.Image:
    """Depth (H, W) of any range as a person sees it: mode "L", white is near."""
    levels = (read_depth(request, torch.from_numpy(depth.astype(np.float32))) + 1) / 2 * 255
    return Image.fromarray(levels.round().byte().numpy())


def _masked_picture(
    pipeline: Pipeline, request: GenerationRequest, given: Given, size: tuple[int, int], mask_weight: float
) -> torch.Tensor:
    """The mask, then the latents of the picture without what is masked. Without a mask all is masked: grey."""
    if given.picture is None or given.mask is None:
        whole = torch.zeros(1, 3, *(side * pipeline.downscale for side in size)) if given.picture is None else _pixels(given.picture)
        mask = torch.ones(1, 1, *whole.shape[2:])
    else:
        whole, mask = _pixels(given.picture), torch.from_numpy(np.asarray(given.mask, dtype=np.float32) / 255)[None, None]
        mask = mask.round() if request.mask_round else mask
    latents = encode_pixels(pipeline.vae, torch.lerp(whole, whole * (1 - mask), mask_weight))
    if latents.shape[2:] != size:
        latents = functional.interpolate(latents, size=size, mode="nearest")
    return torch.cat([functional.interpolate(mask, size=size).to(latents), latents], dim=1)


def _pixels(image: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1


def fitted(image: Image.Image, request: GenerationRequest) -> Image.Image:
    """A depth map brought to the size of drawing as the picture is."""
    return resize(image, request.resize_mode, request.width, request.height)
