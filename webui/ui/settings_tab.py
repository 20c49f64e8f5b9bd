"""The Settings tab: every declared setting, grouped, searched, changed together, and taken over from an A1111 config.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.parameters import parameters_of
from webui.core.settings import Settings
from webui.core.upscalers import NO_UPSCALER
from webui.ui.described import describe

MAX_IMPORTED = 1_000_000


def build_settings(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. The page keeps what is changed until it is applied, all of it or nothing."""

    def list_settings(_: Any) -> dict[str, Any]:
        return shown(app)

    def change(changes: dict[str, Any]) -> dict[str, Any]:
        return _answer(app, lambda: app.change_settings(changes))

    def read_config(text: str) -> dict[str, Any]:
        try:
            return read_a1111(str(text))
        except WebuiError as error:
            return {"error": str(error)}

    return gr.HTML(
        value=None, html_template='<section class="settings" aria-label="Settings"></section>', elem_id="settings_panel",
        server_functions=[list_settings, change, read_config], js_on_load="window.webui.addSettings(element, server)",
        apply_default_css=False,
    )  # fmt: skip


def shown(app: App) -> dict[str, Any]:
    """Every setting as the page shows it, under its heading."""
    values = app.settings.snapshot().model_dump()
    offers = _offers(app)
    sections: dict[str, list[dict[str, Any]]] = {}
    values |= values["extension_settings"]
    for name, declared in (*parameters_of(Settings).items(), *app.settings.declared.items()):
        described = describe(declared, values[name], offers.get(name))
        sections.setdefault(declared.section or ("Other" if name in Settings.model_fields else "Extensions"), []).append(
            {**described, "locked": name in app.settings.locked}
        )
    return {"sections": [{"title": title, "settings": settings} for title, settings in sections.items()]}


def read_a1111(text: str) -> dict[str, Any]:
    """What a config.json would change.  Raises InvalidRequest when it is none.

    Returns: "changes" that can be taken over, "refused" with the reason by name, and how many other keys are "unknown" here.
    """
    if len(text) > MAX_IMPORTED:
        raise InvalidRequest(f"The file has {len(text)} characters; a config.json has at most {MAX_IMPORTED}.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The file is no JSON ({error}). Choose A1111's config.json.") from None
    if not isinstance(content, dict):
        raise InvalidRequest("The file holds no settings by name. Choose A1111's config.json.")
    known = {name: value for name, value in content.items() if name in Settings.model_fields}
    changes, refused = {}, {}
    for name, value in known.items():
        try:
            changes[name] = Settings().changed({name: value}).model_dump()[name]
        except InvalidRequest as error:
            refused[name] = str(error)
    return {"changes": changes, "refused": refused, "unknown": len(content) - len(known)}


def _offers(app: App) -> Mapping[str, tuple[str, ...]]:
    """What settings may be that depend on the files there are."""
    catalog = app.catalog
    upscalers = (NO_UPSCALER, *(one.name for one in catalog.upscalers.all if one.name != NO_UPSCALER))
    return {
        "sd_model_checkpoint": ("", *(checkpoint.name for checkpoint in catalog.checkpoints())),
        "sd_vae": ("Automatic", "None", *(vae.name for vae in catalog.vaes())),
        "upscaler_for_img2img": upscalers,
    }


def _answer(app: App, work: Callable[[], object]) -> dict[str, Any]:
    try:
        work()
    except WebuiError as error:
        return {"error": str(error)}
    return shown(app)
