"""ControlNet units as sd-webui-controlnet's clients send them, in `alwayson_scripts`. Pure functions; no HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL.Image import Image

from webui.core.errors import InvalidRequest
from webui.core.images import decode_base64_image
from webui.core.request import read_request
from webui.core.request_parts.control import CONTROL_MODES, CONTROL_RESIZE_MODES, HIRES_OPTIONS, OWN, ControlUnit

SCRIPT = "controlnet"
# Older names of fields.
ALIASES: Mapping[str, str] = {"input_image": "image", "guidance": "guidance_end", "mask_image": "mask"}
SAME = ("module", "model", "weight", "guidance_start", "guidance_end", "pixel_perfect")
NUMBERS = ("processor_res", "threshold_a", "threshold_b")
RESIZE_ALIASES: Mapping[str, str] = {
    "inner fit (scale to fit)": "Crop and Resize",
    "scale to fit (inner fit)": "Crop and Resize",
    "outer fit (shrink to fit)": "Resize and Fill",
    "envelope (outer fit)": "Resize and Fill",
    "just resize (latent upscale)": "Just Resize",
}
# Stands for a picture that is not stored yet.
_NO_PICTURE = "0" * 64


def is_control_script(name: str) -> bool:
    """Whether a key of `alwayson_scripts` means ControlNet, which clients write in several ways."""
    return name.strip().lower() == SCRIPT


def wire_units(scripts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The units in `alwayson_scripts`, by their place; those left out are empty.  Raises InvalidRequest for what is no unit."""
    units: list[Mapping[str, Any]] = []
    for name, script in scripts.items():
        if not is_control_script(name):
            continue
        args = script.get("args") if isinstance(script, dict) else script
        if not isinstance(args, list):
            raise InvalidRequest(
                f"alwayson_scripts.{name}: got no list under 'args'; send one unit, an object, for each picture to follow."
            )
        for number, unit in enumerate(args):
            if unit is not None and not isinstance(unit, dict):
                raise InvalidRequest(f"alwayson_scripts.{name}.args[{number}]: got {str(unit)[:40]!r}; a unit is an object.")
            units.append({} if unit is None else _with_present_names(unit))
    return units


def read_units(scripts: Mapping[str, Any], store: Callable[[Image], str]) -> tuple[ControlUnit, ...]:
    """What a client asks for.  store: keeps a picture and gives its hash.  Raises InvalidRequest naming the unit."""
    units = wire_units(scripts)
    pictures = [_pictures(unit, number) if _is_enabled(unit) else ("", "") for number, unit in enumerate(units)]
    values = [_values(unit, number) for number, unit in enumerate(units)]
    # Once before pictures are decoded and stored for nothing.
    placed = [{"image": _NO_PICTURE if image else "", "mask": _NO_PICTURE if mask else ""} for image, mask in pictures]
    read_request({"control_units": [{**one, **place} for one, place in zip(values, placed, strict=True)]})
    decoded = [tuple(decode_base64_image(one) if one else None for one in pair) for pair in pictures]
    stored = [[store(one) if one else "" for one in pair] for pair in decoded]
    asked = [{**one, "image": image, "mask": mask} for one, (image, mask) in zip(values, stored, strict=True)]
    return read_request({"control_units": asked}).control_units


def shows_map(scripts: Mapping[str, Any], number: int) -> bool:
    """Whether the client wants to see what a unit followed."""
    units = wire_units(scripts)
    return number < len(units) and units[number].get("save_detected_map") is not False


def _with_present_names(unit: Mapping[str, Any]) -> dict[str, Any]:
    """null means the default."""
    given = {name: value for name, value in unit.items() if value is not None}
    return {ALIASES[name]: value for name, value in given.items() if name in ALIASES} | given


def _is_enabled(unit: Mapping[str, Any]) -> bool:
    """A unit that is sent is meant, unless it says otherwise."""
    return bool(unit) and bool(unit.get("enabled", True))


def _values(unit: Mapping[str, Any], number: int) -> dict[str, Any]:
    values: dict[str, Any] = {name: unit[name] for name in SAME if name in unit}
    values |= {name: _number(unit[name], f"control unit {number}, {name}") for name in NUMBERS if name in unit}
    if "processor_res" in values:
        values["processor_res"] = int(values["processor_res"])
    for name, names, aliases in (
        ("resize_mode", CONTROL_RESIZE_MODES, RESIZE_ALIASES),
        ("control_mode", CONTROL_MODES, {}),
        ("hr_option", HIRES_OPTIONS, {}),
    ):
        if name in unit:
            values[name] = _named(unit[name], names, aliases, f"control unit {number}, {name}")
    return {**values, "enabled": _is_enabled(unit)}


def _number(value: Any, name: str) -> float:
    """A preprocessor's number; below 0 it is the preprocessor's own."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRequest(f"{name}: got {str(value)[:40]!r}; it is a number, or -1 for the preprocessor's own.")
    return OWN if value < 0 else value


def _named(value: Any, names: Sequence[str], aliases: Mapping[str, str], field: str) -> str:
    """A name by its place or its words, whatever the case.  3 is a resize mode of A1111's that resizes as 0 does."""
    if isinstance(value, int) and not isinstance(value, bool):
        place = 0 if value == len(names) and aliases else value
        if 0 <= place < len(names):
            return names[place]
    elif isinstance(value, str):
        lowered = value.strip().lower()
        for name in names:
            if name.lower() == lowered or aliases.get(lowered) == name:
                return name
    raise InvalidRequest(f"{field}: got {str(value)[:40]!r}; it is 0 to {len(names) - 1}, or one of {', '.join(names)}.")


def _pictures(unit: Mapping[str, Any], number: int) -> tuple[str, str]:
    """Picture and mask as base64 texts, from any of the shapes that clients send; "" where there is none."""
    image, mask = unit.get("image"), unit.get("mask")
    if isinstance(image, list):
        if len(image) == 1:
            image = image[0]
        elif len(image) == 2 and not isinstance(image[0], dict):
            image, mask = image
        elif image:
            raise InvalidRequest(f"control unit {number}, image: got {len(image)} pictures; a unit follows one. Send a unit for each.")
    if isinstance(image, dict):
        both: Mapping[str, Any] = image
        image, mask = both.get("image"), both.get("mask") or mask
    for name, one in (("image", image), ("mask", mask)):
        if one and not isinstance(one, str):
            raise InvalidRequest(f"control unit {number}, {name}: got {type(one).__name__}; send a picture file as base64.")
    return str(image or ""), str(mask or "")
