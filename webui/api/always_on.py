"""A1111's always-on scripts: which of them a request may name, and how they are listed."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import HTTPException

from webui.api.control_units import SCRIPT as CONTROLNET
from webui.api.soft_inpainting import ARGUMENTS
from webui.api.soft_inpainting import SCRIPT as SOFT_INPAINTING
from webui.app import App
from webui.core.errors import UnknownName

# What they do has fields of its own in the request; A1111 skips their arguments too when the API asks.
WITHOUT_EFFECT = ("seed", "sampler", "refiner")


def check_always_on(app: App, names: Iterable[str]) -> None:
    """Raises HTTPException 422 for a script that is not there, or is not of this kind, as A1111 does."""
    known = (CONTROLNET, SOFT_INPAINTING, *WITHOUT_EFFECT)
    for name in names:
        if name.strip().lower() in known:
            continue
        try:
            app.host.find_script(name)
        except UnknownName:
            raise HTTPException(422, f"always on script {name[:200]} not found. There are: {', '.join(known)}.") from None
        raise HTTPException(422, "Cannot have a selectable script in the always on scripts params; name it in script_name")


def always_on(*, is_img2img: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Those of a tab, with the request's parameters that are their arguments; none for ControlNet, whose arguments are units."""
    return ((CONTROLNET, ()), *(((SOFT_INPAINTING, ARGUMENTS),) if is_img2img else ()))
