"""Pictures that trainers keep inside a model file, as base64 texts in its header under A1111's name for them."""

from __future__ import annotations

import json
from pathlib import Path

from PIL.Image import Image

from webui.catalog.identify import read_metadata
from webui.core.errors import InvalidRequest, NotFound
from webui.core.images import decode_base64_image

KEY = "ssmd_cover_images"


def cover_picture(file: Path, index: int) -> Image:
    """The cover picture of that number.  Raises NotFound."""
    try:
        covers = json.loads(read_metadata(file).get(KEY, "[]"))
        if isinstance(covers, list) and 0 <= index < len(covers) and isinstance(covers[index], str):
            return decode_base64_image(covers[index])
    except (ValueError, RecursionError, InvalidRequest):
        pass  # what is no list, or no picture, is none
    raise NotFound(f"{file.stem!r} has no cover picture {index}.")
