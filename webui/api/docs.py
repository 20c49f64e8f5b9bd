"""The page that shows and tries the API, without fetching anything from the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from webui.core.errors import NotFound

# Swagger UI's files, as the package fastapi-swagger carries them.
ASSETS: Mapping[str, str] = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}

# Swagger UI's page has one inline script, and styles and images of its own making.
POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"


def add_docs(server: FastAPI) -> None:
    """Serve /docs and what it needs."""
    server.add_api_route("/docs", _page, methods=["GET"], include_in_schema=False)
    server.add_api_route("/docs/{name}", _asset, methods=["GET"], include_in_schema=False)


def _page(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=request.app.title,
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon-32x32.png",
    )
    page.headers["Content-Security-Policy"] = POLICY
    return page


def _asset(name: str) -> Response:
    if name not in ASSETS:
        raise NotFound(f"There is no {name!r} here.")
    content = (files("fastapi_swagger.resources") / name).read_bytes()
    return Response(content, media_type=ASSETS[name], headers={"Cache-Control": "private, max-age=86400"})
