from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from webui.app import App
from webui.core.paths import Paths

SMALL = {"steps": 2, "width": 64, "height": 64}


def test_the_queue_tells_how_long_it_is_and_how_long_it_will_take(client: TestClient, app: App) -> None:
    empty = client.get("/queue/status").json()
    assert list(empty) == [
        "msg", "rank", "queue_size", "avg_event_process_time", "avg_event_concurrent_process_time", "rank_eta", "queue_eta",
    ]  # fmt: skip
    assert (empty["msg"], empty["queue_size"], empty["avg_event_process_time"], empty["queue_eta"]) == ("estimation", 0, None, 0)
    client.post("/sdapi/v1/txt2img", json=SMALL)
    app.queue.pause()
    for _ in range(3):
        client.post("/api/v1/jobs", json={"request": SMALL})
    full = client.get("/queue/status").json()
    assert full["queue_size"] == 3
    assert full["queue_eta"] == pytest.approx(3 * full["avg_event_process_time"])
    assert full["avg_event_process_time"] > 0


def test_the_token_says_who_asks_and_gives_no_session_away(serve: Callable[..., TestClient]) -> None:
    assert serve().get("/token").json() == {"token": None, "user": None}
    guarded = serve(ui_auth=[("me", "secret")])
    assert guarded.get("/token").status_code == 401
    assert guarded.get("/token", auth=("me", "secret")).json() == {"token": None, "user": "me"}


def test_without_a_page_its_description_has_nothing_on_it(client: TestClient) -> None:
    config = client.get("/config").json()
    assert (config["components"], config["dependencies"], config["mode"]) == ([], [], "blocks")
    assert client.head("/config").status_code == 200
    assert client.post("/config").status_code == 404


def lora(paths: Paths, covers: str) -> None:
    paths.loras[0].mkdir(parents=True, exist_ok=True)
    tensors = {"lora_unet_x.lora_up.weight": np.zeros((4, 2), np.float32), "lora_unet_x.lora_down.weight": np.zeros((2, 4), np.float32)}
    save_file(tensors, paths.loras[0] / "ink.safetensors", {"ssmd_cover_images": covers})


def cover(client: TestClient, **values: Any) -> Any:
    return client.get("/sd_extra_networks/cover-images", params={"page": "lora", "item": "ink", "index": 0, **values})


def jpeg(colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_the_covers_in_a_model_file_are_served_by_their_number(client: TestClient, app: App, paths: Paths) -> None:
    lora(paths, json.dumps([jpeg("red"), jpeg("blue")]))
    app.catalog.refresh()
    answer = cover(client, index=1)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    red, _, blue = Image.open(io.BytesIO(answer.content)).convert("RGB").getpixel((3, 3))
    assert red < 50 < 200 < blue
    for wrong in ({"index": 2}, {"index": -1}, {"item": "other"}, {"item": "../ink"}, {"page": "x"}, {"page": "checkpoints"}):
        assert cover(client, **wrong).status_code == 404


@pytest.mark.parametrize("covers", ["", "{", "[1]", "{}", '["nothing"]', '["PHNjcmlwdD4="]', "[" * 5000, "null"])
def test_what_is_no_picture_is_no_cover(client: TestClient, app: App, paths: Paths, covers: str) -> None:
    lora(paths, covers)
    app.catalog.refresh()
    assert cover(client).status_code == 404
