"""Pictures in words."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from webui.api.picture_urls import fetch_picture
from webui.app import App
from webui.core.images import decode_base64_image


class InterrogateRequest(BaseModel):
    """image: base64 of a picture file.   model: "clip" for a sentence; "deepdanbooru", or a tagger's name, for tags."""

    model_config = ConfigDict(extra="ignore")

    image: str | None = ""
    model: str = "clip"


class InterrogateResponse(BaseModel):
    """The picture in words."""

    caption: str


class Interrogation:
    """The handler."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handler under A1111's path."""
        server.add_api_route("/sdapi/v1/interrogate", self.interrogate, methods=["POST"], tags=["pictures"])

    def interrogate(self, wire: InterrogateRequest) -> InterrogateResponse:
        """What is on a picture."""
        if not wire.image or len(wire.image) < 64:
            raise HTTPException(404, "Image not found")
        image = decode_base64_image(fetch_picture(wire.image, self._app.settings.snapshot()))
        return InterrogateResponse(caption=self._app.interrogate(image, wire.model))
