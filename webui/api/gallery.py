"""Pictures of outputs/ by the ids that the gallery's index gives them, whole and small."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.responses import Response

from webui.app import App
from webui.core.errors import NotFound, WebuiError
from webui.core.images import small_webp

TYPES: Mapping[str, str] = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif", ".gif": "image/gif",
}  # fmt: skip
HEADERS: Mapping[str, str] = {
    "Cache-Control": "private, max-age=86400",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
}


class GalleryPictures:
    """The handlers of /gallery."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under their paths."""
        server.add_api_route("/gallery/{picture_id}", self.read, methods=["GET"], response_class=Response, tags=["pictures"])
        server.add_api_route("/gallery/{picture_id}/small", self.small, methods=["GET"], response_class=Response, tags=["pictures"])

    def read(self, picture_id: str) -> Response:
        """The file of a picture, infotext and all."""
        content, suffix = self._file(picture_id)
        return Response(content, media_type=TYPES.get(suffix, "application/octet-stream"), headers=dict(HEADERS))

    def small(self, picture_id: str) -> Response:
        """The picture made small."""
        content, _ = self._file(picture_id)
        try:
            small = small_webp(content)
        except WebuiError as error:
            raise NotFound(f"The picture cannot be read: {error}") from None
        return Response(small, media_type="image/webp", headers=dict(HEADERS))

    def _file(self, picture_id: str) -> tuple[bytes, str]:
        path = self._app.gallery.file(self._app.gallery.picture(picture_id))
        try:
            return path.read_bytes(), path.suffix.lower()
        except OSError:
            raise NotFound(f"{path.name} is not there (any more).") from None
