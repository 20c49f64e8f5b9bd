"""The grid of an ordinary job: its pictures side by side in one, as A1111 puts it before them (`images.image_grid`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from webui.core.images import decode_image, fitting_scale, scaled
from webui.core.request import GenerationRequest
from webui.core.result import NOT_SHOWN, Picture
from webui.core.settings import Settings


def wants_grid(request: GenerationRequest, settings: Settings, pictures: int) -> bool:
    """Whether a job that has drawn so many pictures gets a grid."""
    least = 2 if settings.grid_only_if_multiple else 1
    return request.make_grid and not request.script and pictures >= least and (settings.grid_save or settings.return_grid)


def place_of_grid(settings: Settings) -> int:
    """Where it stands among the job's pictures: before them, or not among those shown."""
    return -1 if settings.return_grid else -NOT_SHOWN


def rows_and_columns(pictures: int, batch_size: int, settings: Settings) -> tuple[int, int]:
    """How so many pictures are laid out."""
    if settings.n_rows >= 0:
        rows = settings.n_rows or batch_size
    elif settings.grid_prevent_empty_spots:
        rows = next(rows for rows in range(math.isqrt(pictures), 0, -1) if pictures % rows == 0)
    else:
        rows = round(math.sqrt(pictures))
    rows = max(1, min(rows, pictures))
    return rows, math.ceil(pictures / rows)


def paste_grid(pictures: Sequence[Picture], batch_size: int, settings: Settings) -> Image.Image:
    """One RGB picture of all, row by row, on black; smaller than they are together where that would be too large to read again.

    Raises OSError when a file cannot be read.
    """
    images = [decode_image(picture.path.read_bytes()).convert("RGB") for picture in pictures]
    width, height = (max(sides) for sides in zip(*(image.size for image in images), strict=True))
    rows, columns = rows_and_columns(len(images), batch_size, settings)
    scale = fitting_scale(width * columns, height * rows)
    images = [scaled(image, scale) for image in images]
    width, height = (max(sides) for sides in zip(*(image.size for image in images), strict=True))
    grid = Image.new("RGB", (width * columns, height * rows), "black")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        grid.paste(image, (column * width + (width - image.width) // 2, row * height + (height - image.height) // 2))
    return grid
