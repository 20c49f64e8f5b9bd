"""ControlNet units as a job carries them: made concrete when it is submitted, and in the infotext as sd-webui-controlnet writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from webui.core.preprocessors import Slider, find_preprocessor
from webui.core.request import GenerationRequest, read_request
from webui.core.request_parts.control import CONTROL_RESIZE_MODES, OWN, ControlUnit
from webui.core.validation import keep_valid

NUMBERS = ("processor_res", "threshold_a", "threshold_b")
WRITTEN = (
    "module", "model", "weight", "resize_mode", "processor_res", "threshold_a", "threshold_b", "guidance_start", "guidance_end",
    "pixel_perfect", "control_mode",
)  # fmt: skip
# What that extension writes for a number that the preprocessor does not take.
IDLE = "0.5"

_KEY = re.compile(r"ControlNet (\d{1,2})", re.ASCII)
_READ = frozenset({*WRITTEN, "hr_option"})


def settle(unit: ControlUnit, number: int) -> tuple[ControlUnit, tuple[str, ...]]:
    """A unit whose numbers are those its preprocessor will work with, and a remark for each that had to be another.

    As in sd-webui-controlnet, a number that the preprocessor cannot take stands for its default: clients send the same
    numbers whatever the preprocessor is.
    """
    preprocessor = find_preprocessor(unit.module)
    remarks = []
    settled: dict[str, float] = {}
    for name, slider in zip(NUMBERS, preprocessor.sliders, strict=True):
        value = getattr(unit, name)
        settled[name] = OWN if slider is None else slider.value
        if slider is not None and slider.holds(value):
            settled[name] = value
        elif slider is not None and value != OWN and not (name == "processor_res" and unit.pixel_perfect):
            remarks.append(_corrected(number, name, value, unit.module, slider))
    return unit.model_copy(update={**settled, "processor_res": int(settled["processor_res"])}), tuple(remarks)


def _corrected(number: int, name: str, value: float, module: str, slider: Slider) -> str:
    return (
        f"ControlNet {number}: {name} is {value:g}, but {module} takes {slider.minimum:g} to {slider.maximum:g}; "
        f"its default, {slider.value:g}, is used."
    )


def pixel_perfect(size: tuple[int, int], target: tuple[int, int], mode: str) -> int:
    """The resolution of a preprocessor at which one pixel of its answer becomes one of the drawing.  size, target: (width, height)."""
    factors = target[0] / size[0], target[1] / size[1]
    factor = min(factors) if mode == CONTROL_RESIZE_MODES[2] else max(factors)
    return max(1, round(factor * min(size)))


def control_pairs(request: GenerationRequest) -> dict[str, str]:
    """Infotext pairs of the units that act."""
    return {f"ControlNet {number}": _written(unit) for number, unit in request.active_units}


def read_control_pairs(facts: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The units that an infotext tells of, without their pictures, which it does not hold; and the reasons for what cannot be read.

    A unit's number is kept by idle ones before it.
    """
    told = {int(match[1]): str(value) for key, value in facts.items() if (match := _KEY.fullmatch(key))}
    units: list[dict[str, Any]] = [{} for _ in range(max(told, default=-1) + 1)]
    refused: dict[str, str] = {}
    for number, text in told.items():
        accepted, wrong = keep_valid(_values(text), lambda values: read_request({"control_units": [values]}).control_units[0])
        units[number] = {"enabled": True, **accepted}
        refused |= {f"ControlNet {number} {name}": reason for name, reason in wrong.items()}
    return units, refused


def _written(unit: ControlUnit) -> str:
    sliders = dict(zip(NUMBERS, find_preprocessor(unit.module).sliders, strict=True))
    words = []
    for name in WRITTEN:
        value = IDLE if name in sliders and sliders[name] is None else str(getattr(unit, name))
        # A file's name may hold what separates the pairs.
        words.append(f"{' '.join(word.capitalize() for word in name.split('_'))}: {re.sub('[,:]', '_', value)}")
    return ", ".join(words)


def _values(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in text.split(","):
        key, _, value = pair.strip().partition(": ")
        name = key.lower().replace(" ", "_")
        if name in NUMBERS:
            values[name] = _number(value, whole=name == "processor_res")
        elif name in _READ:
            values[name] = {"True": True, "False": False}.get(value, value)
    return values


def _number(text: str, *, whole: bool) -> float:
    """A preprocessor's number; its own, where the text has none that could be one."""
    try:
        value = float(text)
    except ValueError:
        return OWN
    if not math.isfinite(value) or (whole and value != int(value)):
        return OWN
    return int(value) if whole else value
