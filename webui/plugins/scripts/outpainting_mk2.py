"""Outpainting mk2: the picture grows side by side, from noise that has its own spectrum and colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from webui.core.errors import InvalidRequest
from webui.core.infotext import with_pairs
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest
from webui.core.request_parts.picture import INPAINT_AREAS, MASK_MODES
from webui.core.scripts import Desk, Draw, Give, Plan, Script, ScriptArguments, Shot, Steps
from webui.plugins.scripts.flattening import flat
from webui.plugins.scripts.grids import Sheet, paste_grid
from webui.plugins.scripts.matched_noise import matched_noise
from webui.plugins.scripts.outpainting import DIRECTIONS, Growth

# The blur that the request is given, of the one asked for; as in A1111.
BLUR_FACTOR = 4
SMALLEST = 64


class OutpaintingMk2Arguments(ScriptArguments):
    """Where to, how far, and what kind of noise."""

    pixels: int = parameter(128, title="Pixels to expand", help="On each side.", minimum=8, maximum=1024, step=8, slider=(8, 256))
    mask_blur: int = parameter(8, title="Mask blur", help="Softens the seam; pixels.", minimum=0, maximum=64, step=1, slider=(0, 64))
    direction: tuple[str, ...] = parameter(
        DIRECTIONS, title="Outpainting direction", help="The sides to which the picture grows.", max_length=8
    )
    noise_q: float = parameter(
        1.0, title="Fall-off exponent (lower=higher detail)", help="Of the noise that is drawn upon.", minimum=0.0, maximum=4.0, step=0.01
    )
    color_variation: float = parameter(
        0.05, title="Color variation", help="How colourful that noise is.", minimum=0.0, maximum=1.0, step=0.01
    )


@dataclass(frozen=True)
class _Side:
    """One step of growing.  pixels: how many;   canvas: the picture's new size;   region: (x, y, x, y) of it that is drawn."""

    name: str
    pixels: int
    canvas: tuple[int, int]
    region: tuple[int, int, int, int]


class OutpaintingMk2(Script[OutpaintingMk2Arguments]):
    """Draws one strip a side, as wide as the request's width or height; a batch grows together."""

    title = "Outpainting mk2"
    arguments = OutpaintingMk2Arguments
    positions = ("", "pixels", "mask_blur", "direction", "noise_q", "color_variation")
    needs_picture = True

    def plan(self, request: GenerationRequest, arguments: OutpaintingMk2Arguments, desk: Desk) -> Plan:
        """A picture for each side, batch and picture of a batch."""
        size = desk.open(request.init_images[0]).size
        sides = _sides(size, request, arguments)
        for side in sides:
            _wish(request, side, arguments)
        width, height = Growth.of(size, arguments.pixels, arguments.direction).grown(size)
        drawn = len(sides) * request.images
        remark = f"The picture becomes {width}x{height}."
        return Plan(drawn, len(sides) * request.batch_count, request.images, int(request.images > 1), remark)

    def choices(self, name: str, values: Mapping[str, Any], desk: Desk) -> tuple[str, ...] | None:
        """The sides."""
        return DIRECTIONS if name == "direction" else None

    def run(self, request: GenerationRequest, arguments: OutpaintingMk2Arguments, desk: Desk) -> Steps:
        """All sides of a batch have its seeds."""
        picture = flat(desk.open(request.init_images[0]), desk.settings.img2img_background_color)
        growth = Growth.of(picture.size, arguments.pixels, arguments.direction)
        finished: list[tuple[Image.Image, Shot]] = []
        for batch in range(request.batch_count):
            images: list[Image.Image] = [picture] * request.batch_size
            firsts: list[Shot] = []
            seed = request.seeds_of_image(batch * request.batch_size)
            for side in _sides(picture.size, request, arguments):
                wish = _wish(request, side, arguments).changed(**seed)
                canvases = _grown(images, side, arguments)
                shots = yield _drawing(wish, side, canvases, _mask(side, arguments), desk)
                images = [_pasted(canvas, shot.image, side) for canvas, shot in zip(canvases, shots, strict=True)]
                firsts = firsts or list(shots)
            for place, (image, first) in enumerate(zip(images, firsts, strict=True)):
                whole = image.crop((0, 0, *growth.grown(picture.size)))
                own = request.seeds_of_image(batch * request.batch_size + place)
                finished.append((whole, first))
                yield Give(whole, first.infotext, request.changed(batch_count=1, batch_size=1, **own))
        if len(finished) > 1:
            sheet = Sheet.of([[image for image, _ in finished]])
            yield Give(paste_grid(sheet), with_pairs(finished[0][1].infotext, {"Script": self.title}), is_grid=True)


def _sides(size: tuple[int, int], request: GenerationRequest, arguments: OutpaintingMk2Arguments) -> list[_Side]:
    """The steps, in A1111's order."""
    growth = Growth.of(size, arguments.pixels, arguments.direction)
    sides = []
    for name in DIRECTIONS:
        pixels = getattr(growth, name)
        if not pixels:
            continue
        across = name in ("left", "right")
        size = (size[0] + pixels, size[1]) if across else (size[0], size[1] + pixels)
        sides.append(_Side(name, pixels, size, _region(name, pixels, size, (request.width, request.height))))
    return sides


def _region(name: str, pixels: int, canvas: tuple[int, int], drawn: tuple[int, int]) -> tuple[int, int, int, int]:
    """What is drawn: from the new edge inwards as far as the request's side reaches, and all of the other direction.

    Its sides are multiples of 8, so it may reach over the canvas by up to 7 pixels where that has another size.
    """
    across = name in ("left", "right")
    length = min(drawn[0] if across else drawn[1], (canvas[0] if across else canvas[1])) // 8 * 8
    if length <= pixels:
        raise InvalidRequest(
            f"Outpainting mk2: the picture grows by {pixels} pixels to the {name}, and the request draws only {length} there, so it "
            "would see nothing of the picture. Make the request's width and height larger, or grow by less."
        )
    width = length if across else -(-canvas[0] // 8) * 8
    height = -(-canvas[1] // 8) * 8 if across else length
    x, y = (canvas[0] - width if name == "right" else 0), (canvas[1] - height if name == "down" else 0)
    return x, y, x + width, y + height


def _wish(request: GenerationRequest, side: _Side, arguments: OutpaintingMk2Arguments) -> GenerationRequest:
    x, y, right, bottom = side.region
    if min(right - x, bottom - y) < SMALLEST:
        raise InvalidRequest(f"Outpainting mk2: a part of {right - x}x{bottom - y} would be drawn; a side has at least {SMALLEST} pixels.")
    return request.changed(
        width=right - x, height=bottom - y, batch_count=1, mask_blur_x=arguments.mask_blur * BLUR_FACTOR,
        mask_blur_y=arguments.mask_blur * BLUR_FACTOR, mask_mode=MASK_MODES[0], masked_content="original", inpaint_area=INPAINT_AREAS[0],
    )  # fmt: skip


def _drawing(wish: GenerationRequest, side: _Side, canvases: list[Image.Image], mask: Image.Image, desk: Desk) -> Draw:
    parts = [desk.keep(canvas.crop(side.region)) for canvas in canvases]
    distinct = parts if len(set(parts)) > 1 else parts[:1]
    return Draw(wish.changed(init_images=tuple(distinct), mask=desk.keep(mask.crop(side.region))), keep="dropped")


def _grown(images: list[Image.Image], side: _Side, arguments: OutpaintingMk2Arguments) -> list[Image.Image]:
    """The pictures on the larger canvas, with noise where they are not."""
    size = (max(side.canvas[0], side.region[2]), max(side.canvas[1], side.region[3]))
    mask = np.asarray(_mask(side, arguments), dtype=np.float64) / 255
    made: dict[int, Image.Image] = {}
    for image in images:
        if id(image) in made:
            continue
        canvas = Image.new("RGB", size)
        canvas.paste(image, (side.pixels if side.name == "left" else 0, side.pixels if side.name == "up" else 0))
        pixels = np.asarray(canvas, dtype=np.float64) / 255
        noised = matched_noise(pixels, mask, falloff=arguments.noise_q, color_variation=arguments.color_variation)
        made[id(image)] = Image.fromarray(np.round(noised * 255).astype(np.uint8))
    return [made[id(image)] for image in images]


def _mask(side: _Side, arguments: OutpaintingMk2Arguments) -> Image.Image:
    """White where the picture grows, and a seam of it."""
    size = (max(side.canvas[0], side.region[2]), max(side.canvas[1], side.region[3]))
    reach = side.pixels + arguments.mask_blur
    mask = Image.new("L", size, 255)
    box = (
        reach if side.name == "left" else 0,
        reach if side.name == "up" else 0,
        (side.canvas[0] - reach if side.name == "right" else side.canvas[0]) - 1,
        (side.canvas[1] - reach if side.name == "down" else side.canvas[1]) - 1,
    )
    if box[0] <= box[2] and box[1] <= box[3]:
        ImageDraw.Draw(mask).rectangle(box, fill=0)
    return mask


def _pasted(canvas: Image.Image, drawn: Image.Image, side: _Side) -> Image.Image:
    """The drawn part in its place, and what reaches over the canvas cut off."""
    whole = canvas.copy()
    whole.paste(drawn, side.region[:2])
    return whole.crop((0, 0, *side.canvas))
