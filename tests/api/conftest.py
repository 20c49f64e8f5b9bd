"""A real App on an engine that draws flat pictures, and a client for its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from webui.api.server import build_server
from webui.app import App
from webui.core.paths import Paths

ADDRESS = "http://127.0.0.1:7860"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def app(paths: Paths, engine: FakeEngine) -> Iterator[App]:
    app = App(paths, engine=engine, hashing=False)
    app.start()
    yield app
    app.close()


@pytest.fixture
def serve(app: App) -> Callable[..., TestClient]:
    """Build a client of a server with these options."""

    def build(**options: Any) -> TestClient:
        return TestClient(build_server(app, **{"api": True, **options}), base_url=ADDRESS, raise_server_exceptions=False)

    return build


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()
