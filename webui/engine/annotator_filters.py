"""Preprocessors that need no weights: arithmetic on pixels, after sd-webui-controlnet's of the same names.

Each takes a picture (h, w, 3) of whole levels in RGB, and its numbers, and gives such a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # of np.uint8; cv2's answers do not say it
Filter = Callable[[Pixels, int, float, float], Pixels]

# Pixels between two points of the random map by which "shuffle" moves colours.
SHUFFLE_GRID = 256


def resized(pixels: Pixels, resolution: int) -> Pixels:
    """The picture with its shorter side of so many pixels."""
    factor = resolution / min(pixels.shape[:2])
    size = max(1, int(np.round(pixels.shape[1] * factor))), max(1, int(np.round(pixels.shape[0] * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)


def _same(pixels: Pixels, resolution: int, a: float, b: float) -> Pixels:
    return pixels


def _inverted(pixels: Pixels, resolution: int, a: float, b: float) -> Pixels:
    return 255 - pixels


def _canny(pixels: Pixels, resolution: int, low: float, high: float) -> Pixels:
    """Edges by Canny 1986; they end where the gradient falls below `low` and begin where it passes `high`."""
    return _grey(cv2.Canny(resized(pixels, resolution), int(low), int(high)))


def _lineart_standard(pixels: Pixels, resolution: int, a: float, b: float) -> Pixels:
    """How much darker each pixel is than its surroundings, in its darkest channel; the usual line comes to half the brightness."""
    levels = resized(pixels, resolution).astype(np.float32)
    darker = (cv2.GaussianBlur(levels, (0, 0), 6.0) - levels).min(axis=2).clip(0, 255)
    lines = darker[darker > 8]
    usual = max(16.0, float(np.median(lines)) if lines.size else 0.0)
    return _grey((darker / usual * 127).clip(0, 255).astype(np.uint8))


def _xdog(pixels: Pixels, resolution: int, threshold: float, b: float) -> Pixels:
    """Scribbles: where a narrow blur is darker than a wide one by half the threshold (Winnemöller 2011)."""
    levels = resized(pixels, resolution).astype(np.float32)
    darker = (cv2.GaussianBlur(levels, (0, 0), 5.0) - cv2.GaussianBlur(levels, (0, 0), 0.5)).min(axis=2)
    return _grey(np.where(2 * darker.clip(0, 255) > threshold, 255, 0).astype(np.uint8))


def _threshold(pixels: Pixels, resolution: int, level: float, b: float) -> Pixels:
    """White where all channels are brighter than the level."""
    return _grey(np.where(resized(pixels, resolution).min(axis=2) > level, 255, 0).astype(np.uint8))


def _blurred(pixels: Pixels, resolution: int, sigma: float, b: float) -> Pixels:
    return cv2.GaussianBlur(resized(pixels, resolution), (0, 0), float(sigma))


def _tile(pixels: Pixels, resolution: int, rate: float, b: float) -> Pixels:
    """Smaller by the rate, so that details are drawn anew."""
    if rate < 1.1:
        return pixels
    size = max(1, int(pixels.shape[1] / rate)), max(1, int(pixels.shape[0] / rate))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _luminance(pixels: Pixels, resolution: int, gamma: float, b: float) -> Pixels:
    return _corrected(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[..., 0], gamma)


def _intensity(pixels: Pixels, resolution: int, gamma: float, b: float) -> Pixels:
    return _corrected(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 2], gamma)


def _shuffled(pixels: Pixels, resolution: int, a: float, b: float) -> Pixels:
    """The picture's colours without its shapes: each pixel is taken from a place that a smooth random map says.

    The map follows from the picture, so that a job gives the same picture again.
    """
    small = resized(pixels, resolution)
    height, width = small.shape[:2]
    random = np.random.default_rng(zlib.crc32(small.tobytes()))
    across, down = (_smooth_noise(random, height, width) * (side - 1) for side in (width, height))
    return cv2.remap(small, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)


def _smooth_noise(random: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """(height, width) in 0..1, both of which it reaches."""
    grid = SHUFFLE_GRID
    noise = random.random((height // grid + 2, width // grid + 2))
    larger = cv2.resize(noise, (width + 2 * grid, height + 2 * grid), interpolation=cv2.INTER_CUBIC)[grid:-grid, grid:-grid]
    smooth = np.asarray(larger, dtype=np.float64) - float(larger.min())
    return smooth / max(float(smooth.max()), 1e-9)


def _corrected(levels: Pixels, gamma: float) -> Pixels:
    return _grey(((levels.astype(np.float32) / 255) ** gamma * 255).clip(0, 255).astype(np.uint8))


def _grey(levels: Pixels) -> Pixels:
    return np.repeat(levels[..., None], 3, axis=2)


FILTERS: Mapping[str, Filter] = MappingProxyType({
    "none": _same,
    "invert": _inverted,
    "canny": _canny,
    "lineart_standard": _lineart_standard,
    "scribble_xdog": _xdog,
    "threshold": _threshold,
    "blur_gaussian": _blurred,
    "tile_resample": _tile,
    "recolor_luminance": _luminance,
    "recolor_intensity": _intensity,
    "shuffle": _shuffled,
    # What the mask shows is left out of them only when they are made to fit the drawing.
    "inpaint": _same,
    "inpaint_only": _same,
})  # fmt: skip
