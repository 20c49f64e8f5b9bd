"""Pictures and masks that jobs start from, by the hash of their content, for the editors of the pages."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import Response

from webui.app import App


class Inputs:
    """The handler of /inputs. A hash is that of the content, so only who has or was told of a picture can ask for it."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handler under its path."""
        server.add_api_route("/inputs/{name}", self.read, methods=["GET"], response_class=Response, tags=["pictures"])
        server.add_api_route("/inputs/{name}", self.read, methods=["HEAD"], include_in_schema=False)

    def read(self, name: str) -> Response:
        """The PNG of a stored picture or mask, without texts. What a hash names never changes, so browsers may keep it."""
        headers = {
            "Content-Disposition": f'inline; filename="{name[:64]}.png"',
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
        }
        return Response(self._app.queue.inputs.read(name), media_type="image/png", headers=headers)
