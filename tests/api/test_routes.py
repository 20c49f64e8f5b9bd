"""Every route that a client of A1111 may touch, by method and path (docs/api.md has what each does)."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from tests.api.wire import serving
from tests.fake_engine import FakeEngine
from webui.api.server import build_server
from webui.app import App
from webui.core.paths import Paths

GET = (
    "progress", "options", "cmd-flags", "samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-models", "sd-vae",
    "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "embeddings", "memory", "scripts", "script-info",
    "extensions", "loras",
)  # fmt: skip
POST = (
    "txt2img", "img2img", "extra-single-image", "extra-batch-images", "png-info", "interrogate", "interrupt", "skip", "options",
    "refresh-embeddings", "refresh-checkpoints", "refresh-vae", "refresh-loras", "create/embedding", "create/hypernetwork",
    "train/embedding", "train/hypernetwork", "unload-checkpoint", "reload-checkpoint",
    "server-kill", "server-restart", "server-stop",
)  # fmt: skip
BESIDE = (
    "/internal/ping", "/internal/pending-tasks", "/internal/quicksettings-hint", "/internal/profile-startup", "/internal/sysinfo",
    "/internal/sysinfo-download", "/app_id", "/login_check", "/user", "/token", "/queue/status", "/docs", "/openapi.json", "/redoc",
    "/sd_extra_networks/metadata", "/sd_extra_networks/get-single-card",
)  # fmt: skip


def routes_of(app: App, **options: object) -> set[tuple[str, str]]:
    paths = build_server(app, api=True, **options).openapi()["paths"]  # type: ignore[arg-type]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_all_41_routes_of_a1111_are_there(app: App) -> None:
    wanted = {("GET", f"/sdapi/v1/{name}") for name in GET} | {("POST", f"/sdapi/v1/{name}") for name in POST}
    assert len(wanted) == 41
    there = {route for route in routes_of(app, stop=print) if route[1].startswith("/sdapi/")}
    assert there == wanted


@pytest.mark.parametrize("name", GET)
def test_each_list_answers(client: TestClient, name: str) -> None:
    response = client.get(f"/sdapi/v1/{name}")
    assert response.status_code == 200, response.text
    assert isinstance(response.json(), list | dict)


@pytest.mark.parametrize("path", BESIDE)
def test_the_routes_beside_the_api_answer_without_it_too(serve: Callable[..., TestClient], path: str) -> None:
    assert serve(api=False).get(path).status_code == 200
    assert serve(api=False, ui_auth=[("a", "b")]).get(path).status_code == (200 if path == "/internal/ping" else 401)


@pytest.mark.parametrize("name", ["server-kill", "server-restart", "server-stop"])
def test_the_program_is_ended_only_where_clients_may(serve: Callable[..., TestClient], name: str) -> None:
    called: list[str] = []
    assert serve().post(f"/sdapi/v1/{name}").status_code == 404
    response = serve(stop=lambda: called.append(name)).post(f"/sdapi/v1/{name}")
    if name == "server-restart":
        assert (response.status_code, called) == (501, [])
    else:
        assert (response.status_code, response.text, called) == (200, "Stopping.", [name])


def test_what_cannot_be_trained_is_told_in_a_sentence(client: TestClient) -> None:
    for path in ("train/embedding", "train/hypernetwork"):
        response = client.post(f"/sdapi/v1/{path}", json={"name": "x"})
        assert response.status_code == 501
        assert "trainer" in response.json()["errors"]


def test_models_are_let_go_and_brought_back(client: TestClient, engine: FakeEngine) -> None:
    assert client.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert engine.loaded is not None
    assert engine.loaded.name == "demo.safetensors"
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert engine.loaded is None


def test_the_flags_are_told_without_secrets(serve: Callable[..., TestClient]) -> None:
    answer = serve(flags={"api_auth": "me:hunter2", "port": 1}, api_auth=[("me", "hunter2")]).get(
        "/sdapi/v1/cmd-flags", auth=("me", "hunter2")
    )
    assert answer.json()["port"] == 1
    assert "hunter2" not in answer.text


def test_sysinfo_tells_no_folders_and_carries_its_checksum(client: TestClient, paths: Paths) -> None:
    text = client.get("/internal/sysinfo").text
    assert str(paths.data) not in text
    assert len(json.loads(text)["Checksum"]) == 64


@pytest.mark.slow
def test_server_stop_ends_the_real_program(paths: Paths) -> None:
    paths.data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.api.stopping", str(paths.data)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout
        port = int(program.stdout.readline())
        for _ in range(600):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("POST", "/sdapi/v1/server-stop")
                break
            except OSError:
                time.sleep(0.1)
        assert connection.getresponse().read() == b"Stopping."
        assert program.wait(60) == 0
    finally:
        program.kill()


def test_a_server_without_the_api_has_none_of_its_routes(app: App) -> None:
    with serving(app, api=False) as address:
        port = int(address.rpartition(":")[2])
        for path in ("/sdapi/v1/options", "/api/v1/jobs", "/v1/models"):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", path)
            assert connection.getresponse().status == 404
