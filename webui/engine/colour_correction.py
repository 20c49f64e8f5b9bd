"""Giving a drawn picture the colours of the one it began from, as A1111's option of that name."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image
from skimage.exposure import match_histograms

# How much red, green and blue weigh in brightness.  Source: W3C Compositing and Blending Level 1, section 10.
LUMINOSITY = (0.3, 0.59, 0.11)


def with_colours_of(original: Image.Image, drawn: Image.Image) -> Image.Image:
    """The drawn picture (RGB) with the original's distribution of lightness and colour, and then its own brightness again."""
    lab = [cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2LAB) for image in (drawn, original)]
    matched = cv2.cvtColor(match_histograms(lab[0], lab[1], channel_axis=2).astype(np.uint8), cv2.COLOR_LAB2RGB)
    return Image.fromarray(with_luminosity_of(np.asarray(drawn.convert("RGB")), matched))


def with_luminosity_of(bright: np.ndarray, coloured: np.ndarray) -> np.ndarray:
    """Hue and saturation of one picture under the brightness of another; both (H, W, 3) uint8.  Source: as above, "luminosity"."""
    weights = np.array(LUMINOSITY)
    wanted = (bright / 255.0) @ weights
    colours = coloured / 255.0
    colours = colours + (wanted - colours @ weights)[..., None]
    low, high = colours.min(axis=-1, keepdims=True), colours.max(axis=-1, keepdims=True)
    middle = wanted[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = np.where(low < 0, middle + (colours - middle) * middle / (middle - low), colours)
        high = np.where(low < 0, middle + (high - middle) * middle / (middle - low), high)
        colours = np.where(high > 1, middle + (colours - middle) * (1 - middle) / (high - middle), colours)
    return (np.clip(np.nan_to_num(colours), 0, 1) * 255).round().astype(np.uint8)
