"""The Settings tab: every declared setting, grouped, searched, changed together, and taken over from A1111's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import WebuiError
from webui.core.localizations import AUTO, NONE, find_localizations
from webui.core.parameters import parameters_of
from webui.core.settings import PICTURE_SECTIONS, Settings
from webui.core.upscalers import NO_UPSCALER
from webui.ui.defaults import TabDefaults
from webui.ui.described import describe
from webui.ui.imports import take_over


def build_settings(app: App, defaults: TabDefaults) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. The page keeps what is changed until it is applied, all of it or nothing.

    defaults: of the tabs, for a ui-config.json.
    """

    def list_settings(_: Any) -> dict[str, Any]:
        return shown(app)

    def change(changes: dict[str, Any]) -> dict[str, Any]:
        return _answer(app, lambda: app.change_settings(changes))

    def bring(text: str) -> dict[str, Any]:
        try:
            return take_over(app, defaults, str(text))
        except WebuiError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"The file cannot be written: {error.strerror}."}

    return gr.HTML(
        value=None, html_template='<section class="settings" aria-label="Settings"></section>', elem_id="settings_panel",
        server_functions=[list_settings, change, bring], js_on_load="window.webui.addSettings(element, server)",
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
    # What changes pictures comes first, whatever order the declarations come in.
    ordered = sorted(sections.items(), key=lambda section: section[0] not in PICTURE_SECTIONS)
    return {"sections": [{"title": title, "settings": settings} for title, settings in ordered]}


def _offers(app: App) -> Mapping[str, tuple[str, ...]]:
    """What settings may be that depend on the files there are."""
    catalog = app.catalog
    upscalers = (NO_UPSCALER, *(one.name for one in catalog.upscalers.all if one.name != NO_UPSCALER))
    return {
        "sd_model_checkpoint": ("", *(checkpoint.name for checkpoint in catalog.checkpoints())),
        "sd_vae": ("Automatic", "None", *(vae.name for vae in catalog.vaes())),
        "upscaler_for_img2img": upscalers,
        "localization": (AUTO, NONE, *find_localizations(app.paths, app.host.assets())),
    }


def _answer(app: App, work: Callable[[], object]) -> dict[str, Any]:
    try:
        work()
    except WebuiError as error:
        return {"error": str(error)}
    return shown(app)
