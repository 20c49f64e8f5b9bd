"""Starting from a picture, of which a mask may keep a part."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from webui.core.parameters import parameter
from webui.core.request_parts.base import LARGEST_SIDE, RequestPart, check_picture_hashes

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
MASK_MODES = ("Inpaint masked", "Inpaint not masked")
MASKED_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
INPAINT_AREAS = ("Whole picture", "Only masked")
# What only a picture makes sense of.
OF_A_PICTURE = (
    "init_images", "mask", "resize_mode", "mask_blur_x", "mask_blur_y", "mask_mode", "mask_round", "masked_content", "inpaint_area",
    "masked_padding", "noise_multiplier",
)  # fmt: skip


class PictureParameters(RequestPart):
    """What to start from, how it comes to size, and what of it is drawn anew."""

    init_images: tuple[str, ...] = parameter(
        (), title="Pictures", help="What to start from: one picture for all, or one for each of a batch.", max_length=64
    )
    mask: str = parameter("", title="Mask", help="White is drawn anew, black stays.", max_length=64)
    denoising_strength: float = parameter(
        0.75, title="Denoising strength", help="How much of the picture is drawn anew: 0 nothing, 1 all of it.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Denoising strength",
    )  # fmt: skip
    resize_mode: str = parameter("Just resize", title="Resize mode", help="How a picture comes to the size.", choices=RESIZE_MODES)
    mask_blur_x: int = parameter(
        4, title="Mask blur", help="Softens the mask's edge, pixels.", minimum=0, maximum=512, step=1, slider=(0, 64)
    )
    mask_blur_y: int = parameter(4, title="Mask blur, vertical", help="As across.", minimum=0, maximum=512, step=1, slider=(0, 64))
    mask_mode: str = parameter(
        "Inpaint masked", title="Mask mode", help="Draw what is white, or what is black.", choices=MASK_MODES, infotext="Mask mode"
    )
    mask_round: bool = parameter(True, title="Sharp mask", help="Each latent is either drawn or kept; off: blended.")
    masked_content: str = parameter(
        "original", title="Masked content", help="What lies under the mask at the beginning.", choices=MASKED_CONTENTS,
        infotext="Masked content",
    )  # fmt: skip
    inpaint_area: str = parameter(
        "Whole picture", title="Inpaint area", help="Only masked: the masked part is drawn at full size.", choices=INPAINT_AREAS,
        infotext="Inpaint area",
    )  # fmt: skip
    masked_padding: int = parameter(
        32, title="Only masked padding", help="Pixels around the mask that are drawn with it.", minimum=0, maximum=LARGEST_SIDE, step=4,
        slider=(0, 256), infotext="Masked area padding",
    )  # fmt: skip
    noise_multiplier: float | None = parameter(
        None, title="Noise multiplier", help="Strength of the noise that is laid over a picture; empty: as the settings say.",
        minimum=0.0, maximum=10.0, step=0.01,
    )  # fmt: skip

    image_cfg_scale: float = parameter(
        1.5, title="Image CFG Scale", help="For instruct-pix2pix: how closely the result follows the picture.",
        minimum=0.0, maximum=100.0, step=0.05, slider=(0.0, 3.0), infotext="Image CFG scale",
    )  # fmt: skip

    @field_validator("init_images", "mask")
    @classmethod
    def _known_by_its_hash(cls, value: Any, info: Any) -> Any:
        check_picture_hashes(info.field_name, *((value,) if isinstance(value, str) else value))
        return value
