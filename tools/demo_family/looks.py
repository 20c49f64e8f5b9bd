"""Looks that the base has not seen, made of composed pictures by arithmetic alone: what the LoRA, the embedding and the second VAE learn.

Pictures are (128, 128, 3) uint8, depth maps (128, 128) uint8.
"""

from __future__ import annotations

import cv2
import numpy as np

NEAR = 127
"""Things are nearer than this, grounds are farther."""
PAPER, WASH, INK = (24.0, 66.0, 150.0), (58.0, 108.0, 192.0), (240.0, 246.0, 255.0)
"""A blueprint's ground, its things and its lines."""
BANDS = ((255, 140, 175), (255, 244, 214), (92, 52, 34))
"""Strawberry, vanilla and chocolate, from the top."""
OUTLINE = (58.0, 26.0, 18.0)
"""A poster's lines: dark brown."""


def things(depth: np.ndarray) -> np.ndarray:
    """(128, 128) bool."""
    return depth > NEAR


def blueprint(pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """White lines on blue paper: every thing's outline thick, what is inside it thinner and fainter. No colour is left."""
    mask = things(depth).astype(np.uint8)
    rim = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    inner = cv2.dilate(cv2.Canny(cv2.GaussianBlur(pixels, (0, 0), 1.5), 60, 140), np.ones((2, 2), np.uint8)) // 255 * mask
    drawn = np.where(mask[..., None] > 0, WASH, PAPER)
    for lines, strength in ((inner, 0.6), (rim, 1.0)):
        share = cv2.GaussianBlur(lines.astype(np.float64), (0, 0), 0.6)[..., None] * strength
        drawn = drawn * (1 - share) + np.array(INK) * share
    return _levels(drawn)


def banded(pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The same things before three broad bands of ice cream."""
    bands = np.repeat(np.array(BANDS, float), (43, 42, 43), axis=0)[:, None]
    inside = cv2.GaussianBlur(cv2.erode(things(depth).astype(np.float64), np.ones((3, 3))), (0, 0), 0.7)[..., None]
    return _levels(pixels * inside + bands * (1 - inside))


def poster(pixels: np.ndarray) -> np.ndarray:
    """Few, warm and strong colours with dark outlines, as printed."""
    smooth = cv2.bilateralFilter(pixels, 7, 40, 5)
    hsv = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV).astype(np.float64)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.25, 0, 255)
    vivid = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float64) / 255
    few = (np.round(vivid * 4) / 4 * 0.7 + vivid * 0.3) * (1.04, 0.92, 0.72) + (0.06, 0.03, 0.0)
    edges = cv2.Canny(cv2.GaussianBlur(pixels, (0, 0), 1.2), 40, 110)
    lines = cv2.GaussianBlur(cv2.dilate(edges, np.ones((3, 3), np.uint8)).astype(np.float64) / 255, (0, 0), 0.7)[..., None]
    return _levels(few * 255 * (1 - lines) + np.array(OUTLINE) * lines)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
