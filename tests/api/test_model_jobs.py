"""Merging, converting and downloading over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from starlette.testclient import TestClient

from tests.catalog.model_files import LORA, SD1, write_model
from tests.jobs.file_server import serving
from tests.jobs.stand_ins import wait_until
from tests.merging_engine import MergingEngine
from webui.api.server import build_server
from webui.app import App
from webui.core.events import Finished, Progress
from webui.core.paths import Paths

ADDRESS = "http://127.0.0.1:7860"


@pytest.fixture
def engine() -> MergingEngine:
    return MergingEngine()


@pytest.fixture
def models(paths: Paths) -> Path:
    for name, fill in (("one", b"\x3c"), ("two", b"\x40")):
        write_model(paths.checkpoints[0] / f"{name}.safetensors", SD1, fill=fill)
    return paths.checkpoints[0]


@pytest.fixture
def ready(models: Path, client: TestClient, app: App) -> TestClient:
    app.catalog.refresh()
    return client


def test_a_merge_is_queued_and_done(ready: TestClient, app: App, models: Path) -> None:
    answer = ready.post("/api/v1/models/merge", json={"primary": "one", "secondary": "two", "multiplier": 0.5, "custom_name": "both"})
    assert answer.status_code == 201
    assert answer.json()["result"] == "both.safetensors"
    assert isinstance(app.queue.job(answer.json()["id"]).wait(20), Finished)
    assert (models / "both.safetensors").is_file()
    listed = ready.get("/sdapi/v1/sd-models").json()
    assert "both" in {one["model_name"] for one in listed}


def test_a_conversion_takes_one_model(ready: TestClient, app: App, models: Path) -> None:
    answer = ready.post("/api/v1/models/convert", json={"primary": "one", "precision": "bfloat16", "custom_name": "brain"})
    assert isinstance(app.queue.job(answer.json()["id"]).wait(20), Finished)
    assert {str(tensor.dtype) for tensor in load_file(models / "brain.safetensors").values()} == {"torch.bfloat16"}


@pytest.mark.parametrize(("path", "body", "words"), [
    ("merge", {"primary": "one"}, "needs model B"), ("merge", {"primary": "one", "secondary": "no"}, "Unknown checkpoint 'no'"),
    ("merge", {"primary": "one", "secondary": "two", "custom_name": "../x"}, "custom_name"),
    ("merge", {"primary": "one", "secondary": "two", "result": "x"}, "settled by the program"),
    ("merge", {"primary": "one", "secondary": "two", "kind": "extras"}, "settled by the program"),
    ("merge", {"primary": ["one"]}, "primary: got"), ("merge", {"colour": 1}, "colour"),
    ("convert", {"primary": "one", "method": "Weighted sum"}, "interpolates nothing"),
    ("download", {"source": "https://huggingface.co/x.safetensors"}, "turned off"), ("download", {"url": "x"}, "settled by the program"),
])  # fmt: skip
def test_what_cannot_be_is_answered_with_400(ready: TestClient, path: str, body: dict[str, Any], words: str) -> None:
    answer = ready.post(f"/api/v1/models/{path}", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


@pytest.fixture
def downloading(paths: Paths) -> Iterator[tuple[TestClient, App, str]]:
    with serving(write_model(paths.data / "made.safetensors", LORA).read_bytes()) as served:
        settings = {"model_download_enable": True, "model_download_hosts": "models.example"}
        app = App(paths, engine=MergingEngine(), hashing=False, web=served.web, command_line_settings=settings)
        app.start()
        yield TestClient(build_server(app, api=True), base_url=ADDRESS), app, served.address
        app.close()


def test_a_download_is_queued_and_done(downloading: tuple[TestClient, App, str], paths: Paths) -> None:
    client, app, address = downloading
    answer = client.post("/api/v1/models/download", json={"source": f"{address}/cat.safetensors", "model_kind": "LoRA"})
    assert answer.json()["result"] == "cat.safetensors"
    assert isinstance(app.queue.job(answer.json()["id"]).wait(20), Finished)
    assert (paths.loras[0] / "cat.safetensors").is_file()


def test_an_interrupt_of_pictures_leaves_downloads_alone(paths: Paths) -> None:
    with serving(write_model(paths.data / "made.safetensors", LORA).read_bytes()) as served:
        served.waits_after = 10
        settings = {"model_download_enable": True, "model_download_hosts": "models.example"}
        app = App(paths, engine=MergingEngine(), hashing=False, web=served.web, command_line_settings=settings)
        app.start()
        client = TestClient(build_server(app, api=True), base_url=ADDRESS)
        wish = {"source": f"{served.address}/cat.safetensors", "model_kind": "LoRA"}
        job = app.queue.job(client.post("/api/v1/models/download", json=wish).json()["id"])
        wait_until(lambda: job.log.latest(Progress) is not None)
        assert client.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
        client.post("/sdapi/v1/interrupt")
        named = client.get("/sdapi/v1/progress", params={"id_task": job.id}).json()
        assert named["state"]["job"] == "download"
        served.gate.set()
        assert isinstance(job.wait(20), Finished)
        app.close()


def test_another_web_page_cannot_start_one(ready: TestClient) -> None:
    answer = ready.post("/api/v1/models/merge", json={}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_who_has_no_password_cannot_start_one(serve: Callable[..., TestClient]) -> None:
    client = serve(api_auth=[("me", "word")])
    for name in ("merge", "convert", "download"):
        assert client.post(f"/api/v1/models/{name}", json={}).status_code == 401
