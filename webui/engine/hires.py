"""The second pass of a hires fix: how the first one is brought to its size, and what the infotext says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType

import torch
from PIL import Image
from torch.nn import functional

from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.engine.pipeline_manager import Pipeline
from webui.engine.refiner import latents_are_alike
from webui.engine.rows import Answer, UNetCall
from webui.engine.upscale import Enlarging
from webui.engine.vae import decode_picture, encode_picture

# A picture, and the width and height it is to have.
Enlarge = Callable[[Image.Image, int, int], Enlarging]

# Of each latent upscaler: torch's mode, and whether it smooths.
LATENT_UPSCALERS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "Latent": ("bilinear", False),
        "Latent (antialiased)": ("bilinear", True),
        "Latent (bicubic)": ("bicubic", False),
        "Latent (bicubic antialiased)": ("bicubic", True),
        "Latent (nearest)": ("nearest", False),
        "Latent (nearest-exact)": ("nearest-exact", False),
    }
)


def upscaled(
    latents: torch.Tensor,
    request: GenerationRequest,
    pipeline: Pipeline,
    enlarge: Enlarge,
    second: Pipeline,
    bring_vae: Callable[[Pipeline], None],
) -> Generator[UNetCall, Answer, torch.Tensor]:
    """(B, C, h', w') of the first pass's latents (B, C, h, w).

    enlarge: with the upscaler that the request names. Between its tiles an empty UNetCall lets the other jobs go on.
    second: what draws the second pass.   bring_vae: makes a pipeline's VAE ready for use; one at a time.
    Raises InvalidRequest when `second` cannot go on with enlarged latents.
    """
    target = request.hires_size
    size = (target.height // pipeline.downscale, target.width // pipeline.downscale)
    if request.hr_upscaler in LATENT_UPSCALERS:
        if not latents_are_alike(pipeline, second):
            raise InvalidRequest(
                f"The hires checkpoint works on latents of another kind than the checkpoint's, so {request.hr_upscaler!r} cannot enlarge "
                "them. Choose an upscaler of pictures, such as Lanczos, or two checkpoints of one family."
            )
        mode, antialias = LATENT_UPSCALERS[request.hr_upscaler]
        larger = functional.interpolate(latents, size=size, mode=mode, antialias=antialias)
    else:
        pictures = []
        for latent in latents:
            bring_vae(pipeline)  # other jobs may have had the device since
            decoded = decode_picture(pipeline.vae, latent)
            pictures.append((yield from in_turn(enlarge(decoded, target.width, target.height))))
        bring_vae(second)
        larger = torch.cat([encode_picture(second.vae, picture) for picture in pictures])
    cut_x, cut_y = target.cut_x // pipeline.downscale, target.cut_y // pipeline.downscale
    return larger[:, :, cut_y // 2 : larger.shape[2] - (cut_y + 1) // 2, cut_x // 2 : larger.shape[3] - (cut_x + 1) // 2]


def in_turn(work: Enlarging) -> Generator[UNetCall, Answer, Image.Image]:
    """Enlarge a picture; between two tiles the device loop sees to other jobs, and to this one's cancelling and skipping."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            picture: Image.Image = end.value
            return picture
        yield UNetCall(())


def hires_pairs(request: GenerationRequest, second: GenerationRequest, checkpoint: str = "") -> dict[str, str]:
    """What A1111's infotext says of the second pass, in its order.

    second: the request of that pass.   checkpoint: title of the model that draws it, where that is another one.
    """
    sized = bool(request.hr_resize_x or request.hr_resize_y)
    pairs = {
        "Hires checkpoint": checkpoint or None,
        "Hires CFG Scale": str(request.hr_cfg) if request.hr_cfg else None,
        "Hires sampler": second.sampler if second.sampler != request.sampler else None,
        "Hires prompt": second.prompt if second.prompt != request.prompt else None,
        "Hires negative prompt": second.negative_prompt if second.negative_prompt != request.negative_prompt else None,
        "Hires schedule type": second.schedule if second.schedule != request.schedule else None,
        "Hires upscale": None if sized else str(request.hr_scale),
        "Hires resize": f"{request.hr_resize_x}x{request.hr_resize_y}" if sized else None,
        "Hires steps": str(request.hr_second_pass_steps) if request.hr_second_pass_steps else None,
        "Hires upscaler": request.hr_upscaler,
    }
    return {key: value for key, value in pairs.items() if value is not None}
