"""Small pictures of what models do, for the pages' cards."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import Response

from webui.app import App
from webui.core.errors import NotFound, WebuiError
from webui.core.images import small_webp


class ModelPreviews:
    """The handler of /model-preview. A picture is found by its model, never by a path."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handler under its path."""
        server.add_api_route("/model-preview", self.read, methods=["GET"], response_class=Response, tags=["models"])

    def read(self, kind: str, name: str, v: str = "") -> Response:
        """The picture beside a model, made small.  v: the picture's version, by which browsers may keep it."""
        preview = self._app.models.card(kind, name).preview
        if preview is None:
            raise NotFound(f"The {kind} {name!r} has no preview.")
        try:
            small = small_webp(preview.read_bytes())
        except (OSError, WebuiError) as error:
            raise NotFound(f"The preview of {name!r} cannot be read: {error}") from None
        headers = {
            "Cache-Control": "private, max-age=31536000, immutable" if v else "no-cache",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
        }
        return Response(small, media_type="image/webp", headers=headers)
