"""The one gate in front of every route, page, mount and socket. What it does not let in never reaches them.

In this order: header sizes, Host, Origin, passwords, content type. The limit on the body's size is the server's own
(`max_body_size`), because it must count while the body is read.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from webui.api.access import KEY_BYTES, FailedLogins, Sessions, Users, is_user, key_for_users, read_basic, read_bearer
from webui.api.errors import error_response, in_shape_of
from webui.api.login import login_page, read_login, welcome
from webui.api.origin import HostRule, OriginRule

log = logging.getLogger(__name__)

MAX_HEADERS = 200
MAX_HEADER_BYTES = 64 * 1024
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# What gradio would serve and we never use: fetching URLs for whoever asks, and its tools for developers.
CLOSED = re.compile(r"/gradio_api/(proxy=|dev/|vibe|undo-vibe|file[=/]+[a-z][a-z0-9+.-]+:)", re.IGNORECASE)
# The only paths of the API that take a form, because OpenAI's clients send pictures as files there.
FORMS = ("/v1/images/edits",)
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Area(Enum):
    """Parts of the server by who may enter them."""

    OPEN = "everybody"
    API = "users of the API"
    SHARED = "users of the API, and those who may see the pages"
    PAGES = "users of the pages"


@dataclass(frozen=True)
class GateRules:
    """What the gate demands.

    api_users: for the API.   page_users: for the pages; without API users of its own they also protect the API.
    log_api: write one line for each API request.   session_key: signs the cookies of pages.
    """

    hosts: HostRule = field(default_factory=HostRule)
    origins: OriginRule = field(default_factory=OriginRule)
    api_users: Users = ()
    page_users: Users = ()
    log_api: bool = False
    session_key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)


def area_of(path: str) -> Area:
    """Whom a path is for. Whatever is not named here is a page.

    path: as starlette's own get_route_path gives it; judged in another way than the router does, it would be a hole.
    """
    if path == "/internal/ping":
        return Area.OPEN
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    if first in ("sdapi", "controlnet", "api", "v1", "docs", "redoc", "openapi.json"):
        return Area.API
    shared = first in (
        "pictures", "inputs", "gallery", "model-preview", "internal", "sd_extra_networks", "app_id", "login_check", "user", "token",
        "queue", "extension-files", "extension-api",
    )  # fmt: skip
    return Area.SHARED if shared or first == "file" or first.startswith("file=") else Area.PAGES


class Gate:
    """ASGI middleware; wraps everything else."""

    def __init__(self, app: ASGIApp, rules: GateRules) -> None:
        self._app = app
        self._rules = rules
        self._sessions = Sessions(key_for_users(rules.session_key, rules.page_users, rules.api_users))
        self._failures = FailedLogins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with the reason why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        path = get_route_path(scope)
        area = area_of(path)
        answer = _Answer(scope, send, cookie=self._visit_cookie(connection, area))
        refusal = self._check_source(connection) or await self._check_access(connection, area, receive) or _check_content(connection, area)
        try:
            if refusal is None:
                await self._app(scope, receive, answer.send)
            elif scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
                await WebSocketClose(code=1008)(scope, receive, answer.send)
            else:
                shaped = in_shape_of(path, refusal) if isinstance(refusal, JSONResponse) else refusal
                await shaped(scope, receive, answer.send)
        finally:
            if self._rules.log_api and area is Area.API:
                log.info("%s", answer.log_line())

    def _check_source(self, connection: HTTPConnection) -> Response | None:
        raw = connection.scope["headers"]
        if len(raw) > MAX_HEADERS or sum(len(name) + len(value) for name, value in raw) > MAX_HEADER_BYTES:
            return error_response(431, "HeadersRefused", f"Send at most {MAX_HEADERS} headers, of {MAX_HEADER_BYTES} bytes together.")
        if reason := self._rules.hosts.refusal(connection.headers):
            return error_response(421, "HostRefused", reason)
        changes_state = connection.scope["type"] == "websocket" or connection.scope["method"] not in SAFE_METHODS
        if reason := self._rules.origins.refusal(connection.headers, changes_state=changes_state):
            return error_response(403, "OriginRefused", reason)
        return None

    async def _check_access(self, connection: HTTPConnection, area: Area, receive: Receive) -> Response | None:
        users = self._users_of(area)
        if not users or _is_preflight(connection):
            return None
        takes_sessions = area is not Area.API or not self._rules.api_users
        if takes_sessions and self._sessions.holds(connection.cookies.get(_cookie_name(connection))):
            return None
        if area is Area.PAGES:
            return await self._log_in(connection, receive)
        return self._check_basic(connection, users)

    def _users_of(self, area: Area) -> Users:
        if area is Area.OPEN:
            return ()
        return self._rules.page_users if area is Area.PAGES else self._rules.api_users or self._rules.page_users

    def _check_basic(self, connection: HTTPConnection, users: Users) -> Response | None:
        challenge = {"WWW-Authenticate": 'Basic realm="webui", charset="UTF-8"'}
        header = connection.headers.get("authorization")
        given = read_basic(header) or read_bearer(header)
        if given is None:
            return error_response(401, "HTTPException", "Not authenticated", challenge)
        if limited := self._limited(connection, given[0]):
            return limited
        if is_user(users, *given):
            return None
        self._failures.note(_client(connection), given[0])
        return error_response(401, "HTTPException", "Incorrect username or password", challenge)

    async def _log_in(self, connection: HTTPConnection, receive: Receive) -> Response:
        root_path = connection.scope.get("root_path", "")
        is_page = "text/html" in connection.headers.get("accept", "")
        if connection.scope.get("method") != "POST" or get_route_path(connection.scope) != "/login":
            return login_page(root_path) if is_page else error_response(401, "HTTPException", "Not authenticated")
        given = await read_login(Request(connection.scope, receive))
        if given and (limited := self._limited(connection, given[0])):
            return limited
        if given and is_user(self._rules.page_users, *given):
            answer = welcome(root_path, page=is_page)
            answer.headers["Set-Cookie"] = self._cookie(connection)
            return answer
        self._failures.note(_client(connection), given[0] if given else "")
        reason = "Incorrect username or password."
        return login_page(root_path, reason) if is_page else error_response(401, "HTTPException", reason)

    def _limited(self, connection: HTTPConnection, user: str) -> Response | None:
        wait = self._failures.wait(_client(connection), user)
        if not wait:
            return None
        return error_response(429, "TooManyLogins", f"Too many wrong passwords; try again in {wait} seconds.", {"Retry-After": str(wait)})

    def _visit_cookie(self, connection: HTTPConnection, area: Area) -> str | None:
        """Where pages need no password but the API does, a page's visitor gets a cookie, so that its pictures load."""
        if area is not Area.PAGES or self._rules.page_users or not self._rules.api_users:
            return None
        return self._cookie(connection)

    def _cookie(self, connection: HTTPConnection) -> str:
        secure = "; Secure" if connection.scope["scheme"] in ("https", "wss") else ""
        token = self._sessions.issue()
        path = connection.scope.get("root_path", "") or "/"
        return f"{_cookie_name(connection)}={token}; Path={path}; Max-Age={self._sessions.seconds}; HttpOnly; SameSite=Strict{secure}"


class _Answer:
    """What goes back: adds the headers every response has, and remembers what the log line needs."""

    def __init__(self, scope: Scope, send: Send, *, cookie: str | None) -> None:
        self._scope = scope
        self._send = send
        self._cookie = cookie
        self._started = time.perf_counter()
        self._status = 0

    async def send(self, message: Message) -> None:
        """Pass a message on to the client."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Process-Time"] = f"{time.perf_counter() - self._started:.4f}"
            if self._cookie and headers.get("content-type", "").startswith("text/html"):
                headers.append("Set-Cookie", self._cookie)
        await self._send(message)

    def log_line(self) -> str:
        """Status, protocol, path, method, client and seconds; nothing in it can forge another line."""
        scope = self._scope
        method = scope.get("method", "WEBSOCKET")
        client = (scope.get("client") or ("-",))[0]
        seconds = time.perf_counter() - self._started
        line = f"API {self._status} HTTP/{scope.get('http_version', '')} {scope['path']} {method} {client} {seconds:.4f}"
        return "".join(character if character.isprintable() else "?" for character in line)[:500]


def _check_content(connection: HTTPConnection, area: Area) -> Response | None:
    """The API reads JSON only: the other types are those that a page of another site can post without asking first."""
    if CLOSED.match(get_route_path(connection.scope)):
        return error_response(404, "HTTPException", "Not Found")
    if area is not Area.API or connection.scope["type"] != "http" or connection.scope["method"] in SAFE_METHODS:
        return None
    headers = connection.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return None
    if kind == "multipart/form-data" and get_route_path(connection.scope) in FORMS:
        return None
    message = f"Got a body of type {kind[:100]!r}; send JSON, with the header Content-Type: application/json."
    return error_response(415, "HTTPException", message)


def _is_preflight(connection: HTTPConnection) -> bool:
    """Whether a browser asks which requests it may send; it does so without passwords, and no route answers it."""
    is_options = connection.scope["type"] == "http" and connection.scope["method"] == "OPTIONS"
    return is_options and "origin" in connection.headers and "access-control-request-method" in connection.headers


def _client(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _cookie_name(connection: HTTPConnection) -> str:
    """Browsers share cookies between ports of a host; the port in the name keeps two servers' sessions apart."""
    port = re.search(r":(\d{1,5})$", connection.headers.get("host", ""))
    return f"webui-session-{port[1] if port else ''}"
