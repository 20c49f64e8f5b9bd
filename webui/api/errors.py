"""Errors on the wire: every exception becomes A1111's error body, and a status that fits."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException

from webui.core.errors import WebuiError
from webui.core.events import Failed

log = logging.getLogger(__name__)

STATUS: Mapping[str, int] = {
    "InvalidRequest": 400,
    "UnknownName": 400,
    "ModelError": 400,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "QueueFull": 429,
    "Closing": 503,
}
SECONDS_TO_RETRY: Mapping[int, str] = {429: "5", 503: "5"}
OPENAI_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
# The name by which A1111's clients recognise this failure.
WIRE_NAMES: Mapping[str, str] = {"OutOfMemory": "OutOfMemoryError"}


class ErrorBody(BaseModel):
    """A1111's error body.  error: the error's class name.   detail, errors: what is wrong and what to do.   body: always empty."""

    error: str
    detail: str
    body: str
    errors: str


class Breach(BaseModel):
    """One value that is of another type or out of its range.  loc: where it stands."""

    loc: list[str | int]
    msg: str
    type: str


class ValidationBody(BaseModel):
    """Values of another type, in FastAPI's shape."""

    detail: list[Breach]


class Refusal(WebuiError):
    """A request that one tongue refuses in its own words.  code, param: OpenAI's names for what is wrong, and where."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


def openai_error(
    status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None, *, param: str | None = None
) -> JSONResponse:
    """OpenAI's error body."""
    kind = OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))


def in_shape_of(path: str, answer: JSONResponse) -> JSONResponse:
    """An error in the shape that clients of this path know."""
    if not path.startswith("/v1/"):
        return answer
    content = json.loads(bytes(answer.body))
    if "errors" not in content:
        return answer
    kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return openai_error(answer.status_code, content["error"], content["errors"], kept)


class OpenAiErrorDetail(BaseModel):
    """What is wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiErrorBody(BaseModel):
    """OpenAI's error body."""

    error: OpenAiErrorDetail


def responses(*, openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """What any route may answer beside its own, for the OpenAPI file.  openai: of the routes in OpenAI's shape."""
    refused = OpenAiErrorBody if openai else ValidationBody | ErrorBody
    return {
        "4XX": {"model": refused, "description": "Refused; the message says what was received, the rule and the way out."},
        "5XX": {"model": OpenAiErrorBody if openai else ErrorBody, "description": "The job failed, or the program is closing."},
    }


def error_response(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A1111's error body.  name: the exception's class name.   message: for the user."""
    body = {"error": name, "detail": message, "body": "", "errors": message}
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))


def failure_response(failed: Failed) -> JSONResponse:
    """The answer to a request whose job failed."""
    return error_response(STATUS.get(failed.kind, 500), WIRE_NAMES.get(failed.kind, failed.kind), failed.message)


def add_error_handlers(server: FastAPI) -> None:
    """Register one handler for each kind of exception."""
    server.add_exception_handler(WebuiError, _webui_error)
    server.add_exception_handler(HTTPException, _http_exception)
    server.add_exception_handler(RequestValidationError, _validation_error)
    server.add_exception_handler(Exception, _unexpected_error)


async def _webui_error(request: Request, error: Exception) -> JSONResponse:
    path = get_route_path(request.scope)
    if isinstance(error, Refusal):
        return openai_error(error.status, error.code, str(error), param=error.param)
    names = [cls.__name__ for cls in type(error).__mro__]
    status = next((STATUS[name] for name in names if name in STATUS), 500)
    again = {"Retry-After": SECONDS_TO_RETRY[status]} if status in SECONDS_TO_RETRY else {}
    return in_shape_of(path, error_response(status, WIRE_NAMES.get(names[0], names[0]), str(error), again))


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = error_response(error.status_code, "HTTPException", str(error.detail), error.headers)
    return in_shape_of(get_route_path(request.scope), answer)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own shape, without the received values: they may be huge, secret or not JSON."""
    assert isinstance(error, RequestValidationError)
    if get_route_path(request.scope).startswith("/v1/"):
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        return openai_error(400, first["type"], f"{param}: {first['msg']}.", param=param or None)
    breaches = [{"loc": list(breach["loc"]), "msg": breach["msg"], "type": breach["type"]} for breach in error.errors()]
    return JSONResponse({"detail": breaches}, status_code=422)


async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
    """The message stays in the log: of an unforeseen error nobody knows what it gives away."""
    log.error("Error in %s %s", request.method, request.url.path, exc_info=error)
    answer = error_response(500, type(error).__name__, "An unexpected error; the program's log has the details.")
    return in_shape_of(get_route_path(request.scope), answer)
