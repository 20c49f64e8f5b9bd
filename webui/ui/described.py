"""A declared parameter as the page's scripts make a control of it."""

from __future__ import annotations

from typing import Any

from webui.core.parameters import Parameter


def describe(declared: Parameter, value: Any, offer: tuple[str, ...] | None = None) -> dict[str, Any]:
    """What a control needs.  value: what it shows.   offer: choices that are found at run time."""
    choices = declared.choices or offer
    return {
        "name": declared.name,
        "title": declared.title,
        "help": declared.help,
        "kind": "choice" if choices else _kind_of(declared.default),
        "value": _shown(value),
        "default": _shown(declared.default),
        "minimum": declared.minimum,
        "maximum": declared.maximum,
        "step": declared.step or ("any" if isinstance(declared.default, float) else 1),
        "choices": list(choices or ()),
    }


def _shown(value: Any) -> Any:
    """A list of names is one line of text."""
    return ", ".join(value) if isinstance(value, tuple) else value


def _kind_of(default: Any) -> str:
    if isinstance(default, bool):
        return "tick"
    return "number" if isinstance(default, int | float) else "text"
