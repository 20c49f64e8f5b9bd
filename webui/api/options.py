"""The settings over HTTP, under A1111's option names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from webui.app import App
from webui.core.errors import WebuiError


class Options:
    """The handlers of /sdapi/v1/options."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        server.add_api_route("/sdapi/v1/options", self.read, methods=["GET"], tags=["options"])
        server.add_api_route("/sdapi/v1/options", self.change, methods=["POST"], tags=["options"])

    def read(self) -> dict[str, Any]:
        """Every setting. The checkpoint is given by its title, as in the list of models, also when none was chosen."""
        values = self._app.settings.snapshot().model_dump()
        try:
            checkpoint = self._app.catalog.find_checkpoint(values["sd_model_checkpoint"], closest=False)
        except WebuiError:
            # The chosen file is gone; what was chosen is still the truth.
            return values
        return {**values, "sd_model_checkpoint": self._app.catalog.title(checkpoint)}

    def change(self, changes: dict[str, Any]) -> None:
        """Change and store settings: all of them, or none when one is wrong."""
        store_settings(self._app, changes)


def store_settings(app: App, changes: Mapping[str, Any]) -> None:
    """Validate and store settings, with models under their own names whatever alias was given.  Raises WebuiError."""
    app.settings.change({**changes, **_model_names(app, changes)})


def _model_names(app: App, changes: Mapping[str, Any]) -> dict[str, str]:
    """The given models by file name, which stays true when a file is replaced, as a title with a hash does not."""
    names = {}
    checkpoint, vae = changes.get("sd_model_checkpoint"), changes.get("sd_vae")
    if isinstance(checkpoint, str) and checkpoint.strip():
        names["sd_model_checkpoint"] = app.catalog.find_checkpoint(checkpoint).name
    if vae == "":
        names["sd_vae"] = "Automatic"
    elif isinstance(vae, str) and vae not in ("Automatic", "None"):
        found = app.catalog.find_vae(vae, app.catalog.find_checkpoint(names.get("sd_model_checkpoint", "")))
        names["sd_vae"] = found.name if found else vae
    return names
