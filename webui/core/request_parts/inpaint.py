"""Beyond a plain mask: soft edges that follow what changes (soft inpainting), and more canvas around a picture (outpainting)."""

from __future__ import annotations

from webui.core.parameters import parameter
from webui.core.request_parts.base import LARGEST_SIDE, RequestPart


class InpaintParameters(RequestPart):
    """Soft inpainting as A1111's extension of that name; outpainting by side and amount."""

    soft_inpainting: bool = parameter(
        False, title="Soft inpainting", help="Blend along the mask's soft edge, more where more has changed.",
        infotext="Soft inpainting enabled",
    )  # fmt: skip
    soft_schedule_bias: float = parameter(
        1.0, title="Schedule bias", help="Above 1 the original is kept more in the early steps, below 1 more in the late ones.",
        minimum=0.0, maximum=8.0, step=0.1, infotext="Soft inpainting schedule bias",
    )  # fmt: skip
    soft_preservation_strength: float = parameter(
        0.5, title="Preservation strength", help="How strongly the half-masked part is kept.",
        minimum=0.0, maximum=8.0, step=0.05, infotext="Soft inpainting preservation strength",
    )  # fmt: skip
    soft_transition_contrast: float = parameter(
        4.0, title="Transition contrast boost", help="Above 1 keeps details where old and new are mixed.",
        minimum=1.0, maximum=32.0, step=0.5, infotext="Soft inpainting transition contrast boost",
    )  # fmt: skip
    soft_mask_influence: float = parameter(
        0.0, title="Mask influence", help="How much the mask itself decides what of the original is laid over the result.",
        minimum=0.0, maximum=1.0, step=0.05, infotext="Soft inpainting mask influence",
    )  # fmt: skip
    soft_difference_threshold: float = parameter(
        0.5, title="Difference threshold", help="How much must have changed until the original is half transparent.",
        minimum=0.0, maximum=8.0, step=0.25, infotext="Soft inpainting difference threshold",
    )  # fmt: skip
    soft_difference_contrast: float = parameter(
        2.0, title="Difference contrast", help="How sharply it changes from original to new.",
        minimum=0.0, maximum=8.0, step=0.25, infotext="Soft inpainting difference contrast",
    )  # fmt: skip
    outpaint_left: int = parameter(
        0, title="Outpaint left", help="Pixels of new canvas.", minimum=0, maximum=LARGEST_SIDE, step=8, slider=(0, 512),
        infotext="Outpaint left",
    )  # fmt: skip
    outpaint_right: int = parameter(
        0, title="Outpaint right", help="Pixels of new canvas.", minimum=0, maximum=LARGEST_SIDE, step=8, slider=(0, 512),
        infotext="Outpaint right",
    )  # fmt: skip
    outpaint_up: int = parameter(
        0, title="Outpaint up", help="Pixels of new canvas.", minimum=0, maximum=LARGEST_SIDE, step=8, slider=(0, 512),
        infotext="Outpaint up",
    )  # fmt: skip
    outpaint_down: int = parameter(
        0, title="Outpaint down", help="Pixels of new canvas.", minimum=0, maximum=LARGEST_SIDE, step=8, slider=(0, 512),
        infotext="Outpaint down",
    )  # fmt: skip

    @property
    def outpainting(self) -> tuple[int, int, int, int]:
        """Pixels of new canvas: left, up, right, down."""
        return self.outpaint_left, self.outpaint_up, self.outpaint_right, self.outpaint_down
