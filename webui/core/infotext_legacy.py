"""What A1111 takes an infotext's fields to mean: defaults for what is missing, and what older versions and extensions wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from webui.core.prompt_syntax import Weighted, parse_emphasis

Value = str | int | bool

DEFAULTS: Mapping[str, Value] = MappingProxyType({
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
})  # fmt: skip

# Of `git describe`: the tag, and how many commits after it. Only A1111's own versions look like this; the text of another
# program, ours among them, has something before the number and asks for no old arithmetic.
_VERSION = re.compile(
    r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?P<early>-?(?:a|b|rc|RC|pre)[\d.]*)?(?:-(?P<after>\d{1,6})(?:-.*)?)?", re.ASCII
)
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_NETWORK_HASH = re.compile(r"(.*\S)\s*\([0-9a-fA-F]+\)")
_FIRST_PASS_PIXELS = 512 * 512


def interpret(fields: Mapping[str, str], *, back_compatible: bool = True) -> dict[str, Value]:
    """The fields as A1111's png-info answers them: nothing missing that has a meaning when missing, old ways made new.

    back_compatible: obey the Version field (A1111's option auto_backcompat).
    "Lora hashes" are left as they are: only the catalog knows which file of another name has such a hash. Sampler names keep
    their old suffix ("DPM++ 2M Karras"), as in A1111.
    """
    facts: dict[str, Value] = {key: value for key, value in fields.items() if value or key in ("Prompt", "Negative prompt")}
    if hypernetwork := fields.get("Hypernet"):
        facts["Prompt"] = f"{facts['Prompt']}<hypernet:{hypernetwork}:{fields.get('Hypernet strength', '1.0')}>"
    for key, default in DEFAULTS.items():
        facts.setdefault(key, default)
    if facts["FP8 weight"] != "Disable":
        facts.setdefault("Cache FP16 weight for LoRA", False)
    if any(_uses_emphasis(fields.get(key, "")) for key in ("Prompt", "Negative prompt")):
        facts.setdefault("Emphasis", "Original")
    facts |= _first_pass(facts)
    if back_compatible:
        facts |= _old_ways(facts)
    if tags := _additional_networks(fields):
        facts["Prompt"] = f"{facts['Prompt']}\n{tags}"
    return facts


def parse_version(text: str) -> tuple[int, int, int, int, int] | None:
    """A1111's version as numbers that compare: major, minor, patch, -1 for a release candidate, commits after the tag."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch = (int(number or 0) for number in match.group(1, 2, 3))
    return major, minor, patch, -1 if match["early"] else 0, int(match["after"] or 0)


def _old_ways(facts: Mapping[str, Value]) -> dict[str, Value]:
    """Settings that bring back the arithmetic of the version that wrote the text."""
    version = parse_version(str(facts.get("Version", "")))
    if version is None or "App" in facts:
        return {}
    old: dict[str, Value] = {}
    if version < (1, 6, 0, 0, 0) and "[" in str(facts["Prompt"]):
        old["Old prompt editing timelines"] = True
    if version < (1, 6, 0, 0, 0) and facts.get("Sampler") in ("DDIM", "PLMS"):
        old["Pad conds v0"] = True
    if version < (1, 7, 0, 0, 225):
        old["Downcast alphas_cumprod"] = True
    if version < (1, 8, 0, 0, 0) and facts.get("Refiner"):
        old["Refiner switch by sampling steps"] = True
    return old


def _first_pass(facts: Mapping[str, Value]) -> dict[str, Value]:
    """Before 1.0 the hires fix had the picture's size as Size, and the first pass apart; 0 left it to a formula."""
    first = [_number(facts.get(f"First pass size-{side}")) for side in (1, 2)]
    if first[0] is None or first[1] is None:
        return {}
    width, height = (_number(facts.get(f"Size-{side}", 512)) or 512 for side in (1, 2))
    if 0 in first:
        scale = math.sqrt(_FIRST_PASS_PIXELS / (width * height))
        first = [math.ceil(scale * side / 64) * 64 for side in (width, height)]
    return {"Size-1": first[0] or 0, "Size-2": first[1] or 0, "Hires resize-1": width, "Hires resize-2": height}


def _additional_networks(fields: Mapping[str, str]) -> str:
    """The tags for what the extension "Additional Networks" wrote: AddNet Module 1, AddNet Model 1, AddNet Weight A 1, ..."""
    tags = []
    for key, model in fields.items():
        number = key.removeprefix("AddNet Model ")
        if number == key or fields.get(f"AddNet Module {number}") != "LoRA":
            continue
        hashed = _NETWORK_HASH.fullmatch(model)
        name = hashed[1] if hashed else model
        tags.append(f"<lora:{name}:{fields.get(f'AddNet Weight A {number}', '1.0')}>")
    return "".join(tags)


def _uses_emphasis(prompt: str) -> bool:
    return any(isinstance(part, Weighted) and part.weight != 1.0 for part in parse_emphasis(prompt))


def _number(value: Value | None) -> int | None:
    return int(value) if value is not None and _DIGITS.fullmatch(str(value)) else None
