"""What a user can ask for: one picture job. Holds nothing but the wish: no paths, tensors or components."""

from __future__ import annotations

import random
from collections.abc import Mapping
from copy import copy
from typing import Any

from pydantic import ValidationError, field_validator, model_validator

from webui.core.errors import InvalidRequest
from webui.core.hires_size import HiresSize, hires_size
from webui.core.parameters import parameter
from webui.core.request_parts.always_on import AlwaysOnParameters
from webui.core.request_parts.base import LARGEST_SIDE
from webui.core.request_parts.control import ControlParameters
from webui.core.request_parts.depth import DepthParameters
from webui.core.request_parts.grid import GridParameters
from webui.core.request_parts.hires import HiresParameters
from webui.core.request_parts.inpaint import InpaintParameters
from webui.core.request_parts.picture import PictureParameters
from webui.core.request_parts.refiner import RefinerParameters
from webui.core.request_parts.sampling import SamplingParameters
from webui.core.request_parts.script import ScriptParameters

SEED_LIMIT = 2**32 - 2


# Fields come in the order of the parts from the last to the first.
class GenerationRequest(
    AlwaysOnParameters,
    ScriptParameters,
    ControlParameters,
    RefinerParameters,
    HiresParameters,
    GridParameters,
    DepthParameters,
    InpaintParameters,
    PictureParameters,
    SamplingParameters,
):
    """One job: what to draw and how. Frozen; a changed copy is made with `changed`.

    The mode follows from the inputs that are present; with none, it is txt2img.
    """

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

    @field_validator("prompt", "negative_prompt", "prompt_template", "negative_template", "checkpoint", "vae")
    @classmethod
    def _storable_text(cls, value: str) -> str:
        return value.replace("\x00", "")

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
        if any(self.outpainting) and not self.init_images:
            raise InvalidRequest("outpaint: there is no picture to put more canvas around; send one.")
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

    def without_script(self) -> GenerationRequest:
        """The same request for ordinary pictures."""
        return self.changed(**ScriptParameters().model_dump()) if self.script else self

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
            cfg_scale=self.hr_cfg or self.cfg_scale,
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
            make_grid=False,
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
        # A copy: pydantic's error holds the original, in a way that Python's collector does not see. Raised while that one is handled,
        # the original would hold it in turn, and both, with all that their tracebacks hold, would never leave the memory.
        return copy(causes[0])
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
