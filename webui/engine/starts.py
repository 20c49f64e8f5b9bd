"""What sampling starts from: noise alone, or a picture, of which a mask may keep a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional

from webui.core.errors import InvalidRequest
from webui.core.images import decode_image
from webui.core.request import INPAINT_AREAS, MASK_MODES, RESIZE_MODES, GenerationRequest
from webui.engine.masking import FILL, Box, Overlay, blur, crop_around, doubled, fill_masked, flatten, overlay_of, read_mask, resize
from webui.engine.pipeline_manager import Pipeline
from webui.engine.vae import encode_picture

LATENT_UPSCALE = RESIZE_MODES[3]
ONLY_MASKED = INPAINT_AREAS[1]


# A latent upscale encodes the picture in its own size, which takes some kilobytes a pixel.
MAX_ENCODED_PIXELS = 2048 * 2048


@dataclass(frozen=True)
class Start:
    """Where one batch begins.

    latents: (B, C, h, w) of the pictures, None for noise alone.   kept: (B, 1, h, w), 1 where the picture's latents stay; None: nowhere.
    overlays: what is laid over each finished picture, where anything is.   used: infotext pairs.   remarks: what the user should know.
    """

    latents: torch.Tensor | None = None
    kept: torch.Tensor | None = None
    overlays: tuple[Overlay | None, ...] = ()
    used: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def blended(self, latents: torch.Tensor) -> torch.Tensor:
        """The latents, with the picture's own where they are kept."""
        if self.kept is None or self.latents is None:
            return latents
        return latents * (1 - self.kept) + self.latents * self.kept

    def finished(self, place: int, drawn: Image.Image) -> Image.Image:
        """A drawn picture with the original laid over."""
        overlay = self.overlays[place] if self.overlays else None
        return overlay.over(drawn) if overlay else drawn


NOWHERE = Start()


@dataclass(frozen=True)
class _Masked:
    """One picture's mask at the size of drawing.  over: at the size of the picture;   box: what is cut out of it."""

    mask: Image.Image
    over: Image.Image
    box: Box | None


@dataclass(frozen=True)
class _Part:
    """What one picture gives to the batch.  latents: (1, C, h, w).   kept: (1, 1, h, w)."""

    latents: torch.Tensor
    kept: torch.Tensor
    overlay: Overlay | None
    is_masked: bool


def build_start(
    alone: Sequence[GenerationRequest], files: Mapping[str, Path], pipeline: Pipeline, noise: torch.Tensor, background: str = "#ffffff"
) -> Start:
    """alone: the requests of the batch's pictures.   files: of their pictures.   noise: (B, C, h, w), for masked content "latent noise".

    background: the colour under what is transparent.
    """
    first = alone[0]
    if not first.init_images:
        return Start()
    mask = _given_mask(first, files[first.mask]) if first.mask else None
    names = [one.init_images[0] for one in alone]
    read = {name: _read_picture(first, files[name], mask, pipeline, background) for name in dict.fromkeys(names)}
    parts = [read[name] for name in names]
    latents = torch.cat([part.latents for part in parts]).to(noise)
    is_masked = any(part.is_masked for part in parts)
    used = _used(first, is_masked=is_masked)
    if not is_masked:
        remarks = ("The mask is empty, so the whole picture is drawn anew.",) if mask else ()
        return Start(latents, used=used, remarks=remarks)
    kept = torch.cat([part.kept for part in parts]).to(noise)
    if first.masked_content == "latent noise":
        latents = latents * kept + noise * (1 - kept)
    elif first.masked_content == "latent nothing":
        latents = latents * kept
    return Start(latents, kept, tuple(part.overlay for part in parts), used)


def _given_mask(request: GenerationRequest, file: Path) -> Image.Image:
    mask = read_mask(decode_image(file.read_bytes()), rounded=request.mask_round)
    return mask if request.mask_mode == MASK_MODES[0] else ImageOps.invert(mask)


def _used(request: GenerationRequest, *, is_masked: bool) -> dict[str, str]:
    """Infotext pairs.  is_masked: the mask is not empty."""
    if not request.mask:
        return {}
    used = {} if request.mask_mode == MASK_MODES[0] else {"Mask mode": request.mask_mode}
    if request.mask_blur_x == request.mask_blur_y and request.mask_blur_x > 0:
        used["Mask blur"] = str(request.mask_blur_x)
    if is_masked and request.inpaint_area == ONLY_MASKED:
        used |= {"Inpaint area": request.inpaint_area, "Masked area padding": str(request.masked_padding)}
    if is_masked and request.masked_content != "original":
        used["Masked content"] = request.masked_content
    return used


def _read_picture(request: GenerationRequest, file: Path, mask: Image.Image | None, pipeline: Pipeline, background: str) -> _Part:
    original = flatten(decode_image(file.read_bytes()), background)
    if request.resize_mode == LATENT_UPSCALE and original.width * original.height > MAX_ENCODED_PIXELS:
        raise InvalidRequest(
            f"The picture is {original.width}x{original.height}; for a latent upscale it may have {MAX_ENCODED_PIXELS} pixels. "
            "Choose another resize mode, or a smaller picture."
        )
    masked = _masked(request, mask, original.size) if mask else None
    picture, overlay = _picture(request, original, masked)
    if min(picture.size) < pipeline.downscale:  # less than one latent
        picture = picture.resize((max(picture.width, pipeline.downscale), max(picture.height, pipeline.downscale)))
    size = (request.height // pipeline.downscale, request.width // pipeline.downscale)
    latents = encode_picture(pipeline.vae, picture)
    if request.resize_mode == LATENT_UPSCALE:
        latents = functional.interpolate(latents, size=size, mode="bilinear", antialias=False)
    kept = _kept(masked.mask, size, rounded=request.mask_round) if masked else torch.zeros(1, 1, *size)
    return _Part(latents, kept, overlay, masked is not None)


def _masked(request: GenerationRequest, mask: Image.Image, size: tuple[int, int]) -> _Masked | None:
    """A mask as it lies on a picture of this size; None where only what it shows is to be drawn, and it shows nothing."""
    if mask.size != size:
        mask = mask.resize(size, Image.Resampling.BILINEAR)  # without the ripples of a sharper filter, where the picture is to stay
    mask = blur(mask, request.mask_blur_x, request.mask_blur_y)
    if request.inpaint_area != ONLY_MASKED:
        mask = resize(mask, request.resize_mode, request.width, request.height)
        return _Masked(mask, doubled(mask), None)
    box = crop_around(mask, request.masked_padding, request.width, request.height)
    if box is None:
        return None
    return _Masked(resize(mask.crop(box), FILL, request.width, request.height), mask, box)


def _picture(request: GenerationRequest, image: Image.Image, masked: _Masked | None) -> tuple[Image.Image, Overlay | None]:
    """A picture as it is encoded, and what is laid over the result."""
    if masked and masked.box:
        overlay: Overlay | None = overlay_of(image, masked.over, masked.box)
        image = resize(image.crop(masked.box), FILL, request.width, request.height)
    else:
        resized = resize(image, request.resize_mode, request.width, request.height)
        overlay = overlay_of(resized, masked.over) if masked else None
        image = image if request.resize_mode == LATENT_UPSCALE else resized
    if masked is None or request.masked_content == "original":
        return image, overlay
    mask = masked.mask if masked.mask.size == image.size else masked.mask.resize(image.size)
    return fill_masked(image, mask), overlay


def _kept(mask: Image.Image, size: tuple[int, int], *, rounded: bool) -> torch.Tensor:
    """(1, 1, h, w): 1 where the mask is black."""
    small = np.asarray(mask.convert("RGB").resize((size[1], size[0])), dtype=np.float32)[..., 0] / 255
    return torch.from_numpy(1 - (np.around(small) if rounded else small))[None, None]
