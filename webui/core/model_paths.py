"""What the path of a model says."""

from __future__ import annotations

from pathlib import PurePath

# A model whose path ends otherwise is a folder, and a dot in its name is no suffix: "sd-v1.5".
SUFFIXES = frozenset({
    ".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".onnx", ".png", ".jpg", ".jpeg", ".webp", ".jxl", ".avif", ".gif",
})  # fmt: skip


def stem_of(path: PurePath) -> str:
    """A model's name without folders and suffix, which is also that of what lies beside it."""
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
