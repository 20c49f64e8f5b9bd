"""What a user can ask for: one picture job. Holds nothing but the wish: no paths, tensors or components."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.hires_size import HiresSize, hires_size
from webui.core.parameters import parameter
from webui.core.samplers import find_sampler, find_schedule

SEED_LIMIT = 2**32 - 2
LARGEST_SIDE = 8192
RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
MASK_MODES = ("Inpaint masked", "Inpaint not masked")
MASKED_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
HIRES_UPSCALERS = (
    "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)", "Latent (nearest-exact)",
    "None", "Lanczos", "Nearest",
)  # fmt: skip
# What only a picture makes sense of.
OF_A_PICTURE = (
    "init_images", "mask", "resize_mode", "mask_blur_x", "mask_blur_y", "mask_mode", "mask_round", "masked_content", "inpaint_area",
    "masked_padding", "noise_multiplier",
)  # fmt: skip
INPAINT_AREAS = ("Whole picture", "Only masked")


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
        "Latent", title="Upscaler", help="How the first pass is made larger.", choices=HIRES_UPSCALERS, infotext="Hires upscaler"
    )
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
    disable_extra_networks: bool = parameter(
        False, title="Ignore networks", help="Leave out the LoRAs and hypernetworks that the prompt names."
    )
    prompts: tuple[str, ...] = parameter(
        (), title="Prompts", help="One for each picture of the job, where they differ; set when wildcards are drawn.", max_length=64_000
    )
    negative_prompts: tuple[str, ...] = parameter((), title="Negative prompts", help="As `prompts`.", max_length=64_000)
    prompt_template: str = parameter(
        "", title="Template", help="The prompt with its wildcards, before they were drawn.", infotext="Template", max_length=100_000
    )
    negative_template: str = parameter(
        "", title="Negative template", help="The negative prompt with its wildcards, before they were drawn.",
        infotext="Negative Template", max_length=100_000,
    )  # fmt: skip
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

    @field_validator("seed", "subseed", mode="before")
    @classmethod
    def _empty_seed_is_random(cls, value: Any) -> Any:
        return -1 if isinstance(value, str) and not value.strip() else value

    @field_validator("prompt", "negative_prompt", "prompt_template", "negative_template", "checkpoint", "vae")
    @classmethod
    def _storable_text(cls, value: str) -> str:
        return value.replace("\x00", "")

    @field_validator("init_images", "mask")
    @classmethod
    def _known_by_its_hash(cls, value: Any, info: Any) -> Any:
        for one in (value,) if isinstance(value, str) else value:
            if one and not re.fullmatch("[0-9a-f]{64}", one):
                raise InvalidRequest(f"{info.field_name}: got {one[:80]!r}; a picture is named by its hash, which storing it gives.")
        return value

    @field_validator("hr_sampler")
    @classmethod
    def _known_hires_sampler(cls, value: str) -> str:
        return find_sampler(value).label if value else ""

    @field_validator("hr_schedule")
    @classmethod
    def _known_hires_schedule(cls, value: str) -> str:
        return find_schedule(value).label if value else ""

    @field_validator("resize_mode", "mask_mode", "masked_content", "inpaint_area", "hr_upscaler")
    @classmethod
    def _one_of_the_choices(cls, value: str, info: Any) -> str:
        extra: Any = cls.model_fields[info.field_name].json_schema_extra
        choices = extra["choices"]
        if value not in choices:
            raise UnknownName(f"value for {info.field_name}", value, choices)
        return value

    @field_validator("prompts", "negative_prompts")
    @classmethod
    def _storable_texts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(value.replace("\x00", "") for value in values)

    @model_validator(mode="after")
    def _pictures_for_the_batch(self) -> GenerationRequest:
        given = len(self.init_images)
        if given > 1 and given != self.batch_size:
            raise InvalidRequest(f"init_images: got {given} pictures; give one, or as many as the batch has ({self.batch_size}).")
        size = self.hires_size
        if self.enable_hr and max(size.width, size.height) > LARGEST_SIDE:
            raise InvalidRequest(
                f"enable_hr: the second pass would be {size.width}x{size.height}; a side has at most {LARGEST_SIDE} pixels. Upscale less."
            )
        if self.enable_hr and self.init_images:
            raise InvalidRequest("enable_hr: a hires fix begins with noise; leave the picture out, or draw it larger.")
        if self.mask and not self.init_images:
            raise InvalidRequest("mask: got a mask without a picture; send the picture too.")
        return self

    @model_validator(mode="after")
    def _a_prompt_for_each_picture(self) -> GenerationRequest:
        for name in ("prompts", "negative_prompts"):
            given = len(getattr(self, name))
            if given not in (0, self.images):
                raise InvalidRequest(f"{name}: got {given} texts; give none, or one for each of the {self.images} pictures.")
        return self

    @property
    def images(self) -> int:
        """How many pictures the job draws."""
        return self.batch_count * self.batch_size

    def changed(self, **changes: Any) -> GenerationRequest:
        """A validated copy with these fields changed.  Raises InvalidRequest."""
        return read_request({**self.model_dump(), **changes})

    def with_real_seed(self) -> GenerationRequest:
        """The same request with drawn seeds where they were -1."""
        drawn = {name: random.randrange(SEED_LIMIT) for name in ("seed", "subseed") if getattr(self, name) == -1}
        return self.changed(**drawn) if drawn else self

    @property
    def hires_size(self) -> HiresSize:
        """How large the second pass of a hires fix is."""
        return hires_size(self.width, self.height, scale=self.hr_scale, to_x=self.hr_resize_x, to_y=self.hr_resize_y)

    @property
    def second_pass(self) -> GenerationRequest:
        """What the second pass of a hires fix asks for, where it differs from the first; sizes are the first's."""
        return self.changed(
            prompt=self.hr_prompt or self.prompt,
            negative_prompt=self.hr_negative_prompt or self.negative_prompt,
            sampler=self.hr_sampler or self.sampler,
            schedule=self.hr_schedule or self.schedule,
            steps=self.hr_second_pass_steps or self.steps,
        )

    def seeds_of_image(self, index: int) -> dict[str, int]:
        """The seed and the variation seed of picture `index`, -1 where that one does not matter."""
        if not self.subseed_strength:
            return {"seed": (self.seed + index) % 2**63, "subseed": -1}
        return {"seed": self.seed, "subseed": self.subseed if self.subseed == -1 else (self.subseed + index) % 2**63}

    def of_image(self, index: int) -> GenerationRequest:
        """The request that draws picture `index` of this job alone: its own seeds and prompts, one batch of one.

        As in A1111, pictures of a job differ in the seed; with a variation strength, all have the same and differ in the variation
        seed. Without one, that seed says nothing of the picture and is left out.
        """
        return self.changed(
            **self.seeds_of_image(index),
            prompt=self.prompts[index] if self.prompts else self.prompt,
            negative_prompt=self.negative_prompts[index] if self.negative_prompts else self.negative_prompt,
            prompts=(),
            negative_prompts=(),
            init_images=self.init_images[index % self.batch_size :][:1] if len(self.init_images) > 1 else self.init_images,
            batch_count=1,
            batch_size=1,
        )


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
