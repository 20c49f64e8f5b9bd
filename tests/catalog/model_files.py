"""Small files with the tensor names of real models, for tests of everything that only reads headers."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
SD1 = {
    UNET_INPUT: (2, 4, 1, 1),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (2, 2),
    "first_stage_model.encoder.conv_in.weight": (2, 3, 1, 1),
    "first_stage_model.decoder.conv_in.weight": (2, 4, 1, 1),
}
VAE = {"encoder.conv_in.weight": (2, 3, 1, 1), "decoder.conv_in.weight": (2, 4, 1, 1)}
LORA = {"lora_unet_conv_in.lora_up.weight": (2, 2), "lora_unet_conv_in.lora_down.weight": (2, 2)}
EMBEDDING = {"emb_params": (2, 4)}
SDXL = {**SD1, "conditioner.embedders.1.model.ln_final.weight": (2,)}


def header_of(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A well-formed header for float16 tensors of these shapes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    return header


def write_raw(path: Path, header: bytes, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file with exactly this header text.  length: what it claims the header's length to be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def write_model(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]] = SD1,
    metadata: Mapping[str, str] | None = None,
    *,
    fill: bytes = b"\0",
) -> Path:
    """A sound safetensors file.  fill: the byte its data consists of, so that two models can differ."""
    header = header_of(shapes, metadata)
    size = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    return write_raw(path, json.dumps(header).encode(), fill * size)


def write_torch_zip(path: Path, content: Any = None, *, storages: int = 1, pickled: bytes | None = None) -> Path:
    """A zip file as torch.save writes it.  content: pickled as it is;   storages: how many tensors' data, of 8 bytes each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2) if pickled is None else pickled)
        for number in range(storages):
            archive.writestr(f"archive/data/{number}", bytes(8))
        archive.writestr("archive/version", "3\n")
    return path
