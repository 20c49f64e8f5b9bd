"""A1111's always-on scripts: which of them a request may name, and how they are listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import HTTPException

from webui.api.control_units import SCRIPT as CONTROLNET
from webui.api.soft_inpainting import ARGUMENTS
from webui.api.soft_inpainting import SCRIPT as SOFT_INPAINTING
from webui.app import App
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.request import GenerationRequest
from webui.core.scripts import Script

# What they do has fields of its own in the request; A1111 skips their arguments too when the API asks.
WITHOUT_EFFECT = ("seed", "sampler", "refiner")


def check_always_on(app: App, names: Iterable[str]) -> None:
    """Raises HTTPException 422 for a script that is not there, or is not of this kind, as A1111 does."""
    known = (CONTROLNET, SOFT_INPAINTING, *WITHOUT_EFFECT)
    for name in names:
        if name.strip().lower() in known or find_always_on(app, name):
            continue
        try:
            app.host.find_script(name)
        except UnknownName:
            raise HTTPException(422, f"always on script {name[:200]} not found. There are: {', '.join(_names(app, known))}.") from None
        raise HTTPException(422, "Cannot have a selectable script in the always on scripts params; name it in script_name")


def find_always_on(app: App, name: str) -> Script[Any] | None:
    """An extension's always-on script, whatever the case of its title."""
    return next((one.as_core() for one in app.host.always_on() if one.title.lower() == name.strip().lower()), None)


def of_extensions(app: App, *, is_img2img: bool) -> list[Script[Any]]:
    """The always-on scripts of extensions in a tab."""
    return [one.as_core() for one in app.host.always_on() if one.tabs[is_img2img]]


def add_always_on(app: App, given: Mapping[str, Any], request: GenerationRequest) -> GenerationRequest:
    """The request with what the client asks of extensions' always-on scripts.  Raises InvalidRequest.

    given: by a script's name {"args": a list in the order of script-info, or an object by name}; what is left out is as declared.
    """
    asked: dict[str, Any] = {}
    for name, sent in given.items():
        script = find_always_on(app, name)
        if script is None:
            continue
        args = sent.get("args", []) if isinstance(sent, Mapping) else sent
        if not isinstance(args, list | dict):
            raise InvalidRequest(f"alwayson_scripts.{name}: got {type(args).__name__}; send args, a list or an object by name.")
        values = args if isinstance(args, dict) else script.read_positions(args, needs_picture=bool(request.init_images))
        asked[script.title] = script.read(values).model_dump(mode="json")
    return request.changed(always_on=asked) if asked else request


def always_on(*, is_img2img: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Those of a tab, with the request's parameters that are their arguments; none for ControlNet, whose arguments are units."""
    return ((CONTROLNET, ()), *(((SOFT_INPAINTING, ARGUMENTS),) if is_img2img else ()))


def _names(app: App, known: Iterable[str]) -> list[str]:
    return [*known, *(one.title.lower() for one in app.host.always_on())]
