"""A new textual inversion: vectors to begin a training with, as a file that a prompt can already name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from webui.catalog.new_files import name_new_file
from webui.core.errors import InvalidRequest
from webui.core.files import write_atomically

MAX_VECTORS = 1024


def write_new_embedding(folder: Path, name: str, vectors: int, rows: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Write `vectors` vectors, taken evenly from rows (tokens, width) of each text encoder; without a token, zeros. The file.

    Raises InvalidRequest.
    """
    if not 1 <= vectors <= MAX_VECTORS:
        raise InvalidRequest(f"num_vectors_per_token: got {vectors}; an embedding has 1 to {MAX_VECTORS} vectors.")
    file = name_new_file(folder, name, ".safetensors", overwrite=overwrite, also=(".pt",))
    write_atomically(file, save({key: _spread(np.asarray(one, np.float32), vectors) for key, one in rows.items()}))
    return file


def _spread(rows: np.ndarray, vectors: int) -> np.ndarray:
    """(vectors, width) from (tokens, width)."""
    if not len(rows):
        return np.zeros((vectors, rows.shape[1]), np.float32)
    return np.ascontiguousarray(rows[[place * len(rows) // vectors for place in range(vectors)]])
