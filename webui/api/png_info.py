"""What a picture says of how it was made."""

from __future__ import annotations

from fastapi import FastAPI

from webui.api.picture_urls import fetch_picture
from webui.api.schemas import PngInfoRequest, PngInfoResponse
from webui.api.translate import write_png_info
from webui.app import App
from webui.core.images import decode_base64
from webui.core.metadata import read


class PngInfo:
    """The handler of /sdapi/v1/png-info."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handler under A1111's path."""
        server.add_api_route("/sdapi/v1/png-info", self.read, methods=["POST"], response_model=PngInfoResponse, tags=["pictures"])

    def read(self, wire: PngInfoRequest) -> PngInfoResponse:
        """The infotext of a picture, its fields and the file's other texts; pixels are not decoded."""
        return write_png_info(read(decode_base64(fetch_picture(wire.image, self._app.settings.snapshot()))))
