"""What extensions serve: the files that the page loads of them, and routes of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from webui.api.json_body import StrictJsonRoute
from webui.app import App
from webui.core.errors import ExtensionFailed, NotFound, WebuiError

log = logging.getLogger(__name__)

FILES, ROUTES = "/extension-files", "/extension-api"
# Where in an extension's folder the page's files are; and its style.css.
FOLDERS = ("javascript", "localizations", "static")
STYLE = "style.css"
MAX_BYTES = 32 * 1024 * 1024
TYPES: Mapping[str, str] = MappingProxyType({
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
})  # fmt: skip

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ExtensionRoutes:
    """The handlers of /extension-files, and the routers of /extension-api."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the files under their paths, and each extension's routes below its own. One that fails at it has none, and is logged."""
        server.add_api_route(FILES + "/{extension}/{path:path}", self.file, methods=["GET"], include_in_schema=False)
        for extension in self._app.host.extensions():
            if "register_routes" not in extension.hooks:
                continue
            if set(extension.name) & set("{}"):
                log.error("Extension '%s' cannot have routes under that name. Rename its folder without braces.", extension.name)
                continue
            router = APIRouter(route_class=_route_class(extension.name))
            try:
                self._app.host.add_routes(extension.name, router, self._app)
            except WebuiError as error:
                log.error("%s Its routes are left out.", error)
                continue
            server.include_router(router, prefix=f"{ROUTES}/{extension.name}", tags=[f"extension {extension.name}"])

    def file(self, extension: str, path: str) -> Response:
        """A file that the page loads of an enabled extension.  404 for any other."""
        found = next((one for one in self._app.host.assets() if one.extension == extension), None)
        file = found and _file(found.folder, path)
        if not file:
            raise NotFound("There is no such file of an extension.")
        return Response(
            file.read_bytes(),
            media_type=TYPES[file.suffix.lower()],
            headers={"Cache-Control": "no-cache"},
        )


def _file(folder: Path, path: str) -> Path | None:
    """The file below one of FOLDERS that a path means, if it is one that may be served."""
    parts = PurePosixPath(path).parts
    is_hidden = any(part.startswith(".") or "\\" in part or "\x00" in part or ":" in part for part in parts)
    if is_hidden or not parts or path.startswith("/") or not (path == STYLE or (parts[0] in FOLDERS and len(parts) > 1)):
        return None
    file = folder.joinpath(*parts)
    if file.suffix.lower() not in TYPES or not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        return None
    return file if file.stat().st_size <= MAX_BYTES else None


def _route_class(extension: str) -> type[StrictJsonRoute]:
    """Routes whose own failures are answered with the extension's name."""

    class ExtensionRoute(StrictJsonRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def named(request: Request) -> Response:
                try:
                    return await handle(request)
                except (HTTPException, RequestValidationError, WebuiError):
                    raise
                except Exception as error:
                    log.exception("Extension '%s' failed in its route %s", extension, self.path)
                    raise ExtensionFailed(
                        f"Extension '{extension}' failed in its route {self.path}: {type(error).__name__}: {error}"
                    ) from error

            return named

    return ExtensionRoute
