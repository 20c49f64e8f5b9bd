"""The HTTP server: puts the routes together and the gate in front of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from starlette._utils import get_route_path
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from webui import __version__
from webui.api.access import session_key
from webui.api.admin import Admin
from webui.api.admission import Admission
from webui.api.controlnet import ControlNetRoutes
from webui.api.docs import add_docs
from webui.api.errors import add_error_handlers, responses
from webui.api.extensions import ExtensionRoutes
from webui.api.extras import Extras
from webui.api.gallery import GalleryPictures
from webui.api.gate import Gate, GateRules
from webui.api.generate import Generation
from webui.api.gradio_aliases import GradioAliases, config_without_page
from webui.api.inputs import Inputs
from webui.api.installing import Installing
from webui.api.internal import Internal
from webui.api.interrogate import Interrogation
from webui.api.job_events import Readers
from webui.api.jobs import Jobs
from webui.api.json_body import StrictJsonRoute
from webui.api.localization import Localization
from webui.api.model_jobs import ModelJobs
from webui.api.model_previews import ModelPreviews
from webui.api.models import Models
from webui.api.networks import Networks
from webui.api.openai_images import OpenAiImages
from webui.api.options import Options
from webui.api.origin import HostRule, OriginRule
from webui.api.packing import PicturePacking, PlainForNeighbours
from webui.api.pictures import Pictures
from webui.api.png_info import PngInfo
from webui.api.root_aliases import RootAliases
from webui.api.scripts import Scripts
from webui.api.state import State
from webui.app import App

MAX_BODY_BYTES = 256 * 1024 * 1024
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NO_FLAGS: Mapping[str, object] = MappingProxyType({})


class Server(FastAPI):
    """A FastAPI application whose gate stays outermost, whatever middleware or mount is added later."""

    def __init__(self, rules: GateRules, **options: Any) -> None:
        super().__init__(**options)
        self._rules = rules

    def build_middleware_stack(self) -> ASGIApp:
        """The application as it is served."""
        return Gate(super().build_middleware_stack(), self._rules)


def build_server(
    app: App,
    *,
    api: bool,
    api_auth: Sequence[tuple[str, str]] = (),
    ui_auth: Sequence[tuple[str, str]] = (),
    cors_origins: Sequence[str] = (),
    cors_origin_regex: str | None = None,
    flags: Mapping[str, object] = NO_FLAGS,
    allowed_hosts: Sequence[str] = (),
    api_log: bool = False,
    max_body_bytes: int = MAX_BODY_BYTES,
    stop: Callable[[], None] | None = None,
) -> FastAPI:
    """Build the server of one App; a UI may be mounted on it at "/" afterwards.

    api: serve /sdapi.   api_auth, ui_auth: (user, password) pairs for the API and for the pages; pages' users alone protect both.
    cors_origins, cors_origin_regex: web pages of others that may use the server.   flags: the command line, for cmd-flags.
    allowed_hosts: Host headers to answer beside the loopback names; see origin.HostRule.
    stop: ends the program, for clients that may; None where they may not.   Raises StartupError.
    """
    rules = GateRules(
        hosts=HostRule(allowed_hosts),
        origins=OriginRule(cors_origins, cors_origin_regex),
        api_users=tuple(api_auth),
        page_users=tuple(ui_auth),
        log_api=api_log,
        session_key=session_key(app.paths.state / "session.key"),
    )
    server = Server(
        rules,
        title="Stable Diffusion web UI",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        max_body_size=max_body_bytes,
        responses=responses(),
    )
    server.router.route_class = StrictJsonRoute
    server.router.default = _Fallback(server.router.not_found)
    server.add_middleware(PicturePacking)
    server.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
    server.add_middleware(PlainForNeighbours)
    # Always there: without allowed origins it allows none, and gradio leaves its own permissive one out.
    server.add_middleware(
        CORSMiddleware,
        allow_origins=rules.origins.origins,
        allow_origin_regex=cors_origin_regex,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
    )
    add_error_handlers(server)
    _add_routes(server, app, api=api, flags=flags, stop=stop)
    return server


def _add_routes(server: FastAPI, app: App, *, api: bool, flags: Mapping[str, object], stop: Callable[[], None] | None) -> None:
    add_docs(server)
    Internal(app).add_routes(server)
    Localization(app).add_routes(server)
    RootAliases(app).add_routes(server)
    GradioAliases(app).add_routes(server)
    Pictures(app).add_routes(server)
    Inputs(app).add_routes(server)
    GalleryPictures(app).add_routes(server)
    ModelPreviews(app).add_routes(server)
    ExtensionRoutes(app).add_routes(server)
    if api:
        admission = Admission(app)
        Jobs(app, admission, Readers(app)).add_routes(server)
        Generation(app, admission).add_routes(server)
        Models(app).add_routes(server)
        OpenAiImages(app, admission).add_routes(server)
        Networks(app).add_routes(server)
        Interrogation(app).add_routes(server)
        Admin(app, stop).add_routes(server)
        Installing(app).add_routes(server)
        Extras(app, admission).add_routes(server)
        Options(app).add_routes(server)
        PngInfo(app).add_routes(server)
        Scripts(app).add_routes(server)
        ControlNetRoutes(app).add_routes(server)
        ModelJobs(app).add_routes(server)
        State(app, flags).add_routes(server)
        # Before a page is mounted, whose own answer to unknown paths is of another shape.
        for path in ("/sdapi/{rest:path}", "/controlnet/{rest:path}", "/api/{rest:path}", "/v1/{rest:path}"):
            server.add_api_route(path, _no_such_route, methods=list(METHODS), include_in_schema=False)


def _no_such_route(rest: str) -> None:
    raise HTTPException(404, "Not Found")


class _Fallback:
    """What no route and no mounted UI answers: the start page of a server without a UI and its description, else 404."""

    def __init__(self, not_found: ASGIApp) -> None:
        self._not_found = not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        path, root = get_route_path(scope), scope.get("root_path", "")
        if is_reading and path in ("", "/"):
            start = {"name": "Stable Diffusion web UI", "version": __version__, "docs": f"{root}/docs"}
            await JSONResponse(start)(scope, receive, send)
        elif is_reading and path == "/config":
            await JSONResponse(config_without_page(root))(scope, receive, send)
        else:
            await self._not_found(scope, receive, send)
