"""depth2img: the picture's depth stays while what it shows changes."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator, model_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.request_parts.base import RequestPart, check_picture_hashes

NO_DEPTH = (
    "This checkpoint draws without regard to depth. Choose a depth checkpoint (a UNet of 5 channels, such as demo-depth or 512-depth-ema), "
    "or put a depth ControlNet that fits it into models/ControlNet."
)


class DepthParameters(RequestPart):
    """Which depth, and how it is read."""

    use_depth: bool = parameter(
        False, title="Keep the depth", help="Draw with the picture's depth, by a depth checkpoint or a depth ControlNet."
    )
    depth_map: str = parameter(
        "", title="Depth map", help="A picture of the depth, white is near; without one it is estimated.", max_length=64
    )
    depth_invert: bool = parameter(False, title="Invert depth", help="In the depth map, black is near.", infotext="Depth inverted")
    depth_near: float = parameter(
        1.0, title="Near", help="What of the map's range counts as nearest; everything nearer is as near.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Depth near",
    )  # fmt: skip
    depth_far: float = parameter(
        0.0, title="Far", help="What of the map's range counts as farthest; everything farther is as far.",
        minimum=0.0, maximum=1.0, step=0.01, infotext="Depth far",
    )  # fmt: skip

    @field_validator("depth_map")
    @classmethod
    def _map_known_by_its_hash(cls, value: str, info: Any) -> str:
        check_picture_hashes(info.field_name, value)
        return value

    @model_validator(mode="after")
    def _near_before_far(self) -> DepthParameters:
        if self.depth_near <= self.depth_far:
            raise InvalidRequest(f"depth_near: got {self.depth_near}, which is not above depth_far ({self.depth_far}). Raise it.")
        return self
