"""The Gallery tab: every picture in outputs/, found by what it says of itself."""

from __future__ import annotations

import threading
from pathlib import PurePosixPath
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.gallery import IndexedPicture, PictureQuery
from webui.ui.answers import answered

MAX_CHOSEN = 1000


def build_gallery(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. What is indexed is shown at once; what has come since follows a moment later."""
    looking = _Looking(app)

    def find(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: found(app, query))

    def refresh(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"changed": looking.look(anew=bool((query or {}).get("anew")))})

    def favour(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"marked": app.gallery.set_favourite(_ids(query), on=bool(query.get("on")))})

    def throw_away(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: {"moved": app.gallery.throw_away(_ids(query))})

    return gr.HTML(
        value=None, html_template='<section class="gallery-tab" aria-label="Gallery"></section>', elem_id="gallery_panel",
        server_functions=[find, refresh, favour, throw_away], js_on_load="window.webui.addGallery(element, server)",
        apply_default_css=False,
    )  # fmt: skip


class _Looking:
    """Looks through outputs/ for all pages together: who asks while somebody else's look is under way waits for that one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()

    def look(self, *, anew: bool) -> int:
        """How many pictures came, changed or went."""
        if self._lock.acquire(blocking=False):
            try:
                return self._app.gallery.refresh(anew=anew)
            finally:
                self._lock.release()
        with self._lock:
            return 1  # somebody else has looked; what that changed is not known here


def found(app: App, asked: dict[str, Any]) -> dict[str, Any]:
    """The pictures that a page asks for.  Raises InvalidRequest."""
    fields = {name: asked[name] for name in PictureQuery.__dataclass_fields__ if isinstance(asked.get(name), str | bool | int)}
    pictures, total = app.gallery.find(PictureQuery(**fields))
    return {"pictures": [shown(picture) for picture in pictures], "total": total}


def shown(picture: IndexedPicture) -> dict[str, Any]:
    """A picture as the page shows it."""
    return {
        "id": picture.id,
        "path": picture.path,
        "name": PurePosixPath(picture.path).name,
        "time": int(picture.mtime),
        "width": picture.width,
        "height": picture.height,
        "infotext": picture.infotext,
        "favourite": picture.favourite,
    }


def _ids(query: dict[str, Any]) -> list[str]:
    ids = query.get("ids")
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(ids) > MAX_CHOSEN:
        raise InvalidRequest(f"The page named no pictures, or more than {MAX_CHOSEN}. Choose fewer.")
    return ids
