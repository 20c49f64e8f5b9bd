"""Previews of models over HTTP: made small, found by the model's name, and nothing else is read."""

from __future__ import annotations

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.catalog.model_files import LORA, write_model
from webui.app import App


@pytest.fixture
def lora(app: App) -> str:
    path = write_model(app.paths.loras[0] / "sub" / "ink & oil.safetensors", LORA)
    Image.new("RGBA", (1000, 500), (10, 200, 30, 255)).save(path.with_suffix(".png"))
    app.catalog.refresh()
    return "sub/ink & oil.safetensors"


def test_a_preview_is_a_small_picture_that_browsers_may_keep(client: TestClient, lora: str) -> None:
    answer = client.get("/model-preview", params={"kind": "lora", "name": lora, "v": "1"})
    assert answer.status_code == 200
    image = Image.open(io.BytesIO(answer.content))
    assert image.size == (320, 160)
    assert "immutable" in answer.headers["Cache-Control"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["../../config.json", "/etc/passwd", "sub/ink & oil.png", "absent", ""])
def test_no_other_file_is_read(client: TestClient, lora: str, name: str) -> None:
    assert client.get("/model-preview", params={"kind": "lora", "name": name}).status_code == 404
    assert client.get("/model-preview", params={"kind": name, "name": lora}).status_code == 404


def test_a_damaged_preview_is_not_found(client: TestClient, app: App, lora: str) -> None:
    (app.paths.loras[0] / "sub" / "ink & oil.png").write_bytes(b"no picture")
    answer = client.get("/model-preview", params={"kind": "lora", "name": lora})
    assert answer.status_code == 404
    assert "cannot be read" in answer.text
