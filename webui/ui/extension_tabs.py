"""The tabs that extensions add to the page."""

from __future__ import annotations

import html
import re

import gradio as gr

from webui.app import App
from webui.core.errors import WebuiError


def build_extension_tabs(app: App) -> None:
    """Lay them out, inside the page's gr.Tabs. One that fails says so in the place of its content."""
    taken: set[str] = set()
    for extension, tab in app.host.tabs(app):
        name = re.sub("[^a-z0-9]+", "_", tab.title.lower()).strip("_") or "extension"
        if name in taken:
            name = f"{name}_{len(taken)}"
        taken.add(name)
        with gr.Tab(tab.title, id=f"extension_{name}", elem_id=f"tab_{name}"):
            try:
                app.host.build(extension, tab)
            except WebuiError as error:
                gr.HTML(value=f'<p class="refused" role="alert">{html.escape(str(error))}</p>')
