"""ControlNet: pictures that a drawing is to follow."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator, model_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.preprocessors import NONE, find_preprocessor
from webui.core.request_parts.base import RequestPart, check_picture_hashes

NO_MODEL = "None"
CONTROL_MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")
CONTROL_RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
HIRES_OPTIONS = ("Both", "Low res only", "High res only")
# A number that the preprocessor's own default stands for.
OWN = -1


class ControlUnit(RequestPart):
    """One ControlNet at work: a picture, what is made of it, and how the drawing follows that."""

    enabled: bool = parameter(False, title="Enable", help="Whether the unit acts.")
    module: str = parameter(NONE, title="Preprocessor", help="What is made of the picture before it is followed.", max_length=128)
    model: str = parameter(NO_MODEL, title="Model", help="The control model.", max_length=512)
    weight: float = parameter(1.0, title="Control Weight", help="How strongly the drawing follows.", minimum=0.0, maximum=2.0, step=0.05)
    image: str = parameter("", title="Picture", help="What to follow; empty: the picture that the job starts from.", max_length=64)
    mask: str = parameter("", title="Mask", help="Of an inpainting unit: white is to be drawn anew.", max_length=64)
    resize_mode: str = parameter(
        "Crop and Resize", title="Resize Mode", help="How the control picture comes to the size.", choices=CONTROL_RESIZE_MODES
    )
    processor_res: int = parameter(
        OWN, title="Resolution", help="Pixels of the shorter side that the preprocessor sees; -1: its own.", minimum=OWN, maximum=8192,
        step=8, slider=(64, 2048),
    )  # fmt: skip
    threshold_a: float = parameter(
        OWN, title="Threshold A", help="The preprocessor's first number; -1: its own.", minimum=OWN, maximum=65536.0
    )
    threshold_b: float = parameter(OWN, title="Threshold B", help="Its second.", minimum=OWN, maximum=65536.0)
    guidance_start: float = parameter(
        0.0, title="Starting Control Step", help="From this part of the steps on.", minimum=0.0, maximum=1.0, step=0.01
    )
    guidance_end: float = parameter(
        1.0, title="Ending Control Step", help="Up to this part of the steps.", minimum=0.0, maximum=1.0, step=0.01
    )
    pixel_perfect: bool = parameter(
        False, title="Pixel Perfect", help="The resolution at which one pixel of the control picture is one of the drawing."
    )
    control_mode: str = parameter(
        "Balanced", title="Control Mode", help="Which of the two wins where prompt and picture disagree.", choices=CONTROL_MODES
    )
    hr_option: str = parameter("Both", title="Hires-Fix option", help="In which pass of a hires fix it acts.", choices=HIRES_OPTIONS)

    @field_validator("module")
    @classmethod
    def _a_known_preprocessor(cls, value: str) -> str:
        return find_preprocessor(value).label

    @field_validator("model")
    @classmethod
    def _storable_text(cls, value: str) -> str:
        return value.replace("\x00", "").strip() or NO_MODEL

    @field_validator("image", "mask")
    @classmethod
    def _known_by_its_hash(cls, value: Any, info: Any) -> Any:
        check_picture_hashes(info.field_name, value)
        return value

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> ControlUnit:
        if self.guidance_start > self.guidance_end:
            raise InvalidRequest(
                f"guidance_start: got {self.guidance_start}, which lies behind guidance_end ({self.guidance_end}). Exchange the two."
            )
        if self.mask and not self.image:
            raise InvalidRequest("mask: got a mask without a picture; send the unit's picture too.")
        return self


class ControlParameters(RequestPart):
    """What the drawing follows beside its prompt."""

    control_units: tuple[ControlUnit, ...] = parameter(
        (), title="ControlNet", help="Units, each with a picture, a preprocessor and a control model.", max_length=32,
        api="alwayson_scripts.controlnet.args",
    )  # fmt: skip

    @property
    def active_units(self) -> tuple[tuple[int, ControlUnit], ...]:
        """The units that act, each with its number."""
        return tuple((number, unit) for number, unit in enumerate(self.control_units) if unit.enabled)
