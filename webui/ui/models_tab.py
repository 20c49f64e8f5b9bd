"""The Models tab, and the same cards under the prompts: models found, looked at, noted on, and put to use by a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.images import decode_base64_image, decode_image, encode_png
from webui.core.model_cards import KINDS, SORTS, Card, Query, base_of
from webui.core.model_paths import stem_of
from webui.ui.answers import answered
from webui.ui.model_jobs import served
from webui.ui.quicksettings import FITTED

PREVIEW_SIDE = 768
SHOWN_NOTES = ("description", "notes", "activation_text", "negative_text", "preferred_weight", "vae", "favourite")
FAMILIES: Mapping[str, str] = MappingProxyType({"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"})


def build_models_server(app: App) -> gr.HTML:
    """What the page's scripts ask of models, from wherever cards are shown. Its event `use_checkpoint` is connected by the layout."""

    def find(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: found(app, query))

    def details(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: _details(app, _card(app, query)))

    def note(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"card": shown(app.models.change_notes(_card(app, query), _changes(query.get("changes"))))})

    def preview(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"card": shown(set_preview(app, _card(app, query), query))})

    def used(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: asdict(app.uses_of(_card(app, query))))

    def show_folder(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: _folder_shown(app, _card(app, query)))

    def throw_away(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"where": str(app.models.throw_away(_card(app, query)))})

    def refresh(_: Any) -> dict[str, Any]:
        return answered(lambda: {"broken": len(_refreshed(app))})

    return gr.HTML(
        value=None, html_template="", elem_id="models_server", elem_classes="no-room", apply_default_css=False,
        server_functions=[find, details, note, preview, used, show_folder, throw_away, refresh, *served(app)],
        js_on_load=f"window.webui.addModelsServer(server, () => trigger('use_checkpoint'), {str(bool(app.desktop)).lower()})",
    )  # fmt: skip


def build_models() -> gr.HTML:
    """Lay the tab out, inside a gr.Tab; its cards come from `build_models_server`."""
    return gr.HTML(
        value=None, html_template='<section class="models" aria-label="Models"></section>', elem_id="models_panel",
        js_on_load="window.webui.addModels(element)", apply_default_css=False,
    )  # fmt: skip


def found(app: App, asked: dict[str, Any]) -> dict[str, Any]:
    """The cards that a page asks for.  Raises InvalidRequest.

    asked: the fields of Query; "fits" may name a checkpoint, whose family then counts.
    """
    fields = {name: asked[name] for name in Query.__dataclass_fields__ if isinstance(asked.get(name), str | bool | int)}
    if asked.get("fits"):
        fields["base"] = base_of(app.catalog.find_checkpoint(str(asked["fits"])).identity.family)
    result = app.models.find(Query(**fields))
    return {
        "cards": [shown(card) for card in result.cards],
        "total": result.total,
        "folders": result.folders,
        "tags": result.tags,
        "bases": [[base, FAMILIES[base]] for base in result.bases],
        "kinds": KINDS,
        "sorts": SORTS,
    }


def shown(card: Card) -> dict[str, Any]:
    """A card as the page shows it."""
    notes = card.notes
    return {
        "kind": card.kind,
        "name": card.name,
        "title": card.word or stem_of(card.path),
        "folder": card.folder,
        "family": FAMILIES.get(base_of(card.family), ""),
        "word": card.word,
        "size": card.size,
        "time": card.mtime_ns // 10**9,
        "broken": card.broken,
        "preview": _preview_address(card),
        "tags": notes.tags,
        "defaults": dict(notes.defaults),
        **{name: getattr(notes, name) for name in SHOWN_NOTES},
    }


def set_preview(app: App, card: Card, query: Mapping[str, Any]) -> Card:
    """Make a picture what shows a model: one of the program's own by its id, or one that the page sends as a data URL.

    Raises NotFound, InvalidRequest, ModelError.
    """
    if query.get("image"):
        image = decode_base64_image(str(query["image"])).convert("RGB")
    else:
        image = decode_image(app.outputs.picture(str(query.get("picture") or "")).path.read_bytes()).convert("RGB")
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return app.models.set_preview(card, encode_png(image, {}))


def _details(app: App, card: Card) -> dict[str, Any]:
    return {"card": shown(card), "file": card.path.name, **app.models.details(card)}


def _folder_shown(app: App, card: Card) -> dict[str, Any]:
    app.desktop.show(card.path.parent)
    return {"folder": card.path.parent.name}


def _card(app: App, query: dict[str, Any]) -> Card:
    return app.models.card(str(query.get("kind")), str(query.get("name")))


def _changes(asked: Any) -> dict[str, Any]:
    """Raises InvalidRequest."""
    if not isinstance(asked, dict):
        raise InvalidRequest("The page sent no notes. Reload it.")
    if isinstance(asked.get("defaults"), dict):
        asked["defaults"] = {name: value for name, value in asked["defaults"].items() if name in FITTED}
    return asked


def _refreshed(app: App) -> tuple[object, ...]:
    app.catalog.refresh()
    return app.catalog.broken()


def _preview_address(card: Card) -> str:
    if card.preview is None:
        return ""
    try:
        version = card.preview.stat().st_mtime_ns
    except OSError:
        return ""
    return "model-preview?" + urlencode({"kind": card.kind, "name": card.name, "v": version})
