"""Pasting: from an infotext or a picture's metadata to typed changes of the request and the settings, to be shown before they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from webui.core.control import read_control_pairs
from webui.core.errors import UnknownName
from webui.core.infotext import read_infotext
from webui.core.infotext_legacy import Value, interpret
from webui.core.metadata import PictureMetadata
from webui.core.parameters import parameters_of
from webui.core.record import Record, picture_settings
from webui.core.request import GenerationRequest, read_request
from webui.core.request_parts.always_on import OF_EXTENSIONS
from webui.core.samplers import find_sampler, find_schedule, split_combined_name
from webui.core.settings import Settings
from webui.core.validation import keep_valid

# Takes a file's name or hash; gives the name by which a request should ask for it, or None when it is not here.
FindModel = Callable[[str], str | None]

PROMPTS = ("prompt", "negative_prompt")
MODELS: Mapping[str, str] = MappingProxyType({"checkpoint": "Model", "vae": "VAE"})
# Checkpoints that take over on the way, as "name [hash]"; without one, none does.
SUCCESSORS: Mapping[str, str] = MappingProxyType({"refiner_checkpoint": "Refiner", "hr_checkpoint": "Hires checkpoint"})

# What a request may say of its VAE without naming a file.
_NO_FILE = frozenset({"None", "Automatic"})
# A picture alone says nothing of how many there should be.
_OF_THE_JOB = frozenset({"batch_count", "batch_size"})
_NO_PROMPTS_APART: Mapping[str, tuple[str, ...]] = MappingProxyType({"prompts": (), "negative_prompts": ()})
# Fields that every infotext has; where one is missing, the text is a piece of one, and the field stays as it is.
_ALWAYS_WRITTEN = frozenset({"Steps", "Sampler", "CFG scale", "Seed"})
# No program writes these, so that their absence says nothing.
_NEVER_WRITTEN = frozenset({
    "UniPC variant", "UniPC skip type", "UniPC order", "UniPC lower order final", "Old prompt editing timelines",
})  # fmt: skip
_SIZES: Mapping[str, str] = MappingProxyType({
    "width": "Size-1",
    "height": "Size-2",
    "seed_resize_from_w": "Seed resize from-1",
    "seed_resize_from_h": "Seed resize from-2",
    "hr_resize_x": "Hires resize-1",
    "hr_resize_y": "Hires resize-2",
})  # fmt: skip
# Other programs' keys for A1111's; A1111's own options expect the first two of them.
_ALIASES: Mapping[str, str] = MappingProxyType({
    "Beta scheduler alpha": "Beta schedule alpha",
    "Beta scheduler beta": "Beta schedule beta",
    "Variation strength": "Variation seed strength",
    "Sampler eta delta": "ENSD",
    "Scheduler": "Schedule type",
    "Sampler sigma": "Schedule type",
})  # fmt: skip
# Known, and with nothing to set: for the finders of files, for back-compatibility, or for reading alone.
_SILENT = frozenset({
    "Prompt", "Negative prompt", "Version", "User", "App", "Model", "Model hash", "VAE", "VAE hash", "Lora hashes", "TI hashes",
    "Hypernet", "Hypernet hash", "Hypernet strength", "Batch size", "Batch pos", "Mask blur",
    "Script", "X Type", "X Values", "Fixed X Values", "Y Type", "Y Values", "Fixed Y Values", "Z Type", "Z Values", "Fixed Z Values",
    "Final denoising strength", "Denoising curve", "SD upscale overlap", "SD upscale upscaler",
})  # fmt: skip


@dataclass(frozen=True)
class Pasted:
    """What a paste would change, every value valid and of its field's type.

    request_changes: fields of GenerationRequest; with them, `request.changed` always succeeds for a request of one picture.
    settings_changes: by setting, of those alone that a picture may set.   unknown: pairs that mean nothing here.
    remarks: what was refused, and why; what the user should know.   extension_settings: what a picture's record says of settings of
    extensions, which only they can judge.
    """

    request_changes: Mapping[str, Any] = field(default_factory=dict)
    settings_changes: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    extension_settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One thing that a paste would change.  kind: a "model" is another file, which the user must confirm."""

    name: str
    title: str
    old: Any
    new: Any
    kind: Literal["request", "setting", "model"]


def read_paste(source: str | PictureMetadata, *, find_checkpoint: FindModel | None = None, find_vae: FindModel | None = None) -> Pasted:
    """What an infotext, or a picture that was read, would change. Nothing in it can make this fail.

    find_*: look files up; one that is not here is named in the remarks and not asked for. Without them the names stand as they are.
    """
    metadata = source if isinstance(source, PictureMetadata) else PictureMetadata(infotext=source)
    finders = {"checkpoint": find_checkpoint, "vae": find_vae}
    pasted = _from_record(metadata.record, finders) if metadata.record else _from_text(metadata.infotext, finders)
    return replace(pasted, remarks=(*metadata.remarks, *pasted.remarks))


def preview_changes(pasted: Pasted, request: GenerationRequest, settings: Settings) -> tuple[Change, ...]:
    """Everything but the prompts, and what extensions did, that the paste would change, in the order of declaration."""
    changes: list[Change] = []
    for name, one in parameters_of(GenerationRequest).items():
        if name in pasted.request_changes and name not in PROMPTS and name not in OF_EXTENSIONS:
            kind: Literal["request", "model"] = "model" if name in MODELS else "request"
            changes.append(Change(name, one.title, getattr(request, name), pasted.request_changes[name], kind))
    for name, one in parameters_of(Settings).items():
        if name in pasted.settings_changes:
            changes.append(Change(name, one.title, getattr(settings, name), pasted.settings_changes[name], "setting"))
    return tuple(change for change in changes if change.old != change.new)


def _from_record(record: Record, finders: Mapping[str, FindModel | None]) -> Pasted:
    request = {name: getattr(record.request, name) for name in GenerationRequest.model_fields}
    if record.request.images == 1:
        for name in PROMPTS:
            request[name] = next(iter(request[f"{name}s"]), request[name])
        request = {**{name: value for name, value in request.items() if name not in _OF_THE_JOB}, **_NO_PROMPTS_APART}
    remarks: list[str] = []
    for name in MODELS:
        named = record.model(name)
        asked = (named.hash if named else "", request.pop(name))
        request |= _find_model(name, asked, finders[name], remarks)
    request |= {name: _successor(request[name], finders["checkpoint"], remarks) for name in SUCCESSORS}
    return Pasted(request, record.settings, remarks=tuple(remarks), extension_settings=record.extension_settings)


def _from_text(text: str, finders: Mapping[str, FindModel | None]) -> Pasted:
    fields = read_infotext(text)
    if fields.keys() == {"Prompt", "Negative prompt"}:
        accepted, refused = keep_valid(dict(zip(PROMPTS, (fields["Prompt"], fields["Negative prompt"]), strict=True)), read_request)
        return Pasted(accepted, remarks=_refusals(refused))
    facts = interpret({**{_ALIASES[key]: value for key, value in fields.items() if key in _ALIASES}, **fields})
    remarks: list[str] = []
    units, refused_of_units = read_control_pairs(facts)
    request, refused = keep_valid({**_request_values(facts, remarks), "control_units": units}, read_request)
    for name, key in MODELS.items():
        asked = (str(facts.get(f"{key} hash", "")), str(facts.get(key, "")))
        request |= _find_model(name, asked, finders[name], remarks)
    request |= {name: _successor(str(facts.get(key, "")), finders["checkpoint"], remarks) for name, key in SUCCESSORS.items()}
    settings, wrong = keep_valid(_settings_values(facts), Settings().changed)
    known = {one.infotext for model in (GenerationRequest, Settings) for one in parameters_of(model).values()}
    known |= _SILENT | set(_SIZES.values()) | set(_ALIASES)
    unknown = {key: value for key, value in fields.items() if key not in known and not key.startswith(("AddNet ", "ControlNet "))}
    return Pasted(request, settings, unknown, (*remarks, *_refusals(refused), *_refusals(refused_of_units), *_refusals(wrong)))


def _request_values(facts: Mapping[str, Value], remarks: list[str]) -> dict[str, Any]:
    """The request's fields as the text has them, or as their absence means. Those that overrule a setting are let go."""
    values: dict[str, Any] = {"prompt": facts["Prompt"], **_NO_PROMPTS_APART}
    for name, one in parameters_of(GenerationRequest).items():
        key = one.infotext or _SIZES.get(name, "")
        if name in MODELS or name in SUCCESSORS or one.name in ("sampler", "schedule"):
            continue
        if key in facts:
            values[name] = facts[key]
        elif (key and key not in _ALWAYS_WRITTEN and not key.startswith("Size-")) or one.default is None:
            values[name] = one.default
    if "Mask blur" in facts:
        values |= {"mask_blur_x": facts["Mask blur"], "mask_blur_y": facts["Mask blur"]}
    return values | _second_pass(facts) | _sampling(facts, remarks)


def _second_pass(facts: Mapping[str, Value]) -> dict[str, Any]:
    """Whether there was one is said by its other keys alone; A1111 has words for "as in the first"."""
    sized = any(facts.get(f"Hires resize-{side}") not in (None, "0", 0) for side in (1, 2))
    values: dict[str, Any] = {"enable_hr": sized or any(facts.get(key) for key in ("Hires upscale", "Hires upscaler"))}
    for name, key in (("hr_sampler", "Hires sampler"), ("hr_schedule", "Hires schedule type")):
        said = str(facts.get(key, ""))
        values[name] = "" if said.startswith("Use same") else said
    return values


def _sampling(facts: Mapping[str, Value], remarks: list[str]) -> dict[str, str]:
    """Sampler and schedule, from whatever way to name them. As in A1111, a sampler's own schedule is "Automatic"."""
    values = {}
    name, combined = split_combined_name(str(facts.get("Sampler", "")))
    try:
        values["schedule"] = find_schedule(combined or str(facts["Schedule type"])).label
    except UnknownName as error:
        remarks.append(f"{error} The schedule stays as it is.")
    if not name:
        return values
    try:
        sampler = find_sampler(name)
    except UnknownName as error:
        remarks.append(f"{error} The sampler stays as it is.")
        return values
    if values.get("schedule") == sampler.schedule:
        values["schedule"] = "Automatic"
    return {"sampler": sampler.label, **values}


def _settings_values(facts: Mapping[str, Value]) -> dict[str, Any]:
    """The settings that the text names; of a whole infotext, also those whose absence means that they had no effect."""
    is_whole = any(key in facts for key in ("Version", "Model", "Model hash"))
    declared = parameters_of(Settings)
    values = {}
    for name in picture_settings():
        key = declared[name].infotext or ""
        if key in facts:
            values[name] = facts[key]
        elif key and is_whole and key not in _NEVER_WRITTEN:
            values[name] = declared[name].default
    if "Face restoration" in facts:  # its value is the model's name
        values |= {"face_restoration": True, "face_restoration_model": facts["Face restoration"]}
    return values


def _find_model(name: str, asked: tuple[str, ...], find: FindModel | None, remarks: list[str]) -> dict[str, str]:
    """The change that asks for a file by the first hash or name that is known; none when the text names none."""
    wanted = [one for one in asked if one]
    if not wanted:
        return {}
    choose = find if find and wanted[-1] not in _NO_FILE else None
    found = next(filter(None, map(choose, wanted)), None) if choose else wanted[-1]
    if found is None:
        remarks.append(f"The {'VAE' if name == 'vae' else name} {wanted[-1][:200]!r} is not here; the present one stays.")
        return {}
    accepted, refused = keep_valid({name: found}, read_request)
    remarks.extend(_refusals(refused))
    return accepted


def _successor(said: str, find: FindModel | None, remarks: list[str]) -> str:
    """The name by which to ask for it; "" for none, and for one that is not here."""
    return "" if said.startswith("Use same") else _find_model("checkpoint", (said,), find, remarks).get("checkpoint", "")


def _refusals(refused: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"Not taken over: {reason}" for reason in refused.values())
