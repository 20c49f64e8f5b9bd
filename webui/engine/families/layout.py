"""Where things are in the original single-file layout, and numbers that a file's metadata says because shapes cannot."""

from __future__ import annotations

from collections.abc import Sequence

from webui.core.errors import ModelError
from webui.engine.loading import TensorFile

UNET = "model.diffusion_model."
VAE = "first_stage_model."


def read_divisor(file: TensorFile, key: str, default: int, widths: Sequence[int]) -> int:
    """A number from the metadata that must divide the widths it is used on.  Raises ModelError."""
    value = file.metadata.get(key, str(default))
    if not value.isdecimal() or int(value) == 0:
        raise ModelError(f"{file.path.name}: its metadata {key!r} is {value!r}; it must be a whole number above 0.")
    for width in widths:
        if width % int(value):
            raise ModelError(f"{file.path.name}: {key} is {value}, which does not divide the width {width}. Its metadata must say it.")
    return int(value)
