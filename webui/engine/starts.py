"""What sampling starts from: noise alone, or a picture, of which a mask may keep a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.core.request_parts.depth import NO_DEPTH
from webui.core.request_parts.picture import MASK_MODES
from webui.engine.colour_correction import with_colours_of
from webui.engine.extra_channels import DEPTH, PICTURE, Given, extra_channels, extra_channels_of, fitted
from webui.engine.masking import Overlay, overlay_of
from webui.engine.pipeline_manager import Pipeline
from webui.engine.soft_inpainting import SoftInpainting, on_whole_picture, read_soft_inpainting, soft_pairs
from webui.engine.starting_picture import ONLY_MASKED, Inputs, Part, given_depth, given_mask, read_picture


@dataclass(frozen=True)
class Finish:
    """What is done to a drawn picture.

    overlay: what is laid over it.   laid_over: the picture that this is made of.   colours: the one whose colours it is to have.
    """

    overlay: Overlay | None = None
    laid_over: Image.Image | None = None
    colours: Image.Image | None = None


@dataclass(frozen=True)
class Start:
    """Where one batch begins.

    latents: (B, C, h, w) of the pictures, None for noise alone.   kept: (B, 1, h, w), 1 where the picture's latents stay; None: nowhere.
    channels: (B, E, h, w) that the UNet wants beside its latents.   channels_apart: the same for the answer that is to know nothing
    of the picture, where guidance wants one.   soft: how a soft mask blends.   finishes: what is done to each finished picture.
    used: infotext pairs.   remarks: what the user should know.
    """

    latents: torch.Tensor | None = None
    kept: torch.Tensor | None = None
    channels: torch.Tensor | None = None
    channels_apart: torch.Tensor | None = None
    soft: SoftInpainting | None = None
    finishes: tuple[Finish, ...] = ()
    used: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def blended(self, latents: torch.Tensor, sigma: float | None = None) -> torch.Tensor:
        """The latents, with the picture's own where they are kept.  sigma: the noise level; None when sampling has ended."""
        if self.kept is None or self.latents is None:
            return latents
        if self.soft:
            return latents if sigma is None else self.soft.blended(self.kept, self.latents, latents, sigma)
        return latents * (1 - self.kept) + self.latents * self.kept

    def finished(self, place: int, drawn: Image.Image, latent: torch.Tensor) -> Image.Image:
        """A drawn picture, with the original laid over.  latent: (C, h, w), what it was decoded from."""
        finish = self.finishes[place] if self.finishes else Finish()
        if finish.colours:
            drawn = with_colours_of(finish.colours, drawn)
        overlay = finish.overlay
        if overlay and self.soft and self.kept is not None and self.latents is not None and finish.laid_over:
            mask = self.soft.laid_over(self.kept[place], self.latents[place], latent.to(self.latents), drawn.size)
            mask = on_whole_picture(mask, finish.laid_over.size, overlay.box, overlay.mask)
            overlay = overlay_of(finish.laid_over, mask, overlay.box)
        return overlay.over(drawn) if overlay else drawn


NOWHERE = Start()


def build_start(alone: Sequence[GenerationRequest], pipeline: Pipeline, noise: torch.Tensor, inputs: Inputs) -> Start:
    """alone: the requests of the batch's pictures.   noise: (B, C, h, w), also for masked content "latent noise".

    Raises InvalidRequest when the checkpoint needs a picture and there is none, or a picture cannot be used.
    """
    first = alone[0]
    if first.use_depth and extra_channels_of(pipeline) != DEPTH:
        raise InvalidRequest(NO_DEPTH)
    depth = given_depth(first, inputs)
    if not first.init_images:
        return start_from_noise(first, pipeline, noise, inputs, depth)
    mask = given_mask(first, inputs.files)
    names = [one.init_images[0] for one in alone]
    read = {name: read_picture(first, name, mask, depth, pipeline, inputs) for name in dict.fromkeys(names)}
    parts = [read[name] for name in names]
    latents = torch.cat([part.latents for part in parts]).to(noise)
    is_masked = any(part.is_masked for part in parts)
    channels = _joined([part.channels for part in parts], noise)
    common = Start(
        latents,
        channels=channels,
        channels_apart=_apart(first, pipeline, channels),
        finishes=tuple(_finish(part, inputs) for part in parts),
        used={**_used(first, is_masked=is_masked), **depth_pairs(first, pipeline), **_edit_pairs(first, pipeline)},
    )
    if not is_masked:
        remarks = ("The mask is empty, so the whole picture is drawn anew.",) if mask else ()
        return Start(**{**vars(common), "remarks": remarks})
    kept = torch.cat([part.kept for part in parts]).to(noise)
    if first.masked_content == "latent noise":
        latents = latents * kept + noise * (1 - kept)
    elif first.masked_content == "latent nothing":
        latents = latents * kept
    return Start(**{**vars(common), "latents": latents, "kept": kept, "soft": read_soft_inpainting(first)})


def start_from_noise(
    request: GenerationRequest,
    pipeline: Pipeline,
    noise: torch.Tensor,
    inputs: Inputs,
    depth: Image.Image | None = None,
    latents: torch.Tensor | None = None,
) -> Start:
    """Without a picture; a depth map may still say where things are.

    latents: (B, C, h, w) that a second pass begins with; `noise` is of their size.
    """
    size = (noise.shape[2], noise.shape[3])
    pixels = request.changed(width=size[1] * pipeline.downscale, height=size[0] * pipeline.downscale)
    given = Given(depth=fitted(depth, pixels) if depth else None)
    channels = extra_channels(pipeline, request, given, size=size, estimate=inputs.estimate)
    channels = None if channels is None else channels.to(noise).expand(len(noise), -1, -1, -1)
    return Start(latents, channels=channels, used=depth_pairs(request, pipeline))


def depth_pairs(request: GenerationRequest, pipeline: Pipeline) -> dict[str, str]:
    """Infotext pairs of a depth checkpoint."""
    if pipeline.extra_channels != DEPTH:
        return {}
    pairs = {
        "Depth inverted": "True" if request.depth_invert else None,
        "Depth near": str(request.depth_near) if request.depth_near != 1 else None,
        "Depth far": str(request.depth_far) if request.depth_far else None,
    }
    return {key: value for key, value in pairs.items() if value is not None}


def _joined(channels: Sequence[torch.Tensor | None], like: torch.Tensor) -> torch.Tensor | None:
    present = [one for one in channels if one is not None]
    return torch.cat(present).to(like) if present else None


def _apart(request: GenerationRequest, pipeline: Pipeline, channels: torch.Tensor | None) -> torch.Tensor | None:
    """instruct-pix2pix weighs the picture by an answer that does not see it, unless its scale is 1."""
    is_edited = channels is not None and extra_channels_of(pipeline) == PICTURE and request.image_cfg_scale != 1.0
    return torch.zeros_like(channels) if is_edited and channels is not None else None


def _edit_pairs(request: GenerationRequest, pipeline: Pipeline) -> dict[str, str]:
    return {"Image CFG scale": str(request.image_cfg_scale)} if extra_channels_of(pipeline) == PICTURE else {}


def _finish(part: Part, inputs: Inputs) -> Finish:
    colours = part.drawn_from if inputs.settings.img2img_color_correction else None
    return Finish(part.overlay, part.laid_over, colours)


def _used(request: GenerationRequest, *, is_masked: bool) -> dict[str, str]:
    """Infotext pairs.  is_masked: the mask is not empty."""
    sides = zip(("left", "up", "right", "down"), request.outpainting, strict=True)
    outpainted = {f"Outpaint {side}": str(amount) for side, amount in sides if amount}
    if not (request.mask or outpainted):
        return {}
    used = {} if request.mask_mode == MASK_MODES[0] else {"Mask mode": request.mask_mode}
    if request.mask_blur_x == request.mask_blur_y and request.mask_blur_x > 0:
        used["Mask blur"] = str(request.mask_blur_x)
    if is_masked and request.inpaint_area == ONLY_MASKED:
        used |= {"Inpaint area": request.inpaint_area, "Masked area padding": str(request.masked_padding)}
    if is_masked and request.masked_content != "original":
        used["Masked content"] = request.masked_content
    return used | outpainted | (soft_pairs(request) if is_masked else {})
