from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from webui.core.ports import MemoryUse


def test_memory_without_an_accelerator(client: TestClient) -> None:
    assert client.get("/sdapi/v1/memory").json() == {"ram": {"free": 1, "used": 1, "total": 2}, "cuda": {"error": "unavailable"}}


def test_memory_with_an_accelerator(client: TestClient, engine: FakeEngine) -> None:
    engine.memory = lambda: MemoryUse(1, 2, 3, 4, 5, 9)  # type: ignore[method-assign]
    assert client.get("/sdapi/v1/memory").json()["cuda"]["system"] == {"free": 4, "used": 5, "total": 9}


def test_cmd_flags_are_told_without_secrets(serve: Callable[..., TestClient]) -> None:
    client = serve(flags={"api": True, "port": 7860, "api_auth": "a:b", "gradio_auth": None, "ckpt_dir": Path("/m"), "use_cpu": ["all"]})
    assert client.get("/sdapi/v1/cmd-flags").json() == {
        "api": True, "port": 7860, "api_auth": "***", "gradio_auth": None, "ckpt_dir": "/m", "use_cpu": ["all"],
    }  # fmt: skip


def test_ping_is_answered(client: TestClient) -> None:
    assert client.get("/internal/ping").json() == {}
