"""Puts the page on a server. Who may see it is the server's gate's affair, not ours."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr

from webui.app import App
from webui.core.errors import StartupError
from webui.ui.frontend_files import FrontendFiles
from webui.ui.layout import build_page
from webui.ui.paste import MAX_PICTURE_BYTES
from webui.ui.theme import build_theme, head

SCHEMES = (None, "light", "dark")


def mount_ui(server: gr.routes.FastAPI, app: App, *, subpath: str = "", theme: str | None = None) -> None:
    """Serve the page at "/". Call it last: gradio takes every route that no one has taken before.

    server: has /pictures/{id}. That is the only way to a picture: gradio's own, by path, is left with no folder to read.
    subpath: where a proxy in front shows us, "/sd" or "".   theme: "light", "dark", or None to follow the visitor's machine.
    Raises StartupError on an unknown theme.
    """
    if theme not in SCHEMES:
        raise StartupError(f"--theme got {theme!r}; give light or dark, or leave it out to follow the visitor's machine.")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    server.add_route("/assets/{name}", FrontendFiles(Path(gr.routes.BUILD_PATH_LIB)).answer, methods=["GET"], include_in_schema=False)
    gr.mount_gradio_app(
        server,
        build_page(app),
        path="/",
        root_path=subpath.rstrip("/") or None,
        allowed_paths=[],
        max_file_size=MAX_PICTURE_BYTES,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=build_theme(),
        head=head(theme, app.host.assets()),
    )
