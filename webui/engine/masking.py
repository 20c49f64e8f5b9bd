"""Pictures and masks before and after drawing: sizes, blur, what is cut out for "Only masked", and putting the result back.

The arithmetic is A1111's. Masks are pictures of mode "L": white is drawn anew, black stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageFilter, ImageOps

Box = tuple[int, int, int, int]

CROP, FILL = "Crop and resize", "Resize and fill"
# Radius in pixels, and how often that blur is laid over: wide first, the picture itself last.
FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))

# Pixels. A thin strip that is to fill a square would grow beyond all memory before it is cut.
MAX_INNER = 2 * 8192 * 8192


def read_mask(image: Image.Image, *, rounded: bool) -> Image.Image:
    """A mask from what a client sends: its transparency where it has any, else its brightness.

    rounded: transparency of more than a half is white, the rest black.
    """
    if image.mode == "RGBA" and image.getextrema()[-1] != (255, 255):
        alpha = image.getchannel("A")
        return alpha.point(lambda value: 255 if value > 128 else 0) if rounded else alpha
    return image.convert("L")


def blur(mask: Image.Image, across: float, down: float) -> Image.Image:
    """Soften the edges.  across, down: standard deviations in pixels; 0 leaves that direction sharp."""
    pixels = np.asarray(mask)
    if across > 0:
        pixels = cv2.GaussianBlur(pixels, (_kernel(across), 1), across)
    if down > 0:
        pixels = cv2.GaussianBlur(pixels, (1, _kernel(down)), down)
    return Image.fromarray(pixels)


def flatten(image: Image.Image, background: str = "#ffffff") -> Image.Image:
    """RGB; what is transparent lies on the background."""
    if image.mode == "RGBA":
        canvas = Image.new("RGBA", image.size, background)
        return Image.alpha_composite(canvas, image).convert("RGB")
    return image.convert("RGB")


def resize(image: Image.Image, mode: str, width: int, height: int) -> Image.Image:
    """To exactly this size: stretched, or whole with what is missing smeared in ("Resize and fill"), or cut ("Crop and resize")."""
    if mode not in (CROP, FILL):
        return image.resize((width, height), Image.Resampling.LANCZOS)
    wider = width / height > image.width / image.height
    fits_width = wider if mode == CROP else not wider and width / height != image.width / image.height
    inner_width = width if fits_width else image.width * height // image.height
    inner_height = image.height * width // image.width if fits_width else height
    if inner_width * inner_height > MAX_INNER:
        return _middle(image, width / inner_width, height / inner_height).resize((width, height), Image.Resampling.LANCZOS)
    inner = image.resize((max(1, inner_width), max(1, inner_height)), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(inner, (width // 2 - inner.width // 2, height // 2 - inner.height // 2))
    if mode == FILL:
        _smear(canvas, inner)
    return canvas


def _middle(image: Image.Image, across: float, down: float) -> Image.Image:
    """across, down: which part of the width and height to keep, 0..1."""
    width, height = max(1, round(image.width * across)), max(1, round(image.height * down))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _smear(canvas: Image.Image, inner: Image.Image) -> None:
    """Fill the two free strips with the rows or columns at the picture's edge."""
    above, left = canvas.height // 2 - inner.height // 2, canvas.width // 2 - inner.width // 2
    if inner.width >= canvas.width and above > 0:
        strip = (canvas.width, above)
        canvas.paste(inner.resize(strip, box=(0, 0, canvas.width, 0)), (0, 0))
        canvas.paste(inner.resize(strip, box=(0, inner.height, canvas.width, inner.height)), (0, above + inner.height))
    elif inner.height >= canvas.height and left > 0:
        strip = (left, canvas.height)
        canvas.paste(inner.resize(strip, box=(0, 0, 0, canvas.height)), (0, 0))
        canvas.paste(inner.resize(strip, box=(inner.width, 0, inner.width, canvas.height)), (left + inner.width, 0))


def extended(image: Image.Image, amounts: tuple[int, int, int, int]) -> Image.Image:
    """The picture on a larger canvas that goes on in the colours of its edge.  amounts: pixels more at the left, above, right, below."""
    left, up, right, down = amounts
    return Image.fromarray(np.pad(np.asarray(image), ((up, down), (left, right), (0, 0)), mode="edge"))


def crop_around(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """The part of the picture that shows the white of the mask, widened to the shape it will be drawn in; None for a black mask."""
    box = mask.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    left, top = max(left - padding, 0), max(top - padding, 0)
    right, bottom = min(right + padding, mask.width), min(bottom + padding, mask.height)
    if (right - left) / (bottom - top) > width / height:
        top, bottom = _widened(top, bottom, int((right - left) / (width / height) - (bottom - top)), mask.height)
    else:
        left, right = _widened(left, right, int((bottom - top) * (width / height) - (right - left)), mask.width)
    return left, top, right, bottom


def _widened(low: int, high: int, by: int, limit: int) -> tuple[int, int]:
    """A span made longer on both sides, moved inside 0..limit, and cut only if it is longer than that."""
    low, high = low - by // 2, high + by - by // 2
    if high >= limit:
        low, high = low - (high - limit), limit
    if low < 0:
        low, high = 0, high - low
    return low, min(high, limit)


def fill_masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with its masked part replaced by the colours around it."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    filled = Image.new("RGBA", image.size)
    for radius, times in FILL_BLURS:
        blurred = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            filled.alpha_composite(blurred)
    return filled.convert("RGB")


@dataclass(frozen=True)
class Overlay:
    """What is laid over a finished picture: the original where the mask is black.  box: where the drawn part belongs, None for all."""

    original: Image.Image
    mask: Image.Image
    box: Box | None = None

    def over(self, drawn: Image.Image) -> Image.Image:
        """The drawn picture in the original's place; where the mask is black, exactly the original."""
        canvas = drawn.convert("RGBA")
        if self.box:
            left, top, right, bottom = self.box
            canvas = Image.new("RGBA", self.original.size)
            canvas.paste(resize(drawn, CROP, right - left, bottom - top), (left, top))
        canvas.alpha_composite(self.original)
        return canvas.convert("RGB")


def overlay_of(image: Image.Image, mask: Image.Image, box: Box | None = None) -> Overlay:
    """The original with its masked part left transparent."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return Overlay(kept.convert("RGBA"), mask, box)


def doubled(mask: Image.Image) -> Image.Image:
    """A mask with its soft edge moved outwards, as A1111 lays the original over a whole picture."""
    return Image.fromarray(np.clip(np.asarray(mask.convert("L"), dtype=np.float32) * 2, 0, 255).astype(np.uint8))


def _kernel(deviation: float) -> int:
    return 2 * int(2.5 * deviation + 0.5) + 1
