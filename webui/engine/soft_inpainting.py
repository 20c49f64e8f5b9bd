"""Soft inpainting: a mask's grey is how much is drawn anew, more freely at first, and the original is laid over where little changed.

The arithmetic is that of A1111's built-in extension of this name. One thing differs: where the mask is black, the original stays
to the pixel, which the extension's final blur does not promise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

from webui.core.request import GenerationRequest
from webui.engine.masking import FILL, Box, resize

# Of the filter that calms the map of differences: standard deviation and reach, in latents.
KERNEL_DEVIATION, KERNEL_REACH = 1.5, 2
# Pixels; takes the steps out of an edge that was as coarse as the latents.
EDGE_BLUR = 4


@dataclass(frozen=True)
class SoftInpainting:
    """The settings of one job.  See the parameters of the same names."""

    bias: float
    preservation: float
    contrast: float
    mask_influence: float
    threshold: float
    difference_contrast: float

    def blended(self, kept: torch.Tensor, original: torch.Tensor, drawn: torch.Tensor, sigma: float) -> torch.Tensor:
        """Original and drawn latents (B, C, h, w) mixed by how much is drawn anew at this noise level.

        kept: (B, 1, h, w), 1 where the original stays.   Vectors are mixed linearly, and their lengths apart from them.
        """
        share = (1 - kept) ** (sigma**self.bias * self.preservation)
        mixed = original * (1 - share) + drawn * share
        length = mixed.double().norm(dim=1, keepdim=True) + 1e-5
        lengths = [latents.double().norm(dim=1, keepdim=True) ** self.contrast for latents in (original, drawn)]
        wanted = (lengths[0] * (1 - share) + lengths[1] * share) ** (1 / self.contrast)
        return (mixed * (wanted / length)).to(drawn.dtype)

    def laid_over(self, kept: torch.Tensor, original: torch.Tensor, drawn: torch.Tensor, size: tuple[int, int]) -> Image.Image:
        """Where the drawn picture shows (white) and where the original (black), from how much the latents (C, h, w) have changed.

        kept: (1, h, w).   size: of the drawn picture, pixels.
        """
        free = (1 - kept[0]).clamp(0, 1).cpu().numpy().astype(np.float64)
        influence = 0.5 * (1 - self.mask_influence) + (1 - free ** (self.preservation / 2)) * self.mask_influence
        half = self.threshold * influence / (1.00001 - influence)
        distance = (drawn - original).double().norm(dim=0).cpu().numpy()
        distance = percentile_mean(percentile_mean(distance, 0.9, 1.0), 0.25, 0.75)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(distance > 0, distance / half, 0.0)
            stays = 1 / (1 + ratio**self.difference_contrast)
        levels = (255 * (1 - smootherstep(stays))).astype(np.uint8)
        mask = resize(Image.fromarray(levels).convert("RGB"), FILL, *size).convert("L")
        return mask.filter(ImageFilter.GaussianBlur(EDGE_BLUR))


def read_soft_inpainting(request: GenerationRequest) -> SoftInpainting | None:
    """What a request asks for."""
    if not request.soft_inpainting:
        return None
    return SoftInpainting(
        request.soft_schedule_bias,
        request.soft_preservation_strength,
        request.soft_transition_contrast,
        request.soft_mask_influence,
        request.soft_difference_threshold,
        request.soft_difference_contrast,
    )


def soft_pairs(request: GenerationRequest) -> dict[str, str]:
    """Infotext pairs, under the keys of A1111's extension."""
    if not request.soft_inpainting:
        return {}
    return {
        "Soft inpainting enabled": "True",
        "Soft inpainting schedule bias": str(request.soft_schedule_bias),
        "Soft inpainting preservation strength": str(request.soft_preservation_strength),
        "Soft inpainting transition contrast boost": str(request.soft_transition_contrast),
        "Soft inpainting mask influence": str(request.soft_mask_influence),
        "Soft inpainting difference threshold": str(request.soft_difference_threshold),
        "Soft inpainting difference contrast": str(request.soft_difference_contrast),
    }


def on_whole_picture(mask: Image.Image, picture: tuple[int, int], box: Box | None, user_mask: Image.Image) -> Image.Image:
    """The mask of the drawn part as it lies on the whole picture, black wherever the user's (softened) mask is."""
    if box:
        canvas = Image.new("L", picture)
        canvas.paste(mask.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.LANCZOS), (box[0], box[1]))
        mask = canvas
    allowed = user_mask.convert("L").point(lambda value: 255 if value else 0)
    return ImageChops.multiply(mask, allowed)


def smootherstep(x: np.ndarray) -> np.ndarray:
    """0..1 to 0..1, flat at both ends.  Source: Perlin 2002."""
    return x**3 * (x * (x * 6 - 15) + 10)


def percentile_mean(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Of each place's neighbourhood, weighted by a Gaussian, the mean of what lies between two percentiles.

    values: (h, w).   low, high: 0..1.   Between 0.25 and 0.75 it is a softened median, between 0.9 and 1 a softened maximum.
    """
    reach = range(-KERNEL_REACH, KERNEL_REACH + 1)
    height, width = values.shape
    rows, columns = np.arange(height), np.arange(width)
    stack, weights = [], []
    for down in reach:
        for across in reach:
            inside = ((rows + down >= 0) & (rows + down < height))[:, None] & ((columns + across >= 0) & (columns + across < width))[None]
            row, column = np.clip(rows + down, 0, height - 1), np.clip(columns + across, 0, width - 1)
            stack.append(values[row][:, column])
            weights.append(np.exp(-(down**2 + across**2) / (2 * KERNEL_DEVIATION**2)) * inside)
    order = np.argsort(np.stack(stack), axis=0, kind="stable")
    ordered = np.take_along_axis(np.stack(stack), order, axis=0)
    weight = np.take_along_axis(np.stack(weights), order, axis=0)
    weight = weight / weight.sum(axis=0)
    end = weight.cumsum(axis=0)
    part = np.clip(np.minimum(end, high) - np.maximum(end - weight, low), 0, None)
    total = part.sum(axis=0)
    return np.where(total > 0, (ordered * part).sum(axis=0) / np.where(total > 0, total, 1), ordered[-1])
