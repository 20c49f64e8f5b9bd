from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from webui.app import App
from webui.core.paths import Paths


@pytest.fixture
def name(app: App) -> str:
    return app.queue.inputs.add(Image.new("RGB", (3, 2), "teal"))


def test_a_stored_picture_is_served_as_the_png_it_is(client: TestClient, app: App, name: str) -> None:
    response = client.get(f"/inputs/{name}")
    assert response.status_code == 200
    assert response.content == app.queue.inputs.read(name)
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-disposition"] == f'inline; filename="{name}.png"'
    assert headers["cache-control"] == "private, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'self'"


def test_head_tells_the_size_without_the_picture(client: TestClient, name: str) -> None:
    response = client.head(f"/inputs/{name}")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 60


@pytest.mark.parametrize(
    "asked",
    [
        "0" * 64,
        "x",
        "",
        "A" * 64,
        "..%2fqueue.sqlite",
        "../queue.sqlite",
        "%2e%2e%2fqueue.sqlite",
        "%00" * 64,
        "0" * 63,
        "0" * 65,
        "a" * 5000,
    ],
)
def test_whatever_is_no_stored_hash_is_not_found(client: TestClient, name: str, asked: str) -> None:
    assert client.get(f"/inputs/{asked}").status_code == 404


@pytest.mark.parametrize("change", [str.upper, "{}.png".format, "{}%0a".format, "{}/".format, " {}".format])
def test_a_hash_is_taken_only_as_it_is(client: TestClient, name: str, change: object) -> None:
    assert callable(change)
    assert client.get(f"/inputs/{change(name)}", follow_redirects=False).status_code != 200


def test_a_link_among_the_stored_pictures_is_not_followed(client: TestClient, paths: Paths, name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    [stored] = paths.state.rglob(f"{name}.png")
    stored.unlink()
    stored.symlink_to(secret)
    assert client.get(f"/inputs/{name}").status_code == 404


def test_stored_pictures_need_the_password_that_pictures_need(serve: object, app: App, name: str) -> None:
    assert callable(serve)
    client = serve(ui_auth=[("ann", "secret")])
    assert client.get(f"/inputs/{name}").status_code == 401
    assert client.get(f"/inputs/{name}", auth=("ann", "secret")).status_code == 200
