"""What a user can ask for: one picture job. Holds nothing but the wish: no paths, tensors or components."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.samplers import find_sampler, find_schedule

SEED_LIMIT = 2**32 - 2


class GenerationRequest(BaseModel):
    """One job: what to draw and how. Frozen; a changed copy is made with `changed`.

    The mode follows from the inputs that are present; with none, it is txt2img.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

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
        512, title="Width", help="Pixels, a multiple of 8.", minimum=64, maximum=8192, step=8, slider=(64, 2048), multiple_of=8
    )
    height: int = parameter(
        512, title="Height", help="Pixels, a multiple of 8.", minimum=64, maximum=8192, step=8, slider=(64, 2048), multiple_of=8
    )
    batch_count: int = parameter(
        1, title="Batch count", help="How many batches, one after another.", minimum=1, maximum=1000, step=1,
        slider=(1, 100), api="n_iter",
    )  # fmt: skip
    batch_size: int = parameter(
        1, title="Batch size", help="Pictures drawn at the same time.", minimum=1, maximum=64, step=1, slider=(1, 8)
    )
    checkpoint: str = parameter(
        "", title="Checkpoint", help="The model that draws; empty means the one of the settings.", infotext="Model", max_length=512,
        api="override_settings.sd_model_checkpoint",
    )  # fmt: skip
    vae: str = parameter(
        "", title="VAE", help="Decoder of the latents; empty means the one of the settings.", infotext="VAE", max_length=512,
        api="override_settings.sd_vae",
    )  # fmt: skip

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, value: str) -> str:
        return find_sampler(value).label

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return find_schedule(value).label

    @field_validator("seed", mode="before")
    @classmethod
    def _empty_seed_is_random(cls, value: Any) -> Any:
        return -1 if isinstance(value, str) and not value.strip() else value

    @field_validator("prompt", "negative_prompt", "checkpoint", "vae")
    @classmethod
    def _storable_text(cls, value: str) -> str:
        return value.replace("\x00", "")

    @property
    def images(self) -> int:
        """How many pictures the job draws."""
        return self.batch_count * self.batch_size

    def changed(self, **changes: Any) -> GenerationRequest:
        """A validated copy with these fields changed.  Raises InvalidRequest."""
        return read_request({**self.model_dump(), **changes})

    def with_real_seed(self) -> GenerationRequest:
        """The same request with a drawn seed where it was -1."""
        return self if self.seed != -1 else self.changed(seed=random.randrange(SEED_LIMIT))

    def of_image(self, index: int) -> GenerationRequest:
        """The request that draws picture `index` of this job alone: its own seed, one batch of one."""
        return self.changed(seed=(self.seed + index) % 2**63, batch_count=1, batch_size=1)


def read_request(values: Mapping[str, Any]) -> GenerationRequest:
    """Validate outside values.  Raises InvalidRequest naming each wrong field, its value and the rule."""
    try:
        return GenerationRequest.model_validate(dict(values))
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidRequest:
    """The error to raise for pydantic's: a single breach's own (an UnknownName, ...), or one that describes them all."""
    causes = [breach.get("ctx", {}).get("error") for breach in error.errors(include_url=False)]
    if len(causes) == 1 and isinstance(causes[0], InvalidRequest):
        return causes[0]
    return InvalidRequest(describe_validation(error))


def describe_validation(error: ValidationError) -> str:
    """One sentence a person can act on for each breach in pydantic's list."""
    lines = []
    for breach in error.errors(include_url=False):
        cause = breach.get("ctx", {}).get("error")
        field = ".".join(str(part) for part in breach["loc"])
        received = repr(breach["input"])
        received = received if len(received) <= 80 else received[:77] + "..."
        lines.append(str(cause) if isinstance(cause, InvalidRequest) else f"{field}: got {received}; {breach['msg'].lower()}.")
    return " ".join(lines)
