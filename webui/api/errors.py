"""Errors on the wire: every exception becomes A1111's error body, and a status that fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from webui.core.errors import WebuiError
from webui.core.events import Failed

log = logging.getLogger(__name__)

STATUS: Mapping[str, int] = {
    "InvalidRequest": 400,
    "UnknownName": 400,
    "ModelError": 400,
    "NotFound": 404,
    "QueueFull": 503,
    "Closing": 503,
}
# The name by which A1111's clients recognise this failure.
WIRE_NAMES: Mapping[str, str] = {"OutOfMemory": "OutOfMemoryError"}


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


async def _webui_error(_: Request, error: Exception) -> JSONResponse:
    names = [cls.__name__ for cls in type(error).__mro__]
    status = next((STATUS[name] for name in names if name in STATUS), 500)
    return error_response(status, WIRE_NAMES.get(names[0], names[0]), str(error))


async def _http_exception(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, "HTTPException", str(error.detail), error.headers)


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    """FastAPI's own shape, without the received values: they may be huge, secret or not JSON."""
    assert isinstance(error, RequestValidationError)
    breaches = [{"loc": list(breach["loc"]), "msg": breach["msg"], "type": breach["type"]} for breach in error.errors()]
    return JSONResponse({"detail": breaches}, status_code=422)


async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
    """The message stays in the log: of an unforeseen error nobody knows what it gives away."""
    log.error("Error in %s %s", request.method, request.url.path, exc_info=error)
    return error_response(500, type(error).__name__, "An unexpected error; the program's log has the details.")
