"""Presets of a tab's form, and its defaults: what the page's dialog for them asks."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.presets import PresetStore
from webui.ui.answers import answered
from webui.ui.defaults import TabDefaults

TABS = ("txt2img", "img2img", "inpaint", "depth2img")


def build_presets(app: App, defaults: TabDefaults) -> None:
    """The element by which the page's scripts ask; nothing is to be seen of it.  defaults: the tabs' own."""
    store = PresetStore(app.paths.presets)

    def listed(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: shown(store, defaults, _tab(query)))

    def find(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"fields": store.find(_tab(query), str(query.get("name")))})

    def save(query: dict[str, Any]) -> dict[str, Any]:
        name = None if query.get("defaults") else str(query.get("name") or "").strip()
        return answered(lambda: _save(store, defaults, _tab(query), name, query.get("fields")))

    def delete(query: dict[str, Any]) -> dict[str, Any]:
        name = None if query.get("defaults") else str(query.get("name"))
        return answered(lambda: _delete(store, defaults, _tab(query), name))

    gr.HTML(
        value=None, html_template="", elem_id="presets_server", elem_classes="no-room", apply_default_css=False,
        server_functions=[listed, find, save, delete], js_on_load="window.webui.addPresets(server)",
    )  # fmt: skip


def shown(store: PresetStore, defaults: TabDefaults, tab: str) -> dict[str, Any]:
    """A tab's presets as the dialog lists them."""
    return {"names": list(store.names(tab)), "defaults": defaults.has(tab)}


def _save(store: PresetStore, defaults: TabDefaults, tab: str, name: str | None, fields: Any) -> dict[str, Any]:
    """Store a form.  name: of the preset, None for the tab's defaults."""
    if name == "":
        raise InvalidRequest("The preset has no name. Write one first.")
    if not isinstance(fields, dict):
        raise InvalidRequest("The page sent no form. Reload it.")
    if name is None:
        defaults.save(tab, fields)
    else:
        store.save(tab, name, fields)
    return shown(store, defaults, tab)


def _delete(store: PresetStore, defaults: TabDefaults, tab: str, name: str | None) -> dict[str, Any]:
    if name is None:
        defaults.forget(tab)
    else:
        store.delete(tab, name)
    return shown(store, defaults, tab)


def _tab(query: dict[str, Any]) -> str:
    """The tab that is meant; the first one where the page says nonsense."""
    return str(query.get("tab")) if query.get("tab") in TABS else TABS[0]
