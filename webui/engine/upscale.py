"""Making pictures larger: by a model, in tiles whose seams are blended, or by a filter."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image

from webui.core.errors import InvalidRequest, ModelError, OutOfMemory
from webui.core.extension_points import is_added
from webui.core.settings import Settings
from webui.core.upscalers import NO_UPSCALER, Upscaler
from webui.engine.device import is_out_of_memory, release_memory
from webui.engine.image_models import ImageModel, ImageModels

log = logging.getLogger(__name__)

FILTERS: Mapping[str, Image.Resampling] = MappingProxyType(
    {NO_UPSCALER: Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
)
# A model is applied so many times at most, as in A1111.
MAX_PASSES = 3
SMALLEST_TILE = 32
# What a model may make of a picture on the way to its size; three bytes each.
MAX_PIXELS_ON_THE_WAY = 4 * 8192 * 8192

Enlarging = Generator[float, None, Image.Image]
"""Yields how much is done, 0..1, after each tile; returns the picture. Closing it between tiles ends the work."""


class Stopped(Exception):
    """Somebody wants no more of it."""


@dataclass(frozen=True)
class Tiling:
    """Pixels of the picture that is given.  side: of a tile, 0 for the whole picture.   overlap: of neighbours."""

    side: int = 192
    overlap: int = 8


def tiling_of(upscaler: Upscaler, settings: Settings) -> Tiling:
    """What the settings say for this upscaler."""
    if upscaler.folder == "DAT":
        return Tiling(settings.DAT_tile, settings.DAT_tile_overlap)
    return Tiling(settings.ESRGAN_tile, settings.ESRGAN_tile_overlap)


def upscale(
    image: Image.Image,
    upscaler: Upscaler,
    width: int,
    height: int,
    *,
    models: ImageModels | None,
    tiling: Tiling | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Image.Image:
    """The picture at this size, RGB.

    models: loads the upscaler's file; may be None for one that has none.   progress: told 0..1 after each tile.
    cancelled: asked between tiles; when it says so, Stopped is raised.
    Raises ModelError for a file that is no upscaler, OutOfMemory when not even the smallest tile fits.
    """
    work = upscaling(image, upscaler, width, height, models=models, tiling=tiling)
    while True:
        if cancelled():
            raise Stopped
        try:
            progress(next(work))
        except StopIteration as end:
            result: Image.Image = end.value
            return result


def upscaling(
    image: Image.Image, upscaler: Upscaler, width: int, height: int, *, models: ImageModels | None, tiling: Tiling | None = None
) -> Enlarging:
    """As `upscale`, a tile at a time.

    A model is applied until the size is reached, but at most three times and once at least; Lanczos does the rest, as in A1111.
    """
    image = image.convert("RGB")
    if is_added(upscaler.name):
        if models is None:
            raise ModelError(f"{upscaler.name} is an extension's upscaler, and this engine has no extensions. Choose another one.")
        return models.hooks.enlarge(upscaler.name, image.convert("RGB"), width, height)
    if upscaler.path is None:
        return image.resize((width, height), FILTERS[upscaler.name])
    assert models is not None
    model = models.get(upscaler.path)
    if model.mends_faces:
        raise ModelError(f"{model.name} mends faces and enlarges nothing. Put it into models/GFPGAN, and choose another upscaler.")
    sizes = _sizes_on_the_way(image.size, model.scale, width, height)
    total, done = sum(math.prod(size) for size in sizes), 0
    for size in sizes:
        part = math.prod(size)
        work = apply_model(model, image, tiling or Tiling())
        while True:
            try:
                fraction = next(work)
            except StopIteration as end:
                image = end.value
                break
            yield (done + part * fraction) / total
        done += part
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _sizes_on_the_way(size: tuple[int, int], scale: int, width: int, height: int) -> list[tuple[int, int]]:
    """The sizes of the pictures to which a model is applied.  Raises InvalidRequest when it would make far too large a one."""
    sizes: list[tuple[int, int]] = []
    for _ in range(MAX_PASSES):
        if sizes and (scale == 1 or (size[0] >= width and size[1] >= height)):
            break
        sizes.append(size)
        size = size[0] * scale, size[1] * scale
        if math.prod(size) > MAX_PIXELS_ON_THE_WAY:
            raise InvalidRequest(
                f"On the way to {width}x{height} this upscaler, which enlarges by {scale}, would make a picture of {size[0]}x{size[1]}. "
                "Choose one that enlarges by less, or Lanczos."
            )
    return sizes


def apply_model(model: ImageModel, image: Image.Image, tiling: Tiling) -> Enlarging:
    """What a model makes of a picture. Out of memory, it begins again with tiles of half the side."""
    side = tiling.side if model.takes_tiles else 0
    if model.largest_tile:
        side = min(side or model.largest_tile, model.largest_tile)
    while True:
        try:
            return (yield from _in_tiles(model, image, side, tiling.overlap))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        release_memory(model.device)
        tried = min(side or max(image.size), max(image.size))
        side = tried // 2
        if side < SMALLEST_TILE or not model.takes_tiles:
            raise OutOfMemory(f"out of memory: {model.name} cannot even enlarge {tried} pixels at a time ({reason}). Choose another one.")
        model.largest_tile = side
        log.warning("Too little memory for %s with tiles of %d pixels; going on with %d.", model.name, tried, side)


def _in_tiles(model: ImageModel, image: Image.Image, side: int, overlap: int) -> Enlarging:
    """Rows of tiles from the top. Only what the next row still adds to is kept in full precision."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    scale = model.scale
    columns, rows = _spans(image.width, side, overlap), _spans(image.height, side, overlap)
    across, down = _weights(columns, scale), _weights(rows, scale)
    result = np.empty((image.height * scale, image.width * scale, 3), np.uint8)
    unfinished = torch.zeros(3, 0, image.width * scale)
    for row, (top, bottom) in enumerate(rows):
        strip = torch.zeros(3, (bottom - top) * scale, image.width * scale)
        for column, (left, right) in enumerate(columns):
            tile = model(pixels[..., top:bottom, left:right].float() / 255)[0]
            strip[..., left * scale : right * scale] += tile * across[column]
            yield (row * len(columns) + column + 1) / (len(rows) * len(columns))
        strip *= down[row][:, None]
        strip[:, : unfinished.shape[1]] += unfinished
        finished = (rows[row + 1][0] if row + 1 < len(rows) else bottom) - top
        levels = (strip[:, : finished * scale].clamp(0, 1) * 255).round().byte()
        result[top * scale : (top + finished) * scale] = levels.permute(1, 2, 0).numpy()
        unfinished = strip[:, finished * scale :].clone()
    return Image.fromarray(result)


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """From and to of the tiles along one side: evenly spread, overlapping by `overlap` at least."""
    if not side or side >= length:
        return [(0, length)]
    overlap = min(overlap, side // 2)
    count = math.ceil((length - overlap) / (side - overlap))
    starts = [number * (length - side) // (count - 1) for number in range(count)]
    return [(start, start + side) for start in starts]


def _weights(spans: list[tuple[int, int]], scale: int) -> list[torch.Tensor]:
    """How much each tile counts along its side, in the pixels of the result: less towards an edge that is not the picture's; at
    every place the sum is 1."""
    length = spans[-1][1] * scale
    total = torch.zeros(length)
    hats = []
    for start, end in spans:
        size = (end - start) * scale
        place = torch.arange(size) + 0.5
        rise = place if start else torch.full((size,), float(size))
        fall = size - place if end * scale < length else torch.full((size,), float(size))
        hat = torch.minimum(rise, fall)
        total[start * scale : end * scale] += hat
        hats.append(hat)
    return [hat / total[start * scale : end * scale] for (start, end), hat in zip(spans, hats, strict=True)]
