"""Models that estimate depth: folders or files in models/Depth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from webui.catalog.diffusers_folder import weights_in


def find_depth_model(folders: Iterable[Path]) -> Path | None:
    """The first, by name: a folder with config.json and weights, or a .safetensors file. None where there is none."""
    for folder in folders:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name.lower()) if folder.is_dir() else []
        for entry in entries:
            is_model = (entry / "config.json").is_file() and weights_in(entry)
            if is_model or (entry.suffix.lower() == ".safetensors" and entry.is_file()):
                return entry
    return None
