"""The button that puts a tab's picture into words, by the captioner or a tagger that lies in models/."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import WebuiError
from webui.core.images import decode_image
from webui.core.interrogation import CAPTIONER
from webui.ui.tab_parts import Parts


def build_describe(app: App, parts: Parts) -> None:
    """Lay it out beside the picture's other buttons."""

    def models(_: Any) -> list[dict[str, str]]:
        return offered(app)

    def describe(query: dict[str, Any]) -> dict[str, str]:
        return described(app, str(query.get("picture")), str(query.get("model") or ""))

    gr.HTML(
        value=None, html_template='<div class="describe"></div>', elem_id=parts.id("describe"), elem_classes="describe-part",
        server_functions=[models, describe], js_on_load=f"window.webui.addDescribe({parts.tab!r}, element, server)",
        apply_default_css=False,
    )  # fmt: skip


def offered(app: App) -> list[dict[str, str]]:
    """Who can describe a picture, as the choice shows it."""
    return [{"name": name, "title": "Sentence (BLIP)" if name == CAPTIONER else f"Tags ({name})"} for name in app.interrogators]


def described(app: App, picture: str, model: str) -> dict[str, str]:
    """The words, or why there are none.  picture: the hash under which it is stored.   model: empty for the first that is there."""
    try:
        image = decode_image(app.queue.inputs.read(picture))
        return {"text": app.interrogate(image, model or next(iter(app.interrogators), CAPTIONER))}
    except WebuiError as error:
        return {"message": str(error)}
