"""The Extensions tab: what is installed, what an index offers, and installing with a sheet that shows everything before it is agreed to."""

from __future__ import annotations

import base64
import binascii
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.extensions import ConsentSheet
from webui.ui.answers import answered


def build_extensions(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. What it changes counts from the next start of the program on, which it says."""

    def list_extensions(query: dict[str, Any] | None) -> dict[str, Any]:
        check = bool((query or {}).get("check"))
        return answered(lambda: shown(app, check=check))

    def available(_: Any) -> dict[str, Any]:
        return answered(lambda: {"entries": [asdict(one) for one in app.installer.available()]})

    def prepare(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"sheet": _prepared(app, query).shown()})

    def confirm(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: _done(app, f"{app.installer.confirm(str(query.get('digest'))).name} is installed."))

    def cancel(query: dict[str, Any]) -> dict[str, Any]:
        app.installer.cancel(str(query.get("digest")))
        return {}

    def switch(query: dict[str, Any]) -> dict[str, Any]:
        enabled = bool(query.get("on"))
        return answered(lambda: _done(app, f"{_enabled(app, query, on=enabled)} is {'on' if enabled else 'off'}."))

    def remove(query: dict[str, Any]) -> dict[str, Any]:
        folder = str(query.get("folder"))
        return answered(
            lambda: _done(app, f"{folder} is in {_where(app, app.installer.remove(folder))}, from where it comes back by hand.")
        )

    return gr.HTML(
        value=None, html_template='<section class="extensions" aria-label="Extensions"></section>', elem_id="extensions_panel",
        server_functions=[list_extensions, available, prepare, confirm, cancel, switch, remove],
        js_on_load="window.webui.addExtensions(element, server)", apply_default_css=False,
    )  # fmt: skip


def shown(app: App, *, check: bool = False) -> dict[str, Any]:
    """What the tab shows.  check: ask first whether there are newer ones."""
    found = app.installer.check_updates() if check else app.installer.installed()
    return {"extensions": [asdict(one) for one in found], "allowed": app.installer.allowed}


def _prepared(app: App, query: dict[str, Any]) -> ConsentSheet:
    """The sheet of an update ("folder"), of a zip file ("zip", "name"), or of an address ("source").

    into: the extension whose place a zip file is to take.   Raises WebuiError.
    """
    if query.get("folder"):
        return app.installer.prepare_update(str(query["folder"]))
    if not query.get("zip"):
        return app.installer.prepare(str(query.get("source") or ""), ref=str(query.get("ref") or "").strip())
    try:
        content = base64.b64decode(str(query["zip"]), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The page sent no zip file. Choose it again.") from None
    with tempfile.TemporaryDirectory(dir=app.paths.state) as folder:
        file = Path(folder, "upload.zip")
        file.write_bytes(content)
        into = str(query.get("into") or "")
        return app.installer.prepare_zip(file, str(query.get("name")), folder=into, replaces=bool(into))


def _enabled(app: App, query: dict[str, Any], *, on: bool) -> str:
    return app.installer.enable(str(query.get("folder")), enabled=on).name


def _where(app: App, path: Path) -> str:
    return path.relative_to(app.paths.data).as_posix()


def _done(app: App, said: str) -> dict[str, Any]:
    return {**shown(app), "said": said}
