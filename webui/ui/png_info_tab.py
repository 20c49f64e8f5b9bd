"""The PNG Info tab: what a picture file says of itself, and whether it can be drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import WebuiError
from webui.core.infotext import read_infotext
from webui.core.metadata import PictureMetadata
from webui.core.metadata import read as read_metadata
from webui.ui import verification
from webui.ui.paste import uploaded_picture

PROMPTS = ("Prompt", "Negative prompt")
# What a page is given of one text; a workflow of another program may be megabytes.
TEXT_SHOWN = 20_000
ROWS_SHOWN = 300


def build_png_info(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. The page sends the picture with each question, so the server keeps none."""

    def inspect(upload: Any) -> dict[str, Any]:
        try:
            return describe(read_metadata(uploaded_picture(upload)))
        except WebuiError as error:
            return {"error": str(error)}

    def verify(upload: Any) -> dict[str, Any]:
        try:
            return verification.start(app, uploaded_picture(upload))
        except WebuiError as error:
            return {"error": str(error)}

    def follow(query: dict[str, Any]) -> dict[str, Any]:
        return verification.progress(app, str(query["job"]), query.get("known"))

    def stop_verifying(query: dict[str, Any]) -> None:
        verification.stop(app, str(query["job"]))

    return gr.HTML(
        value=None, html_template='<section class="png-info" aria-label="PNG Info"></section>', elem_id="pnginfo_panel",
        server_functions=[inspect, verify, follow, stop_verifying],
        js_on_load="window.webui.addPngInfo(element, server)", apply_default_css=False,
    )  # fmt: skip


def describe(metadata: PictureMetadata) -> dict[str, Any]:
    """A picture's texts as the tab shows them: pairs as lists, for keys come from the file."""
    fields = read_infotext(metadata.infotext) if metadata.infotext else {}
    return {
        "program": metadata.program,
        "recorded": metadata.record is not None,
        "infotext": metadata.infotext[:TEXT_SHOWN],
        "prompts": [[name, fields[name][:TEXT_SHOWN]] for name in PROMPTS if fields.get(name)],
        "fields": [[name, value[:TEXT_SHOWN]] for name, value in _joined(fields).items() if name not in PROMPTS][:ROWS_SHOWN],
        "items": [[name, _shortened(text)] for name, text in metadata.items.items()][:ROWS_SHOWN],
        "remarks": list(metadata.remarks),
        "drawable": bool(metadata.infotext or metadata.record),
    }


def _joined(fields: Mapping[str, str]) -> dict[str, str]:
    """Sizes in one piece, as they are written: "Size-1" and "Size-2" are "Size"."""
    joined: dict[str, str] = {}
    for key, value in fields.items():
        name, half = key[:-2], key[-2:]
        if half == "-1" and f"{name}-2" in fields:
            joined[name] = f"{value}x{fields[f'{name}-2']}"
        elif half != "-2" or f"{name}-1" not in fields:
            joined[key] = value
    return joined


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]} … ({len(text)} characters)"
