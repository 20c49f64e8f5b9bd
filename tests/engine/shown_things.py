"""Things drawn by code, as tests show them to models: their masks, depth maps and pictures, and where a thing is in what was drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 128
COLOURS = {"red": (216, 40, 44), "green": (62, 166, 68), "blue": (42, 98, 214), "yellow": (250, 214, 48), "white": (244, 244, 244)}


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """(128, 128) bool; in pixels."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def box(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """(128, 128) bool; in pixels."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def depth_map(mask: np.ndarray) -> Image.Image:
    """The thing near, all else far; mode "L"."""
    return Image.fromarray(np.where(mask, 220, 15).astype(np.uint8))


def picture(mask: np.ndarray, thing: str, ground: str) -> Image.Image:
    """A thing of one colour on a ground of another."""
    return Image.fromarray(np.where(mask[..., None], COLOURS[thing], COLOURS[ground]).astype(np.uint8))


def found(pixels: np.ndarray, thing: str, ground: str) -> np.ndarray:
    """(128, 128) bool: the pixels whose colour is nearer to the thing's than to the ground's."""
    away = [np.square(pixels.astype(float) - COLOURS[name]).sum(-1) for name in (thing, ground)]
    return away[0] < away[1]


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


def mean_colour(pixels: np.ndarray, mask: np.ndarray) -> Sequence[float]:
    """Red, green, blue, 0 to 255, where the mask is."""
    return [float(level) for level in pixels[mask].mean(0)]
