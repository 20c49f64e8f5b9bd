"""Hiding data in a picture as A1111 does, written from the description of the format."""

from __future__ import annotations

import numpy as np


def hide_in_pixels(picture: np.ndarray, data: bytes) -> np.ndarray:
    """picture: (H, W, 3).  Low nibbles left of it and high nibbles right of it, masked, over a pattern, behind a black column each."""
    height = len(picture)
    content = np.frombuffer(data, np.uint8)
    columns = -(-len(content) // (height * 3)) + 1
    filled = np.resize(content, height * columns * 3)  # the data begins anew where it is too short
    random, state = [], 0
    for _ in range(filled.size):
        state = (1664525 * state + 1013904223) % 2**32
        random.append(state % 255 & 15)
    pattern = np.random.default_rng(0).integers(1, 16, (height, columns, 3), np.uint8) << 4
    low, high = ((half ^ np.array(random, np.uint8)).reshape(height, columns, 3) | pattern for half in (filled & 15, filled >> 4))
    black = np.zeros((height, 1, 3), np.uint8)
    return np.concatenate([low, black, picture, black, high], axis=1)
