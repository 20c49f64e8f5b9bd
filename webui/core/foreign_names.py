"""How other programs name samplers and schedules, in A1111's labels, and their values made text; shared by the readers of their files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from webui.core.infotext import FEWEST_PAIRS, compose

MAX_JSON = 4 * 1024 * 1024

SAMPLERS: Mapping[str, str] = MappingProxyType({
    "euler": "Euler",
    "euler_a": "Euler a",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lms": "LMS",
    "dpm_2": "DPM2",
    "kdpm_2": "DPM2",
    "dpm_2_a": "DPM2 a",
    "dpm_2_ancestral": "DPM2 a",
    "kdpm_2_a": "DPM2 a",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "restart": "Restart",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "plms": "PLMS",
    "pndm": "PLMS",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "unipc": "UniPC",
    "lcm": "LCM",
})  # fmt: skip

SCHEDULES: Mapping[str, str] = MappingProxyType({
    "normal": "Normal",
    "simple": "Simple",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "ddim_uniform": "DDIM",
    "kl_optimal": "KL Optimal",
    "beta": "Beta",
    "align_your_steps": "Align Your Steps",
    "ays": "Align Your Steps",
})  # fmt: skip

_SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin|gguf|sft)$", re.IGNORECASE)
_NOT_IN_TAGS = re.compile("[<>:]")


@dataclass(frozen=True)
class Foreign:
    """What another program wrote, put as an infotext.  remarks: what cannot be read or means something else here."""

    program: str
    infotext: str
    remarks: tuple[str, ...] = ()


def tell(program: str, prompt: str, negative_prompt: str, pairs: Mapping[str, str | None], *remarks: str) -> Foreign:
    """What was read, as an infotext. Pairs too few to make a line of parameters would be taken for prompt, and are left out."""
    known = {key: value for key, value in pairs.items() if value is not None}
    return Foreign(program, compose(prompt, negative_prompt, known if len(known) >= FEWEST_PAIRS else {}), remarks)


def sampling(sampler: object, schedule: object = None) -> dict[str, str | None]:
    """The pairs for a sampler and a schedule; a name that A1111 has no label for is kept, so that the user is told of it."""
    name, spacing = as_text(sampler).lower().removeprefix("k_").removesuffix("_gpu"), as_text(schedule).lower()
    if name not in SAMPLERS and name.endswith("_k"):  # InvokeAI's way to say Karras
        name, spacing = name.removesuffix("_k"), "karras"
    pairs: dict[str, str | None] = {
        "Sampler": SAMPLERS.get(name, as_text(sampler)) or None,
        "Schedule type": SCHEDULES.get(spacing, as_text(schedule)) or None,
    }
    return pairs | ({"UniPC variant": "bh2"} if name == "uni_pc_bh2" else {})


def load_object(text: str) -> dict[str, Any]:
    """The JSON object in a text; an empty one when it is none, too long or nested too deeply."""
    if len(text) > MAX_JSON or not text.lstrip().startswith("{"):
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def as_text(value: object) -> str:
    """A text as a file can hold it; "" for anything but a text."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def as_number(value: object) -> str | None:
    """A finite number as it is written; None for anything else. Texts of digits count, as some programs quote their seeds."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value) if isinstance(value, int) or math.isfinite(value) else None


def size(width: object, height: object) -> str | None:
    """Both as A1111 writes a size."""
    sides = [as_number(side) for side in (width, height)]
    return "x".join(side for side in sides if side) if all(sides) else None


def model_name(value: object) -> str | None:
    """The name of a model's file without folders and suffix."""
    return _SUFFIX.sub("", re.split(r"[/\\]", as_text(value))[-1]) or None


def lora_tag(name: object, weight: object, text_weight: object = None) -> str:
    """The tag that asks for a LoRA here.  text_weight: of the text encoder, where it is not the UNet's; "" without a name."""
    stem = _NOT_IN_TAGS.sub("", model_name(name) or "")
    unet, text = as_number(weight) or "1", as_number(text_weight)
    weights = unet if text is None or text == unet else f"{text}:{unet}"
    return f"<lora:{stem}:{weights}>" if stem else ""
