"""What every picture needs: prompts, sampler, seeds, size."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from webui.core.parameters import parameter
from webui.core.request_parts.base import LARGEST_SIDE, RequestPart
from webui.core.samplers import find_sampler, find_schedule


class SamplingParameters(RequestPart):
    """How a picture grows from noise."""

    prompt: str = parameter("", title="Prompt", help="What the picture shows.", max_length=100_000)
    negative_prompt: str = parameter(
        "", title="Negative prompt", help="What the picture must not show.", infotext="Negative prompt", max_length=100_000
    )
    steps: int = parameter(
        20, title="Sampling steps", help="Denoising steps; more is slower and finer.", minimum=1, maximum=1000, step=1,
        slider=(1, 150), infotext="Steps",
    )  # fmt: skip
    sampler: str = parameter(
        "DPM++ 2M", title="Sampling method", help="The algorithm that removes the noise.", api="sampler_name", infotext="Sampler"
    )
    schedule: str = parameter(
        "Automatic", title="Schedule type", help="How the noise levels are spaced.", api="scheduler", infotext="Schedule type"
    )
    cfg_scale: float = parameter(
        7.0, title="CFG Scale", help="How strictly the picture follows the prompt; 1 ignores the negative prompt.",
        minimum=0.0, maximum=100.0, step=0.5, slider=(1.0, 30.0), infotext="CFG scale",
    )  # fmt: skip
    seed: int = parameter(
        -1, title="Seed", help="The number the noise grows from; -1 draws a new one each time.",
        minimum=-1, maximum=2**63 - 1, infotext="Seed",
    )  # fmt: skip
    width: int = parameter(
        512, title="Width", help="Pixels, a multiple of 8.", minimum=64, maximum=LARGEST_SIDE, step=8, slider=(64, 2048), multiple_of=8
    )
    height: int = parameter(
        512, title="Height", help="Pixels, a multiple of 8.", minimum=64, maximum=LARGEST_SIDE, step=8, slider=(64, 2048), multiple_of=8
    )
    batch_count: int = parameter(
        1, title="Batch count", help="How many batches, one after another.", minimum=1, maximum=1000, step=1,
        slider=(1, 100), api="n_iter",
    )  # fmt: skip
    batch_size: int = parameter(
        1, title="Batch size", help="Pictures drawn at the same time.", minimum=1, maximum=64, step=1, slider=(1, 8)
    )
    subseed: int = parameter(
        -1, title="Variation seed", help="A second seed to blend in; -1 draws a new one each time.",
        minimum=-1, maximum=2**63 - 1, infotext="Variation seed",
    )  # fmt: skip
    subseed_strength: float = parameter(
        0.0, title="Variation strength", help="How much of the variation seed: 0 none, 1 only it.",
        minimum=0.0, maximum=1.0, step=0.01, slider=(0.0, 1.0), infotext="Variation seed strength",
    )  # fmt: skip
    seed_resize_from_w: int = parameter(
        0, title="Resize seed from width", help="Lay the noise of a picture of this size into this one's centre; 0: off.",
        minimum=0, maximum=LARGEST_SIDE, step=8, slider=(0, 2048),
    )  # fmt: skip
    seed_resize_from_h: int = parameter(
        0, title="Resize seed from height", help="Lay the noise of a picture of this size into this one's centre; 0: off.",
        minimum=0, maximum=LARGEST_SIDE, step=8, slider=(0, 2048),
    )  # fmt: skip
    cfg_rescale: float = parameter(
        0.0, title="CFG rescale", help="Brings the contrast that a high CFG scale adds back to the prompt's own; for v about 0.7.",
        minimum=0.0, maximum=1.0, step=0.05, slider=(0.0, 1.0), infotext="CFG rescale",
    )  # fmt: skip
    eta: float | None = parameter(
        None, title="Eta", help="How much fresh noise each step adds; empty: as the settings say.", minimum=0.0, maximum=10.0, step=0.01
    )
    s_churn: float | None = parameter(
        None, title="Sigma churn", help="Noise added before a step (Euler, Heun, DPM2); empty: as the settings say.",
        minimum=0.0, maximum=100.0, step=0.01,
    )  # fmt: skip
    s_tmin: float | None = parameter(
        None, title="Sigma tmin", help="Churn only above this noise level; empty: as the settings say.", minimum=0.0, maximum=1e6, step=0.01
    )
    s_tmax: float | None = parameter(
        None, title="Sigma tmax", help="Churn only below this noise level, 0 without limit; empty: as the settings say.",
        minimum=0.0, maximum=1e6, step=0.01,
    )  # fmt: skip
    s_noise: float | None = parameter(
        None, title="Sigma noise", help="Strength of the noise that is added; empty: as the settings say.",
        minimum=0.0, maximum=10.0, step=0.001,
    )  # fmt: skip
    s_min_uncond: float | None = parameter(
        None, title="NGMS", help="Leave the negative prompt out of every second step below this noise level; empty: as the settings say.",
        minimum=0.0, maximum=1e6, step=0.01,
    )  # fmt: skip

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, value: str) -> str:
        return find_sampler(value).label

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return find_schedule(value).label

    @field_validator("seed", "subseed", mode="before")
    @classmethod
    def _empty_seed_is_random(cls, value: Any) -> Any:
        return -1 if isinstance(value, str) and not value.strip() else value
