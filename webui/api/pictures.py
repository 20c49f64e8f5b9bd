"""Pictures by their unguessable ids, for the pages and for programs."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.responses import Response

from webui.app import App
from webui.core.errors import NotFound
from webui.core.result import Picture

CONTENT_TYPES: Mapping[str, str] = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif",
}  # fmt: skip


class Pictures:
    """The handler of /pictures."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handler under its path."""
        server.add_api_route("/pictures/{picture_id}", self.read, methods=["GET"], response_class=Response, tags=["pictures"])
        server.add_api_route("/pictures/{picture_id}", self.read, methods=["HEAD"], include_in_schema=False)

    def read(self, picture_id: str) -> Response:
        """The file of a picture, infotext and all. What an id names never changes, so browsers may keep it."""
        picture = self._app.outputs.picture(picture_id)
        content = read_picture(picture)
        suffix = picture.path.suffix.lower()
        headers = {
            "Content-Disposition": f'inline; filename="{picture.id}{suffix}"',
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
        }
        return Response(content, media_type=CONTENT_TYPES.get(suffix, "application/octet-stream"), headers=headers)


def read_picture(picture: Picture) -> bytes:
    """The bytes of a picture's file.  Raises NotFound when somebody has deleted it."""
    try:
        return picture.path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"The file of picture {picture.id!r} is gone.") from None
