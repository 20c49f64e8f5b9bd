"""A second checkpoint that finishes the picture."""

from __future__ import annotations

from webui.core.parameters import parameter
from webui.core.request_parts.base import RequestPart


class RefinerParameters(RequestPart):
    """Which checkpoint takes over, and when."""

    refiner_checkpoint: str = parameter(
        "", title="Refiner", help="The checkpoint that takes over; empty: none.", infotext="Refiner", max_length=512
    )
    refiner_switch_at: float = parameter(
        0.8, title="Switch at", help="How much of the noise schedule the first checkpoint draws; 1: all of it.",
        minimum=0.01, maximum=1.0, step=0.01, slider=(0.01, 1.0), infotext="Refiner switch at",
    )  # fmt: skip
