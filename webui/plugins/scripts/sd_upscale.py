"""SD upscale: make a picture larger, and draw every tile of it anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from PIL import Image

from webui.core.errors import InvalidRequest
from webui.core.images import MAX_PIXELS
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest
from webui.core.scripts import Desk, Draw, DrawingEnded, Give, Plan, Script, ScriptArguments, Shot, Steps
from webui.core.upscalers import NO_UPSCALER, OWN_UPSCALERS
from webui.plugins.scripts.flattening import flat
from webui.plugins.scripts.tiles import Tiling


class SdUpscaleArguments(ScriptArguments):
    """How much larger, and how the tiles lie."""

    overlap: int = parameter(
        64, title="Tile overlap", help="Pixels that neighbouring tiles share.", minimum=0, maximum=256, step=16, slider=(0, 256)
    )
    upscaler: str = parameter("Lanczos", title="Upscaler", help="How the picture is made larger first.", max_length=512)
    scale_factor: float = parameter(
        2.0, title="Scale factor", help="How much larger it becomes.", minimum=1.0, maximum=8.0, step=0.05, slider=(1.0, 4.0)
    )


class SdUpscale(Script[SdUpscaleArguments]):
    """Width and height of the request are a tile's. Each batch makes one large picture, with the next seed."""

    title = "SD upscale"
    arguments = SdUpscaleArguments
    positions = ("", "overlap", "upscaler", "scale_factor")
    needs_picture = True

    def choices(self, name: str, values: Mapping[str, Any], desk: Desk) -> tuple[str, ...] | None:
        """The upscalers that there are."""
        return desk.upscalers() if name == "upscaler" else None

    def read_positions(self, values: Sequence[Any], *, needs_picture: bool) -> dict[str, Any]:
        """A number counts those upscalers that are everywhere, as in A1111's list."""
        arguments = super().read_positions(values, needs_picture=needs_picture)
        number = arguments.get("upscaler")
        if isinstance(number, int) and 0 <= number < len(OWN_UPSCALERS):
            arguments["upscaler"] = OWN_UPSCALERS[number]
        return arguments

    def plan(self, request: GenerationRequest, arguments: SdUpscaleArguments, desk: Desk) -> Plan:
        """As many tiles as cover the enlarged picture."""
        desk.find_upscaler(arguments.upscaler)
        tiling = _tiling(request, arguments, desk.open(request.init_images[0]).size)
        batches = ceil(len(tiling) / request.batch_size)
        count = request.batch_count
        across, down = len(tiling.columns), len(tiling.rows)
        size = f"{tiling.columns[-1] + tiling.width}x{tiling.rows[-1] + tiling.height}"
        return Plan(len(tiling) * count, batches * count, count, remark=f"The picture becomes {size}, of {across} x {down} tiles.")

    def run(self, request: GenerationRequest, arguments: SdUpscaleArguments, desk: Desk) -> Steps:
        """The tiles are drawn in batches, each with the next seed."""
        small = flat(desk.open(request.init_images[0]), desk.settings.img2img_background_color)
        tiling = _tiling(request, arguments, small.size)
        upscaler = desk.find_upscaler(arguments.upscaler)
        large = desk.enlarge(small, upscaler, *_enlarged_size(small.size, arguments))
        tiles = [large.crop(box) for box in tiling.boxes()]
        pairs = {"SD upscale overlap": str(arguments.overlap), "SD upscale upscaler": upscaler}
        for number in range(request.batch_count):
            seed = (request.seed + number) % 2**63
            shots: list[Shot] = []
            for first in range(0, len(tiles), request.batch_size):
                batch = tiles[first : first + request.batch_size]
                wish = _of_tiles(request, batch, desk).changed(seed=(seed + first // request.batch_size) % 2**63)
                try:
                    shots += yield Draw(wish, keep="dropped", pairs=pairs)
                except DrawingEnded as ended:
                    yield from _what_there_is(tiling, tiles, [*shots, *ended.shots], request.changed(seed=seed, batch_count=1))
                    return
            joined = tiling.join([shot.image for shot in shots])
            yield Give(joined, shots[0].infotext, request.changed(seed=seed, batch_count=1))


def _what_there_is(tiling: Tiling, tiles: list[Image.Image], shots: list[Shot], request: GenerationRequest) -> Steps:
    """After a cancel: the tiles that were drawn among those that were not."""
    if shots:
        images = [*(shot.image for shot in shots), *tiles[len(shots) :]]
        yield Give(tiling.join(images), shots[0].infotext, request)


def _enlarged_size(size: tuple[int, int], arguments: SdUpscaleArguments) -> tuple[int, int]:
    if arguments.upscaler == NO_UPSCALER:
        return size
    return int(size[0] * arguments.scale_factor), int(size[1] * arguments.scale_factor)


def _tiling(request: GenerationRequest, arguments: SdUpscaleArguments, size: tuple[int, int]) -> Tiling:
    width, height = _enlarged_size(size, arguments)
    tile = request.width, request.height
    if width < tile[0] or height < tile[1]:
        raise InvalidRequest(
            f"SD upscale: the enlarged picture would be {width}x{height}, less than one tile of {tile[0]}x{tile[1]}. "
            "Make it larger, or the request's width and height smaller."
        )
    if width * height > MAX_PIXELS:
        raise InvalidRequest(
            f"SD upscale: the enlarged picture would be {width}x{height}; at most {MAX_PIXELS} pixels are made. Scale it less."
        )
    if arguments.overlap >= min(tile):
        raise InvalidRequest(
            f"SD upscale: got an overlap of {arguments.overlap} for tiles of {tile[0]}x{tile[1]}. Make it less than a tile has."
        )
    return Tiling.of((width, height), tile, arguments.overlap)


def _of_tiles(request: GenerationRequest, tiles: list[Image.Image], desk: Desk) -> GenerationRequest:
    return request.changed(init_images=tuple(map(desk.keep, tiles)), batch_size=len(tiles), batch_count=1, mask="")
