"""A new textual inversion: vectors to begin a training with, as a file that a prompt can already name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from webui.core.errors import InvalidRequest
from webui.core.files import write_atomically

MAX_VECTORS = 1024
MAX_NAME = 128
_SIGNS = "._- "


def write_new_embedding(folder: Path, name: str, vectors: int, rows: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Write `vectors` vectors, taken evenly from rows (tokens, width) of each text encoder; without a token, zeros. The file.

    name: letters, digits and ". _ - " are kept of it, as in A1111.   Raises InvalidRequest.
    """
    if not 1 <= vectors <= MAX_VECTORS:
        raise InvalidRequest(f"num_vectors_per_token: got {vectors}; an embedding has 1 to {MAX_VECTORS} vectors.")
    clean = "".join(sign for sign in name if sign.isalnum() or sign in _SIGNS).strip(" .")
    if not clean or len(clean.encode()) > MAX_NAME:
        raise InvalidRequest(f"name: got {name[:80]!r}; give letters and digits, of at most {MAX_NAME} bytes.")
    file = folder / f"{clean}.safetensors"
    if not overwrite and (file.exists() or file.with_suffix(".pt").exists()):
        raise InvalidRequest(f"file {file.name} already exists. Choose another name, or send overwrite_old.")
    write_atomically(file, save({key: _spread(np.asarray(one, np.float32), vectors) for key, one in rows.items()}))
    return file


def _spread(rows: np.ndarray, vectors: int) -> np.ndarray:
    """(vectors, width) from (tokens, width)."""
    if not len(rows):
        return np.zeros((vectors, rows.shape[1]), np.float32)
    return np.ascontiguousarray(rows[[place * len(rows) // vectors for place in range(vectors)]])
