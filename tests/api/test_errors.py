from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from webui.api.errors import add_error_handlers
from webui.core.errors import InvalidRequest, ModelError, NotFound, OutOfMemory, QueueFull, UnknownName, WebuiError


def answer(error: Exception) -> tuple[int, dict[str, str], dict[str, str]]:
    server = FastAPI()
    add_error_handlers(server)

    def fail() -> None:
        raise error

    server.add_api_route("/", fail)
    response = TestClient(server, raise_server_exceptions=False).get("/")
    return response.status_code, response.json(), dict(response.headers)


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (InvalidRequest("m"), 400, "InvalidRequest"), (UnknownName("VAE", "x", []), 400, "UnknownName"), (NotFound("m"), 404, "NotFound"),
        (QueueFull("m"), 429, "QueueFull"), (ModelError("m"), 400, "ModelError"), (OutOfMemory("m"), 500, "OutOfMemoryError"),
        (WebuiError("m"), 500, "WebuiError"), (type("Own", (NotFound,), {})("m"), 404, "Own"),
    ],
)  # fmt: skip
def test_our_errors_get_their_status_and_a1111s_body(error: Exception, status: int, name: str) -> None:
    assert answer(error)[:2] == (status, {"error": name, "detail": str(error), "body": "", "errors": str(error)})


def test_http_exceptions_keep_their_headers() -> None:
    status, body, headers = answer(HTTPException(401, "No.", {"WWW-Authenticate": "Basic"}))
    assert (status, body["error"], body["detail"], headers["www-authenticate"]) == (401, "HTTPException", "No.", "Basic")


def test_an_unforeseen_error_is_told_by_kind_and_explained_in_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        status, body, _ = answer(ZeroDivisionError("/home/anna/secret"))
    assert (status, body["error"]) == (500, "ZeroDivisionError")
    assert "secret" not in str(body)
    assert "/home/anna/secret" in caplog.text
