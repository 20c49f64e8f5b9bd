"""Soft inpainting as A1111's clients ask for it: the arguments of the always-on script of that name, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.core.errors import InvalidRequest

SCRIPT = "soft inpainting"
ARGUMENTS = (
    "soft_inpainting", "soft_schedule_bias", "soft_preservation_strength", "soft_transition_contrast", "soft_mask_influence",
    "soft_difference_threshold", "soft_difference_contrast",
)  # fmt: skip


def is_soft_inpainting(name: str) -> bool:
    """Whether a key of `alwayson_scripts` means it."""
    return name.strip().lower() == SCRIPT


def read_soft_inpainting(scripts: Mapping[str, Any]) -> dict[str, Any]:
    """The request's parameters that `alwayson_scripts` asks for; as in A1111, arguments that are left out keep their defaults.

    Raises InvalidRequest for what is no list of arguments.
    """
    script = next((script for name, script in scripts.items() if is_soft_inpainting(name)), None)
    if script is None:
        return {}
    args = script.get("args", []) if isinstance(script, dict) else script
    if not isinstance(args, list):
        raise InvalidRequest(f"alwayson_scripts: the arguments of soft inpainting are {type(args).__name__}; send a list.")
    return dict(zip(ARGUMENTS, args, strict=False))
