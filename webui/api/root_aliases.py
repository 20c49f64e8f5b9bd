"""Routes at the root that clients of A1111, or of its gradio, touch; and what its cards of models ask for."""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from webui.api.access import read_basic
from webui.app import App
from webui.core.errors import NotFound
from webui.core.images import encode_png

TYPES: Mapping[str, str] = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
SAFE: Mapping[str, str] = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'"}
NETWORKS = "/sd_extra_networks"


class AppId(BaseModel):
    """A number that is another one after each start."""

    app_id: int


class RootAliases:
    """The handlers."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._id = secrets.randbits(48)

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        server.add_api_route("/app_id", self.app_id, methods=["GET"], tags=["state"])
        server.add_api_route("/login_check", login_check, methods=["GET"], tags=["state"])
        server.add_api_route("/user", user, methods=["GET"], tags=["state"])
        server.add_api_route("/redoc", redoc, methods=["GET"], include_in_schema=False)
        for path in ("/file={path:path}", "/file/{path:path}"):
            server.add_api_route(path, self.file, methods=["GET"], include_in_schema=False)
        server.add_api_route(f"{NETWORKS}/thumb", self.thumb, methods=["GET"], response_class=Response, tags=["models"])
        server.add_api_route(f"{NETWORKS}/cover-images", self.cover, methods=["GET"], response_class=Response, tags=["models"])
        server.add_api_route(f"{NETWORKS}/metadata", self.metadata, methods=["GET"], tags=["models"])
        server.add_api_route(f"{NETWORKS}/get-single-card", self.card, methods=["GET"], tags=["models"])

    def app_id(self) -> AppId:
        """By which a page sees that the program was started anew."""
        return AppId(app_id=self._id)

    def file(self, path: str) -> Response:
        """A picture in outputs/ by its path. New programs ask for /pictures/{id}, which tells nothing of folders."""
        return _picture_inside(path, (self._app.paths.outputs,), base=self._app.paths.data)

    def thumb(self, filename: str = "") -> Response:
        """A picture that lies beside a model."""
        paths = self._app.paths
        roots = (*paths.checkpoints, *paths.loras, *paths.embeddings, *paths.hypernetworks)
        return _picture_inside(filename, roots, base=paths.data)

    def cover(self, page: str = "", item: str = "", index: int = 0) -> Response:
        """A picture that a model's trainer has put into the file, as PNG."""
        picture = self._app.cover_picture(self._file(page, item), index)
        return Response(encode_png(picture, {}), media_type="image/png", headers={**SAFE, "Content-Disposition": "inline"})

    def metadata(self, page: str = "", item: str = "") -> dict[str, Any]:
        """What a model's trainer wrote into it, as JSON text; nothing for models without."""
        found = self._metadata(page, item)
        return {"metadata": json.dumps(found, indent=4, ensure_ascii=False)} if found else {}

    def card(self, page: str = "", tabname: str = "", name: str = "") -> dict[str, Any]:
        """A model's card; nothing for a model that is not there."""
        if name not in self._names(page):
            return {}
        shown = html.escape(name)
        return {"html": f'<div class="card" data-name="{shown}"><div class="actions"><span class="name">{shown}</span></div></div>'}

    def _metadata(self, page: str, item: str) -> dict[str, str]:
        model = self._model(page, item)
        return dict(model.identity.metadata) if model else {}

    def _file(self, page: str, item: str) -> Path:
        if model := self._model(page, item):
            return Path(model.path)
        raise NotFound(f"There is no model {item[:80]!r} in {page[:40]!r}.")

    def _model(self, page: str, item: str) -> Any:
        """A checkpoint or a LoRA: the models whose files say something of themselves."""
        catalog = self._app.catalog
        if page.lower() == "lora":
            return next((one for one in catalog.loras() if one.stem == item), None)
        if page.lower() == "checkpoints":
            return next((one for one in catalog.checkpoints() if item in (one.stem, one.name)), None)
        return None

    def _names(self, page: str) -> list[str]:
        catalog = self._app.catalog
        match page.lower().replace("_", " "):
            case "lora":
                return [one.stem for one in catalog.loras()]
            case "checkpoints":
                return [one.stem for one in catalog.checkpoints()]
            case "textual inversion":
                return [one.word for one in catalog.embeddings()]
            case "hypernetworks":
                return [one.stem for one in catalog.hypernetworks()]
        return []


def login_check() -> None:
    """Null for who may be here; the gate has turned the others away."""


def user(request: Request) -> str | None:
    """The name of who asks, where there are users."""
    given = read_basic(request.headers.get("authorization"))
    return given[0] if given else None


def redoc(request: Request) -> RedirectResponse:
    """The documentation is at /docs."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


def _picture_inside(path: str, roots: tuple[Path, ...], *, base: Path) -> Response:
    """The picture at a path, when it really lies in one of the folders: all links are followed before it is judged."""
    gone = NotFound("There is no such picture here.")
    if not path or len(path) > 4096 or "\x00" in path:
        raise gone
    try:
        file = (base / path).resolve(strict=True)
        real_roots = [root.resolve() for root in roots]
        kind = TYPES.get(file.suffix.lower())
        if kind is None or not file.is_file() or not any(file.is_relative_to(root) for root in real_roots):
            raise gone
        content = file.read_bytes()
    except (OSError, RuntimeError, ValueError):
        raise gone from None
    return Response(content, media_type=kind, headers={**SAFE, "Content-Disposition": "inline"})
