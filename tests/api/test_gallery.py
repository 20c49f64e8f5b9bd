"""Pictures of outputs/ over HTTP, by the ids of the gallery's index."""

from __future__ import annotations

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from webui.app import App
from webui.core.gallery import PictureQuery


@pytest.fixture
def picture_id(app: App) -> str:
    app.paths.outputs.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (900, 300), "teal").save(app.paths.outputs / "a.png")
    app.gallery.refresh()
    return app.gallery.find(PictureQuery())[0][0].id


def test_a_picture_is_given_whole_and_small(client: TestClient, app: App, picture_id: str) -> None:
    whole = client.get(f"/gallery/{picture_id}")
    assert (whole.content, whole.headers["content-type"]) == ((app.paths.outputs / "a.png").read_bytes(), "image/png")
    small = client.get(f"/gallery/{picture_id}/small")
    assert Image.open(io.BytesIO(small.content)).size == (320, 107)
    assert "default-src 'none'" in small.headers["Content-Security-Policy"]


def test_unknown_ids_and_files_that_are_gone_are_not_found(client: TestClient, app: App, picture_id: str) -> None:
    for name in ("1", "a.png", "..%2Fconfig.json"):
        assert client.get(f"/gallery/{name}").status_code == 404
    (app.paths.outputs / "a.png").write_bytes(b"no picture")
    assert client.get(f"/gallery/{picture_id}/small").status_code == 404
    (app.paths.outputs / "a.png").unlink()
    assert client.get(f"/gallery/{picture_id}").status_code == 404
