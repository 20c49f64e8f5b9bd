"""What a job's ControlNet units follow: the picture each takes, what its preprocessor makes of it, and that at the size of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.morphology import skeletonize

from webui.core.control import pixel_perfect
from webui.core.images import decode_image
from webui.core.ports import AnnotationOptions, Work
from webui.core.preprocessors import find_preprocessor
from webui.core.request_parts.control import CONTROL_RESIZE_MODES, ControlUnit
from webui.core.request_parts.picture import INPAINT_AREAS
from webui.engine.masking import FILL, flatten, read_mask, resize
from webui.engine.starting_picture import given_mask, masked_box, outpainted

Annotate = Callable[[str, Image.Image, AnnotationOptions], Image.Image]
Pixels = NDArray[np.uint8]

STRETCH, CROP_MODE, FILL_MODE = CONTROL_RESIZE_MODES
# Fewer colours than these are labels rather than shades, and must not be mixed.
FEW_COLOURS = 200


@dataclass(frozen=True)
class ControlPicture:
    """What one unit follows.  unit: its number.   source: the hash of the picture it was made of.   mask: white is to be drawn anew.

    resize_mode: how it comes to the size of a pass.
    """

    unit: int
    source: str
    image: Image.Image
    mask: Image.Image | None
    resize_mode: str

    def hint(self, width: int, height: int) -> torch.Tensor:
        """(3, H, W) in 0..1, at this size; -1 where the mask is white."""
        fitted = fit(np.asarray(self.image.convert("RGB")), self.resize_mode, width, height)
        hint = torch.from_numpy(fitted.astype(np.float32) / 255).permute(2, 0, 1)
        if self.mask is None:
            return hint
        # What lies beside a picture that is smaller is to be drawn, too.
        mask = fit(np.asarray(self.mask.convert("RGB")), self.resize_mode, width, height, outside=255)[..., 0]
        return torch.where(torch.from_numpy(mask > 127), -1.0, hint)


def sources_of(unit: ControlUnit, init_images: tuple[str, ...]) -> tuple[str, ...]:
    """The pictures that a unit follows in a job: its own, else those that the job starts from, each once."""
    return (unit.image,) if unit.image else tuple(dict.fromkeys(init_images))


def control_pictures(work: Work, annotate: Annotate) -> Iterator[ControlPicture]:
    """What each active unit of a job follows. Takes as long as the preprocessors do.  Raises WebuiError."""
    request = work.request
    for number, unit in request.active_units:
        preprocessor = find_preprocessor(unit.module)
        for source in sources_of(unit, request.init_images):
            picture, mask, mode = _source(work, unit, source)
            resolution = unit.processor_res
            if unit.pixel_perfect:
                resolution = pixel_perfect(picture.size, (request.width, request.height), mode)
            options = AnnotationOptions(resolution, unit.threshold_a, unit.threshold_b)
            made = annotate(unit.module, picture, options)
            yield ControlPicture(number, source, made, mask if preprocessor.takes_mask else None, mode)


def _source(work: Work, unit: ControlUnit, source: str) -> tuple[Image.Image, Image.Image | None, str]:
    """The picture and the mask that a unit takes, and how they come to size.

    Where only what a mask shows is drawn, only that is followed.
    """
    request, files = work.request, work.pictures
    picture = flatten(decode_image(files[source].read_bytes()), work.settings.img2img_background_color)
    mask = None
    if unit.mask:
        mask = read_mask(decode_image(files[unit.mask].read_bytes()), rounded=request.mask_round)
    elif request.mask and not unit.image:
        mask = given_mask(request, files)
    if not unit.image:
        picture, mask = outpainted(request, picture, mask)
    if mask is not None and mask.size != picture.size:
        mask = mask.resize(picture.size, Image.Resampling.BILINEAR)
    # As in A1111, the picture that the job starts from comes to size as that one does.
    mode = unit.resize_mode if unit.image else _mode_of(request.resize_mode)
    if request.mask and request.inpaint_area == INPAINT_AREAS[1]:
        start = flatten(decode_image(files[source if source in request.init_images else request.init_images[0]].read_bytes()))
        start, drawn = outpainted(request, start, given_mask(request, files))
        box = masked_box(request, drawn, start.size) if drawn else None
        if box:
            target = (request.width, request.height)
            picture = resize(resize(picture, mode.capitalize(), *start.size).crop(box), FILL, *target)
            mask = resize(resize(mask, mode.capitalize(), *start.size).crop(box), FILL, *target) if mask else None
    return picture, mask, mode


def _mode_of(resize_mode: str) -> str:
    return next((mode for mode in CONTROL_RESIZE_MODES if mode.lower() == resize_mode.lower()), STRETCH)


def fit(pixels: Pixels, mode: str, width: int, height: int, outside: int | None = None) -> Pixels:
    """A control picture (h, w, 3) at exactly this size: stretched, its middle cut out, or whole on a border of its own edge's colour.

    outside: the level of that border in its place.
    """
    if (pixels.shape[1], pixels.shape[0]) == (width, height):
        return pixels
    if mode == STRETCH:
        return scale(pixels, width, height)
    factors = width / pixels.shape[1], height / pixels.shape[0]
    factor = min(factors) if mode == FILL_MODE else max(factors)
    inner = scale(pixels, max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    left, top = abs(inner.shape[1] - width) // 2, abs(inner.shape[0] - height) // 2
    if mode == CROP_MODE:
        return inner[top : top + height, left : left + width]
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    border = np.median(edges, axis=0).astype(np.uint8) if outside is None else np.uint8(outside)
    canvas = np.full((height, width, 3), border, dtype=np.uint8)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def scale(pixels: Pixels, width: int, height: int) -> Pixels:
    """A control picture (h, w, 3) at another size: lines of one pixel stay such, labels stay pure, black and white stay black and white."""
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    colours = len(np.unique(packed))
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    if 2 < colours < FEW_COLOURS:
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)
    if colours != 2 or pixels.min() >= 16 or pixels.max() <= 240:
        return scaled
    grey = cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)
    _, binary = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if _is_thin(pixels[..., 0]):
        binary = (skeletonize(binary > 0) * 255).astype(np.uint8)
    return np.repeat(binary[..., None], 3, axis=2)


def _is_thin(pixels: Pixels) -> bool:
    """Whether more than half of what is white would not survive an opening, as lines of one pixel do not."""
    kernel = np.ones((3, 3), dtype=np.uint8)
    opened = cv2.dilate(cv2.erode(pixels, kernel), kernel)
    return int((opened < pixels).sum()) * 2 > int((pixels > 127).sum())
