"""Textual inversions that A1111 hid in pictures: in a text chunk of a PNG, or in the pixels left and right of the picture.

The pixels: two blocks, each parted from the picture by black columns; the low four bits of every colour of the left block are the
low halves of the data's bytes, the right block's the high halves, both masked with the same pseudo-random numbers. The data is
zlib-packed JSON. Nothing is unpickled, and no torch is needed.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from webui.core.errors import InvalidRequest, ModelError
from webui.core.images import decode_image, read_png_texts

SUFFIXES = frozenset({".png", ".webp", ".avif"})
CHUNK = "sd-ti-embedding"
MAX_FILE = 64 * 1024 * 1024
MAX_JSON = 64 * 1024 * 1024
MAX_PIXELS = 4096 * 4096

_TENSOR = "TORCHTENSOR"


def read_image_embedding(path: Path) -> dict[str, Any] | None:
    """What A1111 keeps of an embedding, with nested lists for tensors; None for a picture that is just a picture.

    Raises ModelError, whose text goes on after the file's name, when there is an embedding but it is damaged; OSError.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        return None
    try:
        text = read_png_texts(data).get(CHUNK) if path.suffix.lower() == ".png" else None
        packed = base64.b64decode(text) if text is not None else _unpack(_hidden_bytes(decode_image(data, max_pixels=MAX_PIXELS)))
    except InvalidRequest:
        return None
    except binascii.Error:
        raise ModelError(f"has a damaged {CHUNK} text in it") from None
    if packed is None:
        return None
    try:
        content = json.loads(packed, object_hook=_without_tensor_marks)
    except (ValueError, RecursionError):
        raise ModelError("has an embedding in it that is not valid JSON") from None
    if not isinstance(content, dict):
        raise ModelError("has an embedding in it that is not a JSON object")
    return content


def _without_tensor_marks(value: dict[str, Any]) -> Any:
    return value.get(_TENSOR, value)


def _hidden_bytes(image: Image) -> bytes | None:
    """What the blocks beside the picture hold; None where there are no blocks."""
    pixels = np.asarray(image.convert("RGB"))
    lit: np.ndarray = pixels.min(axis=2) > 0
    if not lit.any():
        return None
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    nibbles = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 0x0F
    black = np.flatnonzero(nibbles.max(axis=2).max(axis=0) == 0)
    if len(black) < 2:
        return None
    low, high = nibbles[:, : black[0]], nibbles[:, black[-1] + 1 :]
    if low.shape != high.shape or not low.size:
        return None
    mask = _mask(low.size)
    return bytes(((high.reshape(-1) ^ mask) << 4) | (low.reshape(-1) ^ mask))


def _mask(length: int) -> np.ndarray:
    """The low four bits of A1111's numbers: a linear congruential generator (Numerical Recipes) from 0, each modulo 255."""
    numbers = np.empty(length, np.uint8)
    state = 0
    for place in range(length):
        state = (1664525 * state + 1013904223) % 2**32
        numbers[place] = state % 255 & 0x0F
    return numbers


def _unpack(packed: bytes | None) -> bytes | None:
    """What zlib packed, which fills the blocks only up to some point; None when it is not that."""
    if packed is None:
        return None
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(packed, MAX_JSON)
    except zlib.error:
        return None
    return unpacked if stream.eof else None
