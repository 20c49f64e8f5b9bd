"""The extension of docs/extensions.md, taken from the page and used: with a tiny real model, over HTTP."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.engine.tiny_models import TinyModel
from tests.plugins.walkthrough import install_walkthrough
from webui.api.server import build_server
from webui.app import App
from webui.core.paths import standard_paths
from webui.engine.warmup import EngineOptions

SMALL = {"prompt": "a beach", "seed": 7, "steps": 4, "width": 64, "height": 64, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, tiny: TinyModel, models: Path) -> Iterator[TestClient]:
    paths = standard_paths(tmp_path_factory.mktemp("data"), checkpoint_dirs=(models,))
    install_walkthrough(paths.extensions)
    options = EngineOptions(device="cpu", deterministic=True)
    settings = {"sd_model_checkpoint": "tiny.safetensors"}
    with closing(App(paths, engine_options=options, hashing=False, command_line_settings=settings)) as app:
        app.start()
        assert [(extension.name, extension.error) for extension in app.host.extensions()] == [("postcard", None)]
        yield TestClient(build_server(app, api=True), base_url="http://127.0.0.1:7860")


def drawn(client: TestClient, **wishes: Any) -> Image.Image:
    answer = client.post("/sdapi/v1/txt2img", json={**SMALL, **wishes})
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))


def test_its_script_makes_postcards_in_the_colour_of_its_setting(client: TestClient) -> None:
    asked = {"alwayson_scripts": {"postcard": {"args": {"edge": 8, "place": "Oslo"}}}}
    card = drawn(client, **asked)
    assert card.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert card.text["parameters"].startswith("a beach, Oslo\n")  # type: ignore[attr-defined]
    assert "Postcard from: Oslo" in card.text["parameters"]  # type: ignore[attr-defined]
    red = drawn(client, **asked, override_settings={"postcard_colour": "red"})
    assert red.convert("RGB").getpixel((1, 1)) == (255, 0, 0)
    assert drawn(client).convert("RGB").getpixel((1, 1)) != (255, 255, 255)


def test_its_sampler_is_listed_and_converges_to_where_heun_does(client: TestClient) -> None:
    names = [sampler["name"] for sampler in client.get("/sdapi/v1/samplers").json()]
    assert "Midpoint @ postcard" in names
    many = {"steps": 40, "scheduler": "Karras", "cfg_scale": 1}
    ours = np.asarray(drawn(client, sampler_name="Heun", **many).convert("RGB")).astype(int)
    theirs = np.asarray(drawn(client, sampler_name="Midpoint @ postcard", **many).convert("RGB")).astype(int)
    euler = np.asarray(drawn(client, sampler_name="Euler", **{**many, "steps": 3}).convert("RGB")).astype(int)
    assert np.abs(ours - theirs).mean() < 2
    assert np.abs(ours - theirs).mean() < np.abs(ours - euler).mean()


def test_its_route_and_its_files_are_served(client: TestClient) -> None:
    assert client.get("/extension-api/postcard/colours").json() == {"colours": ["white", "red", "blue"], "now": "white"}
    assert "onUiLoaded" in client.get("/extension-files/postcard/javascript/postcard.js").text
    assert "#postcard_badge" in client.get("/extension-files/postcard/style.css").text
