"""How the machine and the program are: memory, flags, and whether anybody answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from webui.api.schemas import MemoryResponse
from webui.api.translate import redact
from webui.app import App


class State:
    """The handlers that tell how things are."""

    def __init__(self, app: App, flags: Mapping[str, object]) -> None:
        self._app = app
        # Redacted once, here: the secrets are not even kept where an answer could reach them.
        self._flags = redact(flags)

    def add_routes(self, server: FastAPI) -> None:
        """Put the API's handlers under A1111's paths."""
        server.add_api_route("/sdapi/v1/memory", self.memory, methods=["GET"], tags=["state"])
        server.add_api_route("/sdapi/v1/cmd-flags", self.flags, methods=["GET"], tags=["state"])

    def memory(self) -> MemoryResponse:
        """Memory of the machine and of the device."""
        use = self._app.engine.memory()
        ram = {"free": use.ram_free, "used": use.ram_used, "total": use.ram_total}
        if use.device_total is None:
            return MemoryResponse(ram=ram, cuda={"error": "unavailable"})
        return MemoryResponse(ram=ram, cuda={"system": {"free": use.device_free, "used": use.device_used, "total": use.device_total}})

    def flags(self) -> dict[str, Any]:
        """The command line's flags, without secrets."""
        return self._flags
