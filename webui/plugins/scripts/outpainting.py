"""Poor man's outpainting: put the picture on a larger canvas and draw what is around it, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from PIL import Image, ImageDraw

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest
from webui.core.request_parts.picture import INPAINT_AREAS, MASK_MODES, MASKED_CONTENTS
from webui.core.scripts import Desk, Draw, Give, Plan, Script, ScriptArguments, Shot, Steps
from webui.plugins.scripts.flattening import flat
from webui.plugins.scripts.tiles import Tiling

DIRECTIONS = ("left", "right", "up", "down")
# A1111 makes canvases whose sides are multiples of this.
SIDE_STEP = 64


class OutpaintingArguments(ScriptArguments):
    """Where to, how far, and what is there at the beginning."""

    pixels: int = parameter(128, title="Pixels to expand", help="On each side.", minimum=8, maximum=1024, step=8, slider=(8, 256))
    mask_blur: int = parameter(4, title="Mask blur", help="Softens the seam; pixels.", minimum=0, maximum=64, step=1, slider=(0, 64))
    inpainting_fill: str = parameter(
        "fill", title="Masked content", help="What is around the picture at the beginning.", choices=MASKED_CONTENTS
    )
    direction: tuple[str, ...] = parameter(
        DIRECTIONS, title="Outpainting direction", help="The sides to which the picture grows.", max_length=8
    )


@dataclass(frozen=True)
class Growth:
    """How many pixels a picture grows on each side."""

    left: int
    right: int
    up: int
    down: int

    @classmethod
    def of(cls, size: tuple[int, int], pixels: int, directions: tuple[str, ...]) -> Growth:
        """So that the whole's sides are multiples of 64, as in A1111; a side that is none grows a little more than asked.

        Raises InvalidRequest for an unknown direction, or none.
        """
        for direction in directions:
            if direction not in DIRECTIONS:
                raise InvalidRequest(f"Outpainting direction: got {direction[:40]!r}; choose among {', '.join(DIRECTIONS)}.")
        if not directions:
            raise InvalidRequest("Outpainting direction: got none; choose at least one side.")
        asked = {direction: pixels if direction in directions else 0 for direction in DIRECTIONS}
        left, right = _shared(size[0], asked["left"], asked["right"])
        up, down = _shared(size[1], asked["up"], asked["down"])
        return cls(left, right, up, down)

    def grown(self, size: tuple[int, int]) -> tuple[int, int]:
        """The whole's size."""
        return size[0] + self.left + self.right, size[1] + self.up + self.down


class Outpainting(Script[OutpaintingArguments]):
    """Only tiles that reach beyond the picture are drawn; the picture itself stays, but for the seam."""

    title = "Poor man's outpainting"
    arguments = OutpaintingArguments
    needs_picture = True

    def plan(self, request: GenerationRequest, arguments: OutpaintingArguments, desk: Desk) -> Plan:
        """One picture a tile."""
        size = desk.open(request.init_images[0]).size
        growth = Growth.of(size, arguments.pixels, arguments.direction)
        tiling = _tiling(request, arguments, growth.grown(size))
        _base(request, arguments, tiling)
        drawn = sum(_reaches_out(box, growth, growth.grown(size)) for box in tiling.boxes())
        return Plan(drawn, drawn, 1, remark=f"The picture becomes {growth.grown(size)[0]}x{growth.grown(size)[1]}.")

    def choices(self, name: str, values: Mapping[str, Any], desk: Desk) -> tuple[str, ...] | None:
        """The sides."""
        return DIRECTIONS if name == "direction" else None

    def run(self, request: GenerationRequest, arguments: OutpaintingArguments, desk: Desk) -> Steps:
        """Each tile has the next seed."""
        picture = flat(desk.open(request.init_images[0]), desk.settings.img2img_background_color)
        growth = Growth.of(picture.size, arguments.pixels, arguments.direction)
        size = growth.grown(picture.size)
        canvas = Image.new("RGB", size)
        canvas.paste(picture, (growth.left, growth.up))
        mask = around(size, growth, arguments.mask_blur * 2)
        tiling = _tiling(request, arguments, size)
        base = _base(request, arguments, tiling)
        first: Shot | None = None
        tiles: list[Image.Image] = []
        for box in tiling.boxes():
            tiles.append(canvas.crop(box))
            if not _reaches_out(box, growth, size):
                continue
            wish = base.changed(init_images=(desk.keep(tiles[-1]),), mask=desk.keep(mask.crop(box)))
            (shot,) = yield Draw(wish, keep="dropped")
            tiles[-1], first = shot.image, first or shot
            base = base.changed(seed=(base.seed + 1) % 2**63)
        if first:
            yield Give(tiling.join(tiles), first.infotext)


def around(size: tuple[int, int], growth: Growth, seam: int) -> Image.Image:
    """The mask of what is to be drawn.  seam: pixels of the picture itself that are drawn too, on sides where it grows."""
    mask = Image.new("L", size, 255)
    box = (
        growth.left + (seam if growth.left else 0),
        growth.up + (seam if growth.up else 0),
        size[0] - growth.right - (seam if growth.right else 0) - 1,
        size[1] - growth.down - (seam if growth.down else 0) - 1,
    )
    if box[0] <= box[2] and box[1] <= box[3]:
        ImageDraw.Draw(mask).rectangle(box, fill=0)
    return mask


def _base(request: GenerationRequest, arguments: OutpaintingArguments, tiling: Tiling) -> GenerationRequest:
    """What all tiles have in common."""
    return request.changed(
        init_images=request.init_images[:1], width=tiling.width, height=tiling.height, batch_count=1, batch_size=1,
        mask_blur_x=arguments.mask_blur, mask_blur_y=arguments.mask_blur, mask_mode=MASK_MODES[0],
        masked_content=arguments.inpainting_fill, inpaint_area=INPAINT_AREAS[0],
    )  # fmt: skip


def _tiling(request: GenerationRequest, arguments: OutpaintingArguments, size: tuple[int, int]) -> Tiling:
    """A tile is as large as the request says, or as the whole where that is smaller."""
    tile = min(request.width, size[0]), min(request.height, size[1])
    return Tiling.of(size, tile, min(arguments.pixels, *(side // 2 for side in tile)))


def _reaches_out(box: tuple[int, int, int, int], growth: Growth, size: tuple[int, int]) -> bool:
    return box[0] < growth.left or box[1] < growth.up or box[2] > size[0] - growth.right or box[3] > size[1] - growth.down


def _shared(side: int, before: int, after: int) -> tuple[int, int]:
    """The growth of two opposite edges. A side that does not grow stays, as near as a multiple of 8 allows."""
    if not before and not after:
        rest = -side % 8
        return 0, rest
    total = ceil((side + before + after) / SIDE_STEP) * SIDE_STEP - side
    first = before * total // (before + after)
    return first, total - first
