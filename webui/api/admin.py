"""Models out of memory and back, extensions, and the end of the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

from webui.api.errors import ErrorBody, error_response
from webui.app import App

NO_RESTART = "This program was not started by something that would start it again. Stop it, and start it as before."


class ExtensionItem(BaseModel):
    """One extension.  commit_date: in Unix seconds.   version: the short commit, as A1111 has it, or what the extension says."""

    name: str
    remote: str
    branch: str
    commit_hash: str
    version: str
    commit_date: str
    enabled: bool


class Admin:
    """The handlers.  stop: ends the program in good order; None where clients may not (no --api-server-stop)."""

    def __init__(self, app: App, stop: Callable[[], None] | None) -> None:
        self._app = app
        self._stop = stop

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths; those that end the program only where they may."""
        server.add_api_route("/sdapi/v1/unload-checkpoint", self.unload, methods=["POST"], tags=["state"])
        server.add_api_route("/sdapi/v1/reload-checkpoint", self.reload, methods=["POST"], tags=["state"])
        server.add_api_route("/sdapi/v1/extensions", self.extensions, methods=["GET"], tags=["state"])
        if self._stop:
            for name in ("server-stop", "server-kill"):
                server.add_api_route(
                    f"/sdapi/v1/{name}", self.end, methods=["POST"], tags=["state"], response_class=PlainTextResponse,
                    name=name.replace("-", "_"),
                )  # fmt: skip
            answer: dict[int | str, Any] = {501: {"model": ErrorBody, "description": "Nobody would start it again."}}
            server.add_api_route("/sdapi/v1/server-restart", restart, methods=["POST"], tags=["state"], responses=answer)

    def unload(self) -> dict[str, Any]:
        """Let go of all models that no job uses just now."""
        self._app.engine.unload()
        return {}

    def reload(self) -> dict[str, Any]:
        """Bring the checkpoint of the settings into memory."""
        self._app.load_checkpoint()
        return {}

    def extensions(self) -> list[ExtensionItem]:
        """Every extension, disabled ones too."""
        return [
            ExtensionItem(
                name=one.folder,
                remote=one.source if one.kind == "git" else "",
                branch=one.branch,
                commit_hash=one.commit,
                version=one.commit[:8] or one.version,
                commit_date=str(one.commit_date or ""),
                enabled=one.enabled,
            )
            for one in self._app.installer.installed()
            if not one.removed
        ]

    def end(self) -> PlainTextResponse:
        """End the program; unfinished jobs go on at the next start."""
        if self._stop:
            self._stop()
        return PlainTextResponse("Stopping.")


def restart() -> JSONResponse:
    """Starting again, which needs somebody who does it."""
    return error_response(501, "HTTPException", NO_RESTART)
