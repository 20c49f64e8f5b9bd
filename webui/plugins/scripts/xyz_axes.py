"""The axes of a plot: what may differ from cell to cell. Made from the declarations of the request and of the settings.

A parameter declared there is an axis without anybody writing one; only what is no parameter (Prompt S/R, styles, a LoRA) is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import permutations
from pathlib import PurePosixPath
from typing import Any

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.parameters import Parameter, parameters_of
from webui.core.request import GenerationRequest
from webui.core.request_parts.always_on import OF_EXTENSIONS
from webui.core.request_parts.inpaint import InpaintParameters
from webui.core.request_parts.picture import OF_A_PICTURE
from webui.core.request_parts.script import OF_A_SCRIPT
from webui.core.samplers import SAMPLERS, SCHEDULES
from webui.core.scripts import Desk
from webui.core.settings import PICTURE_SECTIONS, Settings
from webui.plugins.scripts.xyz_values import read_booleans, read_floats, read_integers

# A1111's axes in its order: label; the request's or setting's name, "" for one that is made here; and the tab that alone has it.
A1111_AXES = (
    ("Nothing", "", ""), ("Seed", "seed", ""), ("Var. seed", "subseed", ""), ("Var. strength", "subseed_strength", ""),
    ("Steps", "steps", ""), ("Hires steps", "hr_second_pass_steps", "txt2img"), ("CFG Scale", "cfg_scale", ""),
    ("Image CFG Scale", "image_cfg_scale", "img2img"), ("Prompt S/R", "", ""), ("Prompt order", "", ""),
    ("Sampler", "sampler", "txt2img"), ("Hires sampler", "hr_sampler", "txt2img"), ("Sampler", "sampler", "img2img"),
    ("Checkpoint name", "checkpoint", ""), ("Negative Guidance minimum sigma", "s_min_uncond", ""), ("Sigma Churn", "s_churn", ""),
    ("Sigma min", "s_tmin", ""), ("Sigma max", "s_tmax", ""), ("Sigma noise", "s_noise", ""), ("Schedule type", "schedule", ""),
    ("Schedule min sigma", "sigma_min", ""), ("Schedule max sigma", "sigma_max", ""), ("Schedule rho", "rho", ""),
    ("Beta schedule alpha", "beta_dist_alpha", ""), ("Beta schedule beta", "beta_dist_beta", ""), ("Eta", "eta", ""),
    ("Clip skip", "CLIP_stop_at_last_layers", ""), ("Denoising", "denoising_strength", ""),
    ("Initial noise multiplier", "noise_multiplier", ""), ("Extra noise", "img2img_extra_noise", ""),
    ("Hires upscaler", "hr_upscaler", "txt2img"), ("Cond. Image Mask Weight", "inpainting_mask_weight", "img2img"), ("VAE", "vae", ""),
    ("Styles", "", ""), ("UniPC Order", "uni_pc_order", ""), ("Face restore", "face_restoration", ""),
    ("Token merging ratio", "token_merging_ratio", ""), ("Token merging ratio high-res", "token_merging_ratio_hr", ""),
    ("Always discard next-to-last sigma", "always_discard_next_to_last_sigma", ""), ("SGM noise multiplier", "sgm_noise_multiplier", ""),
    ("Refiner checkpoint", "refiner_checkpoint", ""), ("Refiner switch at", "refiner_switch_at", ""), ("RNG source", "randn_source", ""),
    ("FP8 mode", "fp8_storage", ""), ("Size", "", ""),
)  # fmt: skip
# Their values say nothing alone, or are the job's own.
_NO_AXES = frozenset({
    *OF_A_SCRIPT, *OF_EXTENSIONS, "prompts", "negative_prompts", "prompt_template", "negative_template", "init_images", "mask", "depth_map",
    "control_units",
})  # fmt: skip
# Without a picture to start from they do nothing.
_OF_A_PICTURE = frozenset({*OF_A_PICTURE, *InpaintParameters.model_fields, "use_depth", "image_cfg_scale"})
_NO_SETTINGS = frozenset({"sd_model_checkpoint", "sd_vae"})
# The value alone says what it is.
_WITHOUT_LABEL = frozenset({"sampler", "checkpoint", "vae", "prompt", "negative_prompt"})
SEEDS = frozenset({"Seed", "Var. seed"})
CHECKPOINT_COST, VAE_COST, NETWORK_COST = 1.0, 0.7, 0.5
# 7! are 5040.
MOST_REORDERED = 6
_SIZE = re.compile(r"(\d{1,5})\s*[x×:]\s*(\d{1,5})", re.ASCII)


@dataclass(frozen=True)
class Cell:
    """What one cell of a plot differs in.  request, settings: changes by name.   styles: put around its prompts."""

    request: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    styles: tuple[str, ...] = ()

    def with_request(self, **changes: Any) -> Cell:
        """With these parameters changed too."""
        return replace(self, request={**self.request, **changes})

    def text(self, name: str, base: GenerationRequest) -> str:
        """A parameter's text as it is in this cell."""
        return str(self.request.get(name, getattr(base, name)))


Read = Callable[[tuple[str, ...], GenerationRequest, Desk], tuple[Any, ...]]
Apply = Callable[[Cell, Any, Sequence[Any], GenerationRequest], Cell]


@dataclass(frozen=True)
class Axis:
    """One kind of difference.

    read: its values from texts.  Raises InvalidRequest.   apply: a cell with one of them; it is given all of them, and the request.
    legend: what stands beside the cells.   choices: what there is to choose from, if that is known.
    cost: how much it takes to change it; the most costly change least often.
    """

    label: str
    read: Read
    apply: Apply
    legend: Callable[[Any], str] = str
    choices: Callable[[Desk], tuple[str, ...]] | None = None
    cost: float = 0.0


def all_axes(*, needs_picture: bool) -> tuple[Axis, ...]:
    """Every axis of a tab: A1111's in its order, then the rest as declared.  needs_picture: a picture is begun with."""
    made = {axis.label: axis for axis in _made_here()}
    declared = dict(_declared())
    tab = "img2img" if needs_picture else "txt2img"
    axes: list[Axis] = []
    for label, name, only in A1111_AXES:
        if only in ("", tab) and label in made:
            axes.append(made.pop(label))
        elif only in ("", tab) and name in declared:
            axes.append(_labelled(declared.pop(name), label, name))
        elif only not in ("", tab) and name != "sampler":
            declared.pop(name, None)
    rest = (axis for name, axis in declared.items() if needs_picture or name not in _OF_A_PICTURE)
    return (*axes, *made.values(), *rest)


def find_axis(label: str, *, needs_picture: bool) -> Axis:
    """The axis of that label, whatever its case.  Raises UnknownName."""
    axes = all_axes(needs_picture=needs_picture)
    for axis in axes:
        if axis.label.lower() == label.strip().lower():
            return axis
    raise UnknownName("axis", label, [axis.label for axis in axes])


def label_by_number(number: int, *, needs_picture: bool) -> str:
    """The label that A1111's API means by a number: they are counted within a tab.  Raises InvalidRequest."""
    other = "txt2img" if needs_picture else "img2img"
    labels = [label for label, _, only in A1111_AXES if only != other]
    if not 0 <= number < len(labels):
        raise InvalidRequest(f"script_args: got axis number {number}; there are 0 to {len(labels) - 1}. The axis' name may be given too.")
    return labels[number]


def _declared() -> Iterator[tuple[str, Axis]]:
    """An axis for each parameter of the request and each setting of a picture; where both have one, the request's."""
    request = parameters_of(GenerationRequest)
    for name, parameter in request.items():
        if name not in _NO_AXES:
            yield name, _of_parameter(parameter, partial(_change_request, name))
    for name, parameter in parameters_of(Settings).items():
        if parameter.section in PICTURE_SECTIONS and name not in request and name not in _NO_SETTINGS:
            yield name, _of_parameter(parameter, partial(_change_setting, name))


def _change_request(name: str, cell: Cell, value: Any, values: Sequence[Any], base: GenerationRequest) -> Cell:
    return cell.with_request(**{name: value})


def _change_setting(name: str, cell: Cell, value: Any, values: Sequence[Any], base: GenerationRequest) -> Cell:
    return replace(cell, settings={**cell.settings, name: value})


def _of_parameter(parameter: Parameter, apply: Apply) -> Axis:
    """How its values are read follows from its type."""
    name = parameter.name
    legend = str if name in _WITHOUT_LABEL else lambda value: f"{parameter.title}: {value}"
    if name.endswith("checkpoint"):
        known = _find_checkpoint if name == "checkpoint" else _find_checkpoint_or_none
        return Axis(parameter.title, known, apply, _file_name, lambda desk: desk.checkpoints(), CHECKPOINT_COST)
    if name == "vae":
        return Axis(
            parameter.title,
            lambda texts, base, desk: tuple(map(desk.find_vae, texts)),
            apply,
            _file_name,
            lambda desk: desk.vaes(),
            VAE_COST,
        )
    choices = _choices(parameter)
    if choices:
        return Axis(parameter.title, lambda texts, base, desk: texts, apply, legend, lambda desk: choices)
    if parameter.type is bool:
        return Axis(parameter.title, lambda texts, base, desk: read_booleans(texts), apply, legend, lambda desk: ("True", "False"))
    if parameter.type is int:
        return Axis(parameter.title, lambda texts, base, desk: read_integers(texts), apply, legend)
    if parameter.type is str:
        return Axis(parameter.title, lambda texts, base, desk: texts, apply, legend)
    return Axis(parameter.title, lambda texts, base, desk: read_floats(texts), apply, legend)


def _choices(parameter: Parameter) -> tuple[str, ...]:
    if parameter.name in ("sampler", "hr_sampler"):
        return tuple(sampler.label for sampler in SAMPLERS)
    if parameter.name in ("schedule", "hr_schedule"):
        return tuple(schedule.label for schedule in SCHEDULES)
    return parameter.choices or ()


def _labelled(axis: Axis, label: str, name: str) -> Axis:
    """Under A1111's label, in the legend too."""
    if name in _WITHOUT_LABEL or axis.cost:
        return replace(axis, label=label)
    return replace(axis, label=label, legend=lambda value: f"{label}: {value}")


def _made_here() -> tuple[Axis, ...]:
    return (
        Axis("Nothing", lambda texts, base, desk: ("",), lambda cell, value, values, base: cell),
        Axis("Prompt S/R", _read_replacements, _replace),
        Axis("Prompt order", _read_orders, _reorder, ", ".join),
        Axis(
            "Styles",
            _read_styles,
            lambda cell, value, _, base: replace(cell, styles=(*cell.styles, *value)),
            ", ".join,
            lambda desk: desk.styles(),
        ),
        Axis(
            "Size",
            _read_sizes,
            lambda cell, value, _, base: cell.with_request(width=value[0], height=value[1]),
            lambda value: f"Size: {value[0]}x{value[1]}",
        ),
        Axis("LoRA", _read_loras, _add_lora, lambda value: value or "no LoRA", lambda desk: ("None", *desk.loras()), NETWORK_COST),
    )


def _find_checkpoint(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[str, ...]:
    return tuple(map(desk.find_checkpoint, texts))


def _find_checkpoint_or_none(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[str, ...]:
    return tuple("" if text.lower() == "none" else desk.find_checkpoint(text) for text in texts)


def _file_name(value: str) -> str:
    return PurePosixPath(value).stem if value not in ("", "None", "Automatic") else value or "None"


def _read_replacements(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[str, ...]:
    if texts and texts[0] not in base.prompt and texts[0] not in base.negative_prompt:
        raise InvalidRequest(
            f"Prompt S/R did not find {texts[0][:200]!r} in the prompt or the negative prompt; the first value is searched for."
        )
    return texts


def _replace(cell: Cell, value: str, values: Sequence[str], base: GenerationRequest) -> Cell:
    """The first value is what is searched for."""
    changes = {name: cell.text(name, base).replace(values[0], value) for name in ("prompt", "negative_prompt")}
    return cell.with_request(**changes)


def _read_orders(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[tuple[str, ...], ...]:
    if len(texts) > MOST_REORDERED:
        raise InvalidRequest(f"Prompt order: got {len(texts)} parts; their orders are too many. Give at most {MOST_REORDERED}.")
    for text in texts:
        if text not in base.prompt:
            raise InvalidRequest(f"Prompt order: {text[:200]!r} is not in the prompt. Give parts of it.")
    return tuple(permutations(texts))


def _reorder(cell: Cell, value: tuple[str, ...], values: Sequence[Any], base: GenerationRequest) -> Cell:
    """Where the parts stand in the prompt, they stand afterwards in the order of `value`."""
    rest, pieces = cell.text("prompt", base), []
    for part in sorted(value, key=rest.find):
        before, _, rest = rest.partition(part)
        pieces.append(before)
    prompt = "".join(before + part for before, part in zip(pieces, value, strict=True)) + rest
    return cell.with_request(prompt=prompt)


def _read_styles(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[tuple[str, ...], ...]:
    """A value may be several names between commas, as in A1111; "None" is none."""
    known = desk.styles()
    values = [tuple(name.strip() for name in text.split(",") if name.strip() and name.strip() != "None") for text in texts]
    for name in (name for value in values for name in value):
        if name not in known:
            raise UnknownName("style", name, known)
    return tuple(values)


def _read_sizes(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[tuple[int, int], ...]:
    found = [_SIZE.fullmatch(text) for text in texts]
    for text, match in zip(texts, found, strict=True):
        if not match:
            raise InvalidRequest(f"Size: got {text[:80]!r}; write width and height like 512x768.")
    return tuple((int(match[1]), int(match[2])) for match in found if match)


def _read_loras(texts: tuple[str, ...], base: GenerationRequest, desk: Desk) -> tuple[str, ...]:
    """A name, or name:weight; "None" is none."""
    for text in texts:
        if text != "None":
            desk.find_lora(text.partition(":")[0].strip())
    return tuple("" if text == "None" else text for text in texts)


def _add_lora(cell: Cell, value: str, values: Sequence[str], base: GenerationRequest) -> Cell:
    if not value:
        return cell
    name, _, weight = value.partition(":")
    return cell.with_request(prompt=f"{cell.text('prompt', base)} <lora:{name.strip()}:{weight.strip() or '1'}>")
