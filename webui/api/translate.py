"""The only place where A1111's wire names become ours, and ours A1111's. Pure functions; no HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from webui import __version__
from webui.api.schemas import (
    DrawRequest,
    Img2ImgRequest,
    PngInfoResponse,
    ProgressResponse,
    ProgressState,
    SamplerItem,
    SchedulerItem,
    Txt2ImgRequest,
)
from webui.api.soft_inpainting import read_soft_inpainting
from webui.core.errors import InvalidRequest, NotFound, UnknownName
from webui.core.events import Progress
from webui.core.extras import JobRequest, as_drawing
from webui.core.images import decode_base64_image
from webui.core.infotext import read_infotext
from webui.core.infotext_apply import Pasted
from webui.core.infotext_legacy import interpret
from webui.core.metadata import PictureMetadata
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest, read_request
from webui.core.request_parts.picture import INPAINT_AREAS, MASK_MODES, MASKED_CONTENTS, RESIZE_MODES
from webui.core.result import GenerationResult
from webui.core.samplers import Sampler, Schedule, split_combined_name
from webui.core.settings import PICTURE_SECTIONS, Settings

OVERRIDABLE_SECTIONS = frozenset({*PICTURE_SECTIONS, "Infotext", "File formats"})
# Keys of an infotext that A1111 does not repeat under extra_generation_params.
BASE_KEYS = (
    "Prompt", "Negative prompt", "Steps", "Sampler", "CFG scale", "Seed", "Size-1", "Size-2", "Model hash", "Model", "VAE hash", "VAE",
    "Variation seed", "Variation seed strength", "Seed resize from-1", "Seed resize from-2", "Clip skip", "ENSD", "RNG", "Tiling",
    "Version",
)  # fmt: skip
SAME_NAME = (
    "seed", "subseed", "subseed_strength", "steps", "cfg_scale", "width", "height", "batch_size", "eta", "s_churn", "s_tmin", "s_tmax",
    "s_noise", "s_min_uncond", "disable_extra_networks",
)  # fmt: skip
SAME_NAME_HIRES = ("hr_scale", "hr_resize_x", "hr_resize_y", "hr_second_pass_steps", "hr_prompt", "hr_negative_prompt")
# Stands for a picture that is not stored yet.
_NO_PICTURE = "0" * 64
_TASK_ID = re.compile(r"[\w().:-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class ModelFacts:
    """What `info` says of the files that drew.  *_hash: 10 hex digits.   inpaints: the UNet also sees a mask."""

    name: str
    hash: str | None
    vae_name: str | None
    vae_hash: str | None
    inpaints: bool = False


def read_txt2img(wire: Txt2ImgRequest) -> GenerationRequest:
    """What the client asks for.  Raises InvalidRequest, also for features that are not there yet, naming the wire's field."""
    if missing := next(_missing_features(wire), None):
        raise InvalidRequest(missing)
    values = _common_values(wire)
    if wire.enable_hr:
        values |= _hires_values(wire)
    return _validated(values)


def _hires_values(wire: Txt2ImgRequest) -> dict[str, Any]:
    """The second pass. With A1111's old firstphase_* sizes, width and height are what that pass is to come to."""
    sampler, schedule = split_combined_name(wire.hr_sampler_name or "")
    values: dict[str, Any] = {
        "enable_hr": True,
        "denoising_strength": wire.denoising_strength,
        "hr_upscaler": wire.hr_upscaler or "Latent",
        "hr_sampler": "" if sampler == "Use same sampler" else sampler,
        "hr_checkpoint": "" if wire.hr_checkpoint_name in (None, "Use same checkpoint") else wire.hr_checkpoint_name,
        "hr_schedule": schedule or ("" if wire.hr_scheduler == "Use same scheduler" else wire.hr_scheduler or ""),
        **{name: getattr(wire, name) for name in SAME_NAME_HIRES},
    }
    if wire.firstphase_width or wire.firstphase_height:
        values |= {"width": wire.firstphase_width, "height": wire.firstphase_height, "hr_resize_x": wire.width, "hr_resize_y": wire.height}
    return values


def read_img2img(wire: Img2ImgRequest, store: Callable[[Image], str]) -> GenerationRequest:
    """What the client asks for.  store: keeps a picture and gives its hash.  Raises InvalidRequest, NotFound without a picture."""
    if missing := next(_missing_features(wire), None):
        raise InvalidRequest(missing)
    if not wire.init_images:
        raise NotFound("Init image not found")
    count = len(wire.init_images)
    values = {
        **_common_values(wire),
        "init_images": [_NO_PICTURE] * count,
        # As in A1111, several pictures make a batch of that size.
        "batch_size": count if count > 1 else wire.batch_size,
        "mask": _NO_PICTURE if wire.mask else "",
        "denoising_strength": wire.denoising_strength,
        "resize_mode": _numbered("resize_mode", wire.resize_mode, RESIZE_MODES),
        "masked_content": _numbered("inpainting_fill", wire.inpainting_fill, MASKED_CONTENTS),
        "mask_mode": _numbered("inpainting_mask_invert", wire.inpainting_mask_invert, MASK_MODES),
        "inpaint_area": INPAINT_AREAS[wire.inpaint_full_res],
        "masked_padding": wire.inpaint_full_res_padding,
        "mask_round": wire.mask_round,
        "noise_multiplier": wire.initial_noise_multiplier,
        **read_soft_inpainting(wire.alwayson_scripts),
        **({} if wire.image_cfg_scale is None else {"image_cfg_scale": wire.image_cfg_scale}),
        "mask_blur_x": wire.mask_blur_x if wire.mask_blur is None else wire.mask_blur,
        "mask_blur_y": wire.mask_blur_y if wire.mask_blur is None else wire.mask_blur,
    }
    _validated(values)  # before pictures are decoded and stored for nothing
    pictures = [decode_base64_image(picture) for picture in wire.init_images]
    mask = decode_base64_image(wire.mask) if wire.mask else None
    return _validated({**values, "init_images": [store(picture) for picture in pictures], "mask": store(mask) if mask else ""})


def _numbered(name: str, number: int, names: tuple[str, ...]) -> str:
    if not 0 <= number < len(names):
        raise InvalidRequest(f"{name}: got {number}; it is 0 to {len(names) - 1}: {', '.join(names)}.")
    return names[number]


def _common_values(wire: DrawRequest) -> dict[str, Any]:
    sampler, schedule = split_combined_name(wire.sampler_name or wire.sampler_index)
    prompt, prompts = _prompts("prompt", wire.prompt, wire)
    negative, negatives = _prompts("negative_prompt", wire.negative_prompt, wire)
    return {
        "prompt": prompt,
        "negative_prompt": negative,
        "prompts": prompts,
        "negative_prompts": negatives,
        "sampler": sampler,
        "schedule": schedule or wire.scheduler or "Automatic",
        "batch_count": wire.n_iter,
        **_refiner_values(wire),
        # A1111's clients write -1 where none is meant.
        "seed_resize_from_w": max(0, wire.seed_resize_from_w),
        "seed_resize_from_h": max(0, wire.seed_resize_from_h),
        **{name: getattr(wire, name) for name in SAME_NAME},
    }


def _refiner_values(wire: DrawRequest) -> dict[str, Any]:
    """A1111's own page sends "None" for none; a refiner without a moment to switch takes over at once, as there."""
    if (wire.refiner_checkpoint or "None").lower() == "none":
        return {}
    switch_at = 0.01 if wire.refiner_switch_at is None else max(0.01, wire.refiner_switch_at)
    return {"refiner_checkpoint": wire.refiner_checkpoint, "refiner_switch_at": switch_at}


def _validated(values: Mapping[str, Any]) -> GenerationRequest:
    try:
        return read_request(values)
    except UnknownName:
        raise
    except InvalidRequest as error:
        raise InvalidRequest(_in_wire_names(str(error))) from None


def read_overrides(wire: DrawRequest, of_extensions: Collection[str] = ()) -> dict[str, Any]:
    """The settings changed for this job alone.  Raises InvalidRequest for a key that is no setting, or not one of the image."""
    given = check_overrides(wire.override_settings or {}, of_extensions)
    if wire.tiling is not None:
        given = {"tiling": wire.tiling, **given}
    if wire.restore_faces is not None:
        given = {"face_restoration": wire.restore_faces, **given}
    return given


def check_overrides(settings: Mapping[str, Any], of_extensions: Collection[str] = ()) -> dict[str, Any]:
    """Settings for one job, without those that are null.  Raises InvalidRequest for a key that is no setting, or not one of the image.

    of_extensions: names of settings that extensions have declared; whoever may ask for a picture may override them.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    declared = parameters_of(Settings)
    allowed = [name for name, setting in declared.items() if setting.section in OVERRIDABLE_SECTIONS]
    for key in given:
        if key in declared and key not in allowed:
            raise InvalidRequest(f"override_settings: {key!r} cannot be changed for one picture. Those that can: {', '.join(allowed)}.")
        if key not in declared and key not in of_extensions:
            raise UnknownName("setting in override_settings", key, [*allowed, *of_extensions])
    return given


def fill_from_infotext(
    wire: DrawRequest, request: GenerationRequest, overrides: Mapping[str, Any], pasted: Pasted
) -> tuple[GenerationRequest, dict[str, Any]]:
    """The request and the overrides with what an infotext says, where the client says nothing itself.

    As in A1111, an infotext does not change the checkpoint.
    """
    declared = parameters_of(GenerationRequest)
    given = wire.model_fields_set | ({"sampler_name"} if "sampler_index" in wire.model_fields_set else set())
    changes = {name: value for name, value in pasted.request_changes.items() if name != "checkpoint" and declared[name].api not in given}
    return request.changed(**changes), {**pasted.settings_changes, **overrides}


def write_png_info(metadata: PictureMetadata) -> PngInfoResponse:
    """What a picture says of itself, as A1111 tells it: the text, the file's other texts, and the fields with their defaults."""
    return PngInfoResponse(
        info=metadata.infotext,
        items=dict(metadata.items),
        parameters=dict(interpret(read_infotext(metadata.infotext))) if metadata.infotext else {},
    )


def read_task_id(wire: DrawRequest) -> str | None:
    """The client's own id for the job.  Raises InvalidRequest."""
    if wire.force_task_id and not _TASK_ID.fullmatch(wire.force_task_id):
        raise InvalidRequest(f"force_task_id: got {wire.force_task_id[:80]!r}; use up to 128 letters, digits and ( ) . : _ -")
    return wire.force_task_id or None


def write_info(wire: DrawRequest, result: GenerationResult, settings: Settings, model: ModelFacts, began: float) -> str:
    """A1111's `info`: 32 keys in its order, as JSON text.  began: seconds since the epoch."""
    request = result.request
    assert isinstance(request, GenerationRequest)
    count = request.images
    infotexts = [picture.infotext for picture in result.pictures]
    info = {
        "prompt": request.prompt,
        "all_prompts": list(request.prompts or [request.prompt] * count),
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": list(request.negative_prompts or [request.negative_prompt] * count),
        "seed": request.seed,
        "all_seeds": [request.of_image(index).seed for index in range(count)],
        "subseed": request.subseed,
        "all_subseeds": [request.subseed + index for index in range(count)],
        **(_each_of_a_script(result) if request.script else {}),
        "subseed_strength": request.subseed_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": settings.face_restoration,
        "face_restoration_model": settings.face_restoration_model if settings.face_restoration else None,
        "sd_model_name": model.name,
        "sd_model_hash": model.hash,
        "sd_vae_name": model.vae_name,
        "sd_vae_hash": model.vae_hash,
        "seed_resize_from_w": wire.seed_resize_from_w,
        "seed_resize_from_h": wire.seed_resize_from_h,
        "denoising_strength": request.denoising_strength if request.init_images or request.enable_hr else None,
        "extra_generation_params": _extra_params(infotexts[0]) if infotexts else {},
        "index_of_first_image": sum(picture.is_grid for picture in result.pictures),
        "infotexts": infotexts,
        "styles": wire.styles or [],
        "job_timestamp": _timestamp(began),
        "clip_skip": settings.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": model.inpaints,
        "version": f"webui {__version__}",
    }
    return json.dumps(info)


def _each_of_a_script(result: GenerationResult) -> dict[str, list[Any]]:
    """What `info` says of each picture, where they do not follow from one request; grids come first, as in A1111."""
    each = [as_drawing(picture.request) for picture in result.pictures]
    return {
        "all_prompts": [one.prompt for one in each],
        "all_negative_prompts": [one.negative_prompt for one in each],
        "all_seeds": [one.seed for one in each],
        "all_subseeds": [one.subseed for one in each],
    }


def write_progress(request: JobRequest, progress: Progress | None, began: float) -> ProgressResponse:
    """A running job as A1111 tells it: 0.01 as soon as it has begun, at most 1.  began: seconds since the epoch."""
    if isinstance(request, GenerationRequest):
        kind, batches, steps = "txt2img", request.batch_count, request.steps
    else:
        kind, batches, steps = request.kind, request.images, 0
    batches = progress.batches if progress else batches
    batch, step, steps = (progress.batch, progress.step, progress.steps) if progress else (0, 0, steps)
    return ProgressResponse(
        progress=min(0.01 + (progress.fraction if progress else 0.0), 1.0),
        eta_relative=progress.eta if progress else 0.0,
        state=ProgressState(
            job=f"Batch {batch + 1} out of {batches}" if batches > 1 else kind,
            job_count=batches,
            job_timestamp=_timestamp(began),
            job_no=batch,
            sampling_step=step,
            sampling_steps=steps,
        ),
    )


def write_sampler(sampler: Sampler) -> SamplerItem:
    """One line of /sdapi/v1/samplers."""
    return SamplerItem(name=sampler.label, aliases=list(sampler.aliases), options=sampler.options)


def write_schedule(schedule: Schedule) -> SchedulerItem:
    """One line of /sdapi/v1/schedulers."""
    return SchedulerItem(
        name=schedule.name,
        label=schedule.label,
        aliases=list(schedule.aliases) or None,
        default_rho=schedule.default_rho,
        need_inner_model=schedule.needs_model,
    )


def _missing_features(wire: DrawRequest) -> Iterator[str]:
    """A sentence for each field that asks for what this version cannot do. Values without effect in A1111 pass."""
    asked: dict[str, tuple[bool, str, str]] = {}
    if isinstance(wire, Txt2ImgRequest):
        asked["firstpass_image"] = (bool(wire.firstpass_image), "a picture in place of the first pass", "leave it out")
    if isinstance(wire, Img2ImgRequest):
        asked["latent_mask"] = (bool(wire.latent_mask), "a mask of latents", "use mask")
    for name, (is_asked, feature, way_out) in asked.items():
        if is_asked:
            yield f"{name}: {feature} is not available in this version yet; {way_out}."


def _prompts(name: str, given: str | list[str], wire: DrawRequest) -> tuple[str, list[str]]:
    """One text for all pictures, or the first and one for each picture."""
    texts = [given] if isinstance(given, str) else given or [""]
    if len(texts) == 1:
        return texts[0], []
    wanted = wire.n_iter * wire.batch_size
    if len(texts) != wanted:
        raise InvalidRequest(
            f"{name}: got a list of {len(texts)} texts for {wanted} pictures; send one text, or n_iter * batch_size of them."
        )
    return texts[0], texts


def _in_wire_names(message: str) -> str:
    for name, declared in parameters_of(GenerationRequest).items():
        message = message.replace(f"{name}: got", f"{declared.api}: got")
    return message


def _extra_params(infotext: str) -> dict[str, Any]:
    fields = {key: _number_or_text(value) for key, value in read_infotext(infotext).items() if key not in BASE_KEYS}
    if fields.get("Schedule type") == "Automatic":
        del fields["Schedule type"]
    return fields


def _number_or_text(value: str) -> float | str:
    return float(value) if re.fullmatch(r"-?\d+\.\d+", value) else value


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))


def redact(flags: Mapping[str, object]) -> dict[str, Any]:
    """The command line's flags as JSON, with whatever may be a secret hidden."""
    return {name: _redacted(name, value) for name, value in flags.items()}


def _redacted(name: str, value: object) -> Any:
    if value and re.search("auth|pass|secret|token|key|credential|ngrok", name, re.IGNORECASE):
        return "***"
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(name, item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
