"""The settings over HTTP, under A1111's option names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.parameters import parameters_of
from webui.core.settings import Settings

GUARDED: Mapping[str, str] = {"Limits": "limit", "Extensions": "choice of extensions"}


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
        values |= values.pop("extension_settings")
        try:
            checkpoint = self._app.catalog.find_checkpoint(values["sd_model_checkpoint"], closest=False)
        except WebuiError:
            # The chosen file is gone; what was chosen is still the truth.
            return values
        return {**values, "sd_model_checkpoint": self._app.catalog.title(checkpoint)}

    def change(self, changes: dict[str, Any]) -> None:
        """Change and store settings: all of them, or none when one is wrong.

        The limits of the API are not the API's to change, nor which extensions run.
        Sent as they are, they pass: clients send back all that they have read.
        """
        current = self._app.settings.snapshot()
        for name, declared in parameters_of(Settings).items():
            what = GUARDED.get(declared.section)
            if what and name in changes and _plain(changes[name]) != _plain(getattr(current, name)):
                raise InvalidRequest(f"{name}: this {what} cannot be changed over the API; change it on the page or in config.json.")
        store_settings(self._app, changes)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def store_settings(app: App, changes: Mapping[str, Any]) -> None:
    """Validate and store settings, with models under their own names whatever alias was given.  Raises WebuiError."""
    app.change_settings(changes)
