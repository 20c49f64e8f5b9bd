"""The only place where A1111's wire names become ours, and ours A1111's. Pure functions; no HTTP."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webui import __version__
from webui.api.schemas import ProgressResponse, ProgressState, SamplerItem, SchedulerItem, Txt2ImgRequest
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.events import Progress
from webui.core.infotext import read_infotext
from webui.core.parameters import parameters_of
from webui.core.request import SEED_LIMIT, GenerationRequest, read_request
from webui.core.result import GenerationResult
from webui.core.samplers import Sampler, Schedule, split_combined_name
from webui.core.settings import Settings

IMAGE_SECTIONS = ("Stable Diffusion", "Sampler parameters", "Infotext")
# Keys of an infotext that A1111 does not repeat under extra_generation_params.
BASE_KEYS = (
    "Prompt", "Negative prompt", "Steps", "Sampler", "CFG scale", "Seed", "Size-1", "Size-2", "Model hash", "Model", "VAE hash", "VAE",
    "Clip skip", "RNG", "Version",
)  # fmt: skip
_TASK_ID = re.compile(r"[\w().:-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class ModelFacts:
    """What `info` says of the files that drew.  *_hash: 10 hex digits."""

    name: str
    hash: str | None
    vae_name: str | None
    vae_hash: str | None


def read_txt2img(wire: Txt2ImgRequest) -> GenerationRequest:
    """What the client asks for.  Raises InvalidRequest, also for features that are not there yet, naming the wire's field."""
    if missing := next(_missing_features(wire), None):
        raise InvalidRequest(missing)
    sampler, schedule = split_combined_name(wire.sampler_name or wire.sampler_index)
    values = {
        "prompt": _one_prompt("prompt", wire.prompt),
        "negative_prompt": _one_prompt("negative_prompt", wire.negative_prompt),
        "sampler": sampler,
        "schedule": schedule or wire.scheduler or "Automatic",
        "batch_count": wire.n_iter,
        **{name: getattr(wire, name) for name in ("seed", "steps", "cfg_scale", "width", "height", "batch_size")},
    }
    try:
        return read_request(values)
    except UnknownName:
        raise
    except InvalidRequest as error:
        raise InvalidRequest(_in_wire_names(str(error))) from None


def read_overrides(wire: Txt2ImgRequest) -> dict[str, Any]:
    """The settings changed for this job alone.  Raises InvalidRequest for a key that is no setting, or not one of the image."""
    given = {key: value for key, value in (wire.override_settings or {}).items() if value is not None}
    declared = parameters_of(Settings)
    allowed = [name for name, setting in declared.items() if setting.section in IMAGE_SECTIONS]
    for key in given:
        if key in declared and key not in allowed:
            raise InvalidRequest(f"override_settings: {key!r} cannot be changed for one picture. Those that can: {', '.join(allowed)}.")
        if key not in declared:
            raise UnknownName("setting in override_settings", key, allowed)
    if wire.eta is not None:
        given |= {"eta_ancestral": wire.eta, "eta_ddim": wire.eta}
    return given


def read_task_id(wire: Txt2ImgRequest) -> str | None:
    """The client's own id for the job.  Raises InvalidRequest."""
    if wire.force_task_id and not _TASK_ID.fullmatch(wire.force_task_id):
        raise InvalidRequest(f"force_task_id: got {wire.force_task_id[:80]!r}; use up to 128 letters, digits and ( ) . : _ -")
    return wire.force_task_id or None


def write_info(wire: Txt2ImgRequest, result: GenerationResult, settings: Settings, model: ModelFacts, began: float) -> str:
    """A1111's `info`: 32 keys in its order, as JSON text.  began: seconds since the epoch."""
    request = result.request
    count = request.images
    subseed = wire.subseed if wire.subseed >= 0 else random.randrange(SEED_LIMIT)
    infotexts = [picture.infotext for picture in result.pictures]
    info = {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * count,
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt] * count,
        "seed": request.seed,
        "all_seeds": [request.of_image(index).seed for index in range(count)],
        "subseed": subseed,
        "all_subseeds": [subseed + index for index in range(count)],
        "subseed_strength": wire.subseed_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model.name,
        "sd_model_hash": model.hash,
        "sd_vae_name": model.vae_name,
        "sd_vae_hash": model.vae_hash,
        "seed_resize_from_w": wire.seed_resize_from_w,
        "seed_resize_from_h": wire.seed_resize_from_h,
        "denoising_strength": None,
        "extra_generation_params": _extra_params(infotexts[0]) if infotexts else {},
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": [],
        "job_timestamp": _timestamp(began),
        "clip_skip": settings.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": False,
        "version": f"webui {__version__}",
    }
    return json.dumps(info)


def write_progress(request: GenerationRequest, progress: Progress | None, began: float) -> ProgressResponse:
    """A running job as A1111 tells it: 0.01 as soon as it has begun, at most 1.  began: seconds since the epoch."""
    batches = request.batch_count
    batch, step, steps = (progress.batch, progress.step, progress.steps) if progress else (0, 0, request.steps)
    return ProgressResponse(
        progress=min(0.01 + (progress.fraction if progress else 0.0), 1.0),
        eta_relative=progress.eta if progress else 0.0,
        state=ProgressState(
            job=f"Batch {batch + 1} out of {batches}" if batches > 1 else "txt2img",
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


def _missing_features(wire: Txt2ImgRequest) -> Iterator[str]:
    """A sentence for each field that asks for what this version cannot do. Values without effect in A1111 pass."""
    asked = {
        "enable_hr": (wire.enable_hr, "hires fix", "leave it false"),
        "refiner_checkpoint": ((wire.refiner_checkpoint or "None").lower() != "none", "the refiner", "leave it out"),
        "script_name": (bool(wire.script_name), "running scripts", "leave it out"),
        "alwayson_scripts": (bool(wire.alwayson_scripts), "running scripts", "leave it empty"),
        "styles": (any(wire.styles or []), "applying styles", "write their text into the prompt"),
        "tiling": (bool(wire.tiling), "tiling", "leave it false"),
        "restore_faces": (bool(wire.restore_faces), "face restoration", "leave it false"),
        "subseed_strength": (wire.subseed_strength != 0, "the variation seed", "leave it 0"),
        "seed_resize_from_w": (wire.seed_resize_from_w > 0 and wire.seed_resize_from_h > 0, "resizing the seed", "leave it -1"),
        "s_churn": (bool(wire.s_churn), "sigma churn", "leave it 0"),
        "s_noise": (wire.s_noise not in (None, 1.0), "another sigma noise than 1", "leave it 1"),
        "s_min_uncond": (bool(wire.s_min_uncond), "negative guidance minimum sigma", "leave it 0"),
        "firstpass_image": (bool(wire.firstpass_image), "a picture in place of the first pass", "leave it out"),
        "infotext": (bool(wire.infotext), "reading an infotext", "give its values in their own fields"),
    }
    for name, (is_asked, feature, way_out) in asked.items():
        if is_asked:
            yield f"{name}: {feature} is not available in this version yet; {way_out}."


def _one_prompt(name: str, prompt: str | list[str]) -> str:
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]
    raise InvalidRequest(f"{name}: got a list of {len(prompt)} texts; send one text, and one request for each.")


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
