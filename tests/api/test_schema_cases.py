"""A few of the cases that schemathesis makes of our OpenAPI file; `python -m tests.api.schema_cases 5000` asks them all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from tests.api.schema_cases import Cases, serve


@pytest.mark.slow
def test_no_case_of_the_openapi_file_is_a_server_error_or_breaks_the_schema(tmp_path: Path) -> None:
    app, server = serve(tmp_path)
    with closing(app):
        cases = Cases(server)
        cases.ask(4, seed=7)
    assert cases.asked > 150
    assert not cases.wrong, "\n".join(cases.wrong.values())


def test_the_cases_see_a_server_error_and_an_answer_of_another_shape() -> None:
    server = FastAPI()

    @server.get("/fails")
    def fails() -> JSONResponse:
        return JSONResponse({}, status_code=500)

    @server.get("/shape", response_model=list[int])
    def shape() -> JSONResponse:
        return JSONResponse({"a": 1})

    cases = Cases(server)
    cases.ask(2)
    assert len(cases.wrong) == 2
