"""What the Extras tab and its API can ask for: pictures made larger, and faces in them mended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from webui.core.errors import InvalidRequest
from webui.core.infotext import compose
from webui.core.model_jobs import DownloadRequest, MergeRequest
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest, invalid
from webui.core.request_parts.base import RequestPart, check_picture_hashes
from webui.core.upscalers import NO_UPSCALER

RESIZE_MODES = ("Scale by", "Scale to")
MAX_PICTURES, MAX_NAME, MAX_STEPS = 1000, 255, 100
MAX_SIDE = 32768
MAX_RESULT_PIXELS = 8192 * 8192
# When the program's own steps work, among those that extensions add. The numbers are A1111's.
ENLARGING, RESTORERS = 1000, (("GFPGAN", 2000), ("CodeFormer", 3000))


@dataclass(frozen=True)
class TargetSize:
    """Pixels.  width, height: what a picture is enlarged to.   crop: what is then cut out of its middle, None for all."""

    width: int
    height: int
    crop: tuple[int, int] | None = None


class SourcePicture(BaseModel):
    """A picture to work on.

    image: the hash under which it is stored.   name: its file's, for the result's.   infotext: how it was made, for the result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(pattern="^[0-9a-f]{64}$")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    name: str = Field(default="", max_length=MAX_NAME)
    infotext: str = Field(default="", max_length=8 * 1024 * 1024)


class ExtrasStep(BaseModel):
    """A step that an extension adds.  name: its own.   order: when it works; see NewPostprocessor.   values: of its controls, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=MAX_NAME)
    order: int = 4000
    values: dict[str, str | bool | int | float | tuple[str, ...]] = Field(default_factory=dict, max_length=100)

    def in_words(self) -> str:
        """For the text beside the result."""
        values = ", ".join(f"{name}: {value}" for name, value in self.values.items())
        return f"{self.name} ({values})" if values else self.name


class ExtrasRequest(RequestPart):
    """One job: pictures, and what to do with each. Frozen.

    kind: by this a stored request says that it is none for drawing.
    """

    kind: Literal["extras"] = "extras"
    pictures: tuple[SourcePicture, ...] = Field(min_length=1, max_length=MAX_PICTURES)
    resize_mode: str = parameter("Scale by", title="Resize", help="By a factor, or to a size.", choices=RESIZE_MODES)
    scale: float = parameter(
        2.0, title="Resize", help="How much larger the picture becomes.", minimum=0.01, maximum=64.0, step=0.05, slider=(1.0, 8.0),
        api="upscaling_resize", infotext="Postprocess upscale by",
    )  # fmt: skip
    max_side: int = parameter(
        0, title="Max side length", help="The longer side becomes at most this; 0: no limit.", minimum=0, maximum=MAX_SIDE, step=8,
        api="max_side_length", infotext="Max side length",
    )  # fmt: skip
    width: int = parameter(
        512, title="Width", help="Pixels.", minimum=1, maximum=MAX_SIDE, step=8, slider=(64, 8192), api="upscaling_resize_w"
    )
    height: int = parameter(
        512, title="Height", help="Pixels.", minimum=1, maximum=MAX_SIDE, step=8, slider=(64, 8192), api="upscaling_resize_h"
    )
    crop: bool = parameter(
        True, title="Crop to fit", help="Cut off what is beyond the size; otherwise the shape of the picture is kept.",
        api="upscaling_crop",
    )  # fmt: skip
    upscaler_1: str = parameter(
        NO_UPSCALER, title="Upscaler 1", help="None: the size stays.", max_length=512, infotext="Postprocess upscaler"
    )
    upscaler_2: str = parameter(
        NO_UPSCALER, title="Upscaler 2", help="Its result is laid over the first one's.", max_length=512,
        infotext="Postprocess upscaler 2",
    )  # fmt: skip
    upscaler_2_visibility: float = parameter(
        0.0, title="Upscaler 2 visibility", help="0: only the first; 1: only the second.", minimum=0.0, maximum=1.0, step=0.001,
        api="extras_upscaler_2_visibility",
    )  # fmt: skip
    gfpgan_visibility: float = parameter(
        0.0, title="GFPGAN visibility", help="How much of the faces that GFPGAN mends is seen.", minimum=0.0, maximum=1.0, step=0.001,
        infotext="GFPGAN visibility",
    )  # fmt: skip
    codeformer_visibility: float = parameter(
        0.0, title="CodeFormer visibility", help="How much of the faces that CodeFormer mends is seen.", minimum=0.0, maximum=1.0,
        step=0.001, infotext="CodeFormer visibility",
    )  # fmt: skip
    codeformer_weight: float = parameter(
        0.0, title="CodeFormer weight", help="0: the strongest effect; 1: the weakest.", minimum=0.0, maximum=1.0, step=0.001,
        infotext="CodeFormer weight",
    )  # fmt: skip

    steps: tuple[ExtrasStep, ...] = Field(default=(), max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _results_can_be_made(self) -> ExtrasRequest:
        check_picture_hashes("pictures", *(picture.image for picture in self.pictures))
        for picture in self.pictures:
            self.checked_target(picture)
        return self

    @property
    def images(self) -> int:
        """How many pictures come out."""
        return len(self.pictures)

    @property
    def upscalers(self) -> tuple[str, ...]:
        """The upscalers that take part, the first one first."""
        if self.upscaler_1 == NO_UPSCALER:
            return ()
        second = self.upscaler_2 if self.upscaler_2_visibility > 0 else NO_UPSCALER
        return (self.upscaler_1,) if second == NO_UPSCALER else (self.upscaler_1, second)

    def steps_between(self, low: float, high: float) -> tuple[ExtrasStep, ...]:
        """The added steps whose order is from `low` on, and below `high`; the first to work first."""
        return tuple(sorted((step for step in self.steps if low <= step.order < high), key=lambda step: step.order))

    @property
    def face_restorers(self) -> tuple[str, ...]:
        """Those that take part, in the order in which they work."""
        asked = (("GFPGAN", self.gfpgan_visibility), ("CodeFormer", self.codeformer_visibility))
        return tuple(name for name, visibility in asked if visibility > 0)

    def target(self, picture: SourcePicture) -> TargetSize:
        """How large the picture becomes; without an upscaler, as it is."""
        width, height = picture.width, picture.height
        if not self.upscalers:
            return TargetSize(width, height)
        if self.resize_mode == RESIZE_MODES[0]:
            wide, high = max(1, int(width * self.scale)), max(1, int(height * self.scale))
            if not self._limits(picture):
                return TargetSize(wide, high)
            return TargetSize(*_with_longer_side(wide, high, self.max_side))
        factor = max(self.width / width, self.height / height)
        covering = max(self.width, round(width * factor)), max(self.height, round(height * factor))
        return TargetSize(*covering, (self.width, self.height) if self.crop else None)

    def checked_target(self, picture: SourcePicture) -> TargetSize:
        """As `target`.  Raises InvalidRequest when that is too large."""
        size = self.target(picture)
        if size.width * size.height > MAX_RESULT_PIXELS:
            raise InvalidRequest(
                f"{picture.name or 'The picture'} would be {size.width}x{size.height}; "
                f"at most {MAX_RESULT_PIXELS} pixels are made. Upscale less."
            )
        return size

    def of_image(self, index: int) -> ExtrasRequest:
        """The request that makes picture `index` of this job alone."""
        return self.model_copy(update={"pictures": (self.pictures[index],)})

    def describe(self, index: int) -> str:
        """What was done to picture `index`, in A1111's words."""
        by_factor = self.resize_mode == RESIZE_MODES[0]
        size = self.target(self.pictures[index])
        second = self.upscalers[1:]
        upscaled: dict[str, str | None] = {
            "Postprocess upscale by": str(self.scale) if by_factor else None,
            "Postprocess upscale to": None if by_factor else f"{self.width}x{self.height}",
            "Max side length": str(self.max_side) if self._limits(self.pictures[index]) else None,
            "Postprocess crop to": f"{size.crop[0]}x{size.crop[1]}" if size.crop else None,
            "Postprocess upscaler": self.upscaler_1,
            "Postprocess upscaler 2": second[0] if second else None,
        }
        pairs = upscaled if self.upscalers else {}
        if "GFPGAN" in self.face_restorers:
            pairs |= {"GFPGAN visibility": str(round(self.gfpgan_visibility, 3))}
        if "CodeFormer" in self.face_restorers:
            pairs |= {"CodeFormer visibility": str(round(self.codeformer_visibility, 3))}
            pairs |= {"CodeFormer weight": str(round(self.codeformer_weight, 3))}
        if self.steps:
            pairs |= {"Postprocess steps": "; ".join(step.in_words() for step in self.steps_between(-math.inf, math.inf))}
        return compose("", "", pairs)

    def changed(self, **changes: Any) -> ExtrasRequest:
        """A validated copy with these fields changed.  Raises InvalidRequest."""
        return read_extras({**self.model_dump(), **changes})

    def _limits(self, picture: SourcePicture) -> bool:
        return bool(self.resize_mode == RESIZE_MODES[0] and 0 < self.max_side < max(picture.width, picture.height) * self.scale)


PictureRequest = GenerationRequest | ExtrasRequest
JobRequest = PictureRequest | MergeRequest | DownloadRequest


def read_extras(values: dict[str, Any]) -> ExtrasRequest:
    """Validate outside values.  Raises InvalidRequest naming each wrong field, its value and the rule."""
    try:
        return ExtrasRequest.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from None


def _with_longer_side(width: int, height: int, side: int) -> tuple[int, int]:
    """The same shape, in whole pixels rounded down as A1111 does."""
    if height > width:
        return max(1, side * width // height), side
    return side, max(1, side * height // width)


def as_drawing(request: JobRequest) -> GenerationRequest:
    """The request of a picture that was drawn.  Raises InvalidRequest for one that was worked on in Extras."""
    if isinstance(request, MergeRequest | DownloadRequest):
        raise InvalidRequest("This job makes a model file, and no picture.")
    if isinstance(request, ExtrasRequest):
        raise InvalidRequest("This picture was worked on in Extras, so it cannot be drawn again. Choose the one it was made of.")
    return request
