"""Presets of a tab's form, and its defaults: what the page's dialog for them asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.presets import DEFAULTS, PresetStore

TABS = ("txt2img", "img2img", "inpaint", "depth2img")


def build_presets(app: App) -> PresetStore:
    """The element by which the page's scripts ask; nothing is to be seen of it.  Returns: the store, for when a page opens."""
    store = PresetStore(app.paths.presets)

    def listed(query: dict[str, Any]) -> dict[str, Any]:
        return _answer(lambda: shown(store, _tab(query)))

    def find(query: dict[str, Any]) -> dict[str, Any]:
        return _answer(lambda: {"fields": store.find(_tab(query), str(query.get("name")))})

    def save(query: dict[str, Any]) -> dict[str, Any]:
        fields = query.get("fields")
        tab, name = _tab(query), DEFAULTS if query.get("defaults") else str(query.get("name") or "").strip()
        return _answer(lambda: _save(store, tab, name, fields, is_default=bool(query.get("defaults"))))

    def delete(query: dict[str, Any]) -> dict[str, Any]:
        tab, name = _tab(query), DEFAULTS if query.get("defaults") else str(query.get("name"))
        return _answer(lambda: _delete(store, tab, name))

    gr.HTML(
        value=None, html_template="", elem_id="presets_server", elem_classes="no-room", apply_default_css=False,
        server_functions=[listed, find, save, delete], js_on_load="window.webui.addPresets(server)",
    )  # fmt: skip
    return store


def shown(store: PresetStore, tab: str) -> dict[str, Any]:
    """A tab's presets as the dialog lists them."""
    return {"names": list(store.names(tab)), "defaults": store.defaults(tab) is not None}


def _save(store: PresetStore, tab: str, name: str, fields: Any, *, is_default: bool) -> dict[str, Any]:
    if not name and not is_default:
        raise InvalidRequest("The preset has no name. Write one first.")
    if not isinstance(fields, dict):
        raise InvalidRequest("The page sent no form. Reload it.")
    store.save(tab, name, fields)
    return shown(store, tab)


def _delete(store: PresetStore, tab: str, name: str) -> dict[str, Any]:
    store.delete(tab, name)
    return shown(store, tab)


def _tab(query: dict[str, Any]) -> str:
    """The tab that is meant; the first one where the page says nonsense."""
    return str(query.get("tab")) if query.get("tab") in TABS else TABS[0]


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except WebuiError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"The file of presets cannot be written: {error.strerror}."}
