"""The hires fix: draw small first, then larger from that."""

from __future__ import annotations

from pydantic import field_validator

from webui.core.parameters import parameter
from webui.core.request_parts.base import LARGEST_SIDE, RequestPart
from webui.core.samplers import find_sampler, find_schedule


class HiresParameters(RequestPart):
    """The second pass, where it differs from the first."""

    enable_hr: bool = parameter(False, title="Hires. fix", help="Draw small first, then larger from that.")
    hr_scale: float = parameter(
        2.0, title="Upscale by", help="How much larger the second pass is.", minimum=1.0, maximum=8.0, step=0.05, slider=(1.0, 4.0),
        infotext="Hires upscale",
    )  # fmt: skip
    hr_resize_x: int = parameter(
        0, title="Resize width to", help="In place of the factor; 0: as the height asks.", minimum=0, maximum=LARGEST_SIDE,
        step=8, slider=(0, 2048),
    )  # fmt: skip
    hr_resize_y: int = parameter(
        0, title="Resize height to", help="In place of the factor; 0: as the width asks.", minimum=0, maximum=LARGEST_SIDE,
        step=8, slider=(0, 2048),
    )  # fmt: skip
    hr_upscaler: str = parameter(
        "Latent", title="Upscaler", help="How the first pass is made larger: one of the latent ones, or any upscaler.", max_length=512,
        infotext="Hires upscaler",
    )  # fmt: skip
    hr_second_pass_steps: int = parameter(
        0, title="Hires steps", help="Of the second pass; 0: as many as of the first.", minimum=0, maximum=1000, step=1, slider=(0, 150),
        infotext="Hires steps",
    )  # fmt: skip
    hr_sampler: str = parameter(
        "", title="Hires sampling method", help="Empty: the first pass's.", api="hr_sampler_name", infotext="Hires sampler"
    )
    hr_schedule: str = parameter(
        "", title="Hires schedule type", help="Empty: the first pass's.", api="hr_scheduler", infotext="Hires schedule type"
    )
    hr_prompt: str = parameter("", title="Hires prompt", help="Empty: the first pass's.", infotext="Hires prompt", max_length=100_000)
    hr_negative_prompt: str = parameter(
        "", title="Hires negative prompt", help="Empty: the first pass's.", infotext="Hires negative prompt", max_length=100_000
    )

    hr_checkpoint: str = parameter(
        "", title="Hires checkpoint", help="Empty: the first pass's.", api="hr_checkpoint_name", infotext="Hires checkpoint", max_length=512
    )
    hr_cfg: float = parameter(
        0.0, title="Hires CFG Scale", help="0: the first pass's.", minimum=0.0, maximum=100.0, step=0.5, slider=(0.0, 30.0),
        infotext="Hires CFG Scale",
    )  # fmt: skip

    @field_validator("hr_sampler")
    @classmethod
    def _known_hires_sampler(cls, value: str) -> str:
        return find_sampler(value).label if value else ""

    @field_validator("hr_schedule")
    @classmethod
    def _known_hires_schedule(cls, value: str) -> str:
        return find_schedule(value).label if value else ""
