from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.testclient import TestClient

from webui.app import App
from webui.core.paths import PROGRAM
from webui.core.samplers import SAMPLERS, SCHEDULES

DEMO = PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors"


def test_sd_models_have_a1111s_shape_before_they_are_hashed(client: TestClient) -> None:
    items = client.get("/sdapi/v1/sd-models").json()
    assert {"title": "demo.safetensors", "model_name": "demo", "hash": None, "sha256": None, "filename": str(DEMO), "config": None} in items
    assert [item["filename"] for item in items] == [str(path) for path in sorted(DEMO.parent.glob("*.safetensors"))]


def test_sd_models_have_their_hash_once_it_is_known(client: TestClient, app: App) -> None:
    digest = hashlib.sha256(DEMO.read_bytes()).hexdigest()
    app.catalog._index.put(app.catalog.find_checkpoint("demo"), "sha256", digest)
    [item] = [item for item in client.get("/sdapi/v1/sd-models").json() if item["model_name"] == "demo"]
    assert (item["title"], item["hash"], item["sha256"]) == (f"demo.safetensors [{digest[:10]}]", digest[:10], digest)


def test_refresh_finds_new_files(client: TestClient, app: App) -> None:
    folder = app.paths.checkpoints[0]
    (folder / "anime").mkdir(parents=True)
    (folder / "anime" / "second.safetensors").symlink_to(DEMO)
    own = folder / "anime" / "third.safetensors"
    own.write_bytes(DEMO.read_bytes())
    own.with_suffix(".yaml").write_text("model:")
    assert client.post("/sdapi/v1/refresh-checkpoints").json() is None
    items = {item["title"]: item for item in client.get("/sdapi/v1/sd-models").json()}
    item = items["anime/third.safetensors"]
    assert (item["model_name"], item["filename"], item["config"]) == ("anime_third", str(own), str(own.with_suffix(".yaml")))


def test_a_server_without_vaes_lists_none(client: TestClient) -> None:
    assert client.post("/sdapi/v1/refresh-vae").json() is None
    assert client.get("/sdapi/v1/sd-vae").json() == []


def test_samplers_have_a1111s_shape(client: TestClient) -> None:
    items = client.get("/sdapi/v1/samplers").json()
    assert items[0] == {"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}}
    assert [item["name"] for item in items] == [sampler.label for sampler in SAMPLERS]


def test_schedulers_have_a1111s_shape(client: TestClient) -> None:
    items = client.get("/sdapi/v1/schedulers").json()
    assert {"name": "karras", "label": "Karras", "aliases": None, "default_rho": 7.0, "need_inner_model": False} in items
    assert [item["label"] for item in items] == [schedule.label for schedule in SCHEDULES]


def test_every_listed_sampler_and_schedule_is_accepted(client: TestClient) -> None:
    for sampler in client.get("/sdapi/v1/samplers").json():
        for schedule in client.get("/sdapi/v1/schedulers").json():
            wire = {"sampler_name": sampler["name"], "scheduler": schedule["label"], "steps": 1, "width": 64, "height": 64}
            assert client.post("/sdapi/v1/txt2img", json=wire).status_code == 200


def test_paths_that_are_not_there_are_not_made_up(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/sdapi/v1/artists").status_code == 404
