from __future__ import annotations

import base64
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from webui.app import App
from webui.core.request import GenerationRequest
from webui.core.result import Picture


@pytest.fixture
def picture(app: App) -> Picture:
    job = app.submit(GenerationRequest(prompt="a red apple", width=64, height=64, steps=1), save=True)
    job.wait(20)
    assert job.result
    return job.result.pictures[0]


def test_a_picture_is_served_as_the_file_it_is(client: TestClient, picture: Picture) -> None:
    response = client.get(f"/pictures/{picture.id}")
    assert response.content == picture.path.read_bytes()
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-disposition"] == f'inline; filename="{picture.id}.png"'
    assert headers["cache-control"] == "private, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in headers


def test_pictures_that_are_not_kept_are_served_too(client: TestClient, app: App) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={"steps": 1, "width": 64, "height": 64}).json()
    [job] = app.queue.jobs()
    assert job.result
    response = client.get(f"/pictures/{job.result.pictures[0].id}")
    assert response.content == base64.b64decode(answer["images"][0])


def test_head_tells_the_size_without_the_picture(client: TestClient, picture: Picture) -> None:
    response = client.head(f"/pictures/{picture.id}")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) == picture.path.stat().st_size


def test_a_picture_whose_file_is_gone_is_not_found(client: TestClient, picture: Picture) -> None:
    picture.path.unlink()
    assert client.get(f"/pictures/{picture.id}").status_code == 404


def test_a_picture_replaced_by_a_link_to_elsewhere_is_not_found(client: TestClient, picture: Picture, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    picture.path.unlink()
    picture.path.symlink_to(secret)
    assert client.get(f"/pictures/{picture.id}").status_code == 404


@pytest.mark.parametrize(
    "name", ["../config.json", "%2e%2e%2fconfig.json", "..%5cconfig.json", "%00", "C:%5cx", "x.png::$DATA", "/etc/passwd", "a" * 5000]
)
def test_only_ids_name_pictures(client: TestClient, app: App, name: str) -> None:
    app.settings.change({"eta_ddim": 0.5})
    response = client.get(f"/pictures/{name}")
    assert response.status_code == 404
    assert "eta_ddim" not in response.text
