"""The extras routes, as A1111's clients know them."""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from webui.app import App
from webui.core.images import encode_png, read_png_texts
from webui.core.ports import ExtrasWork

INFOTEXT = "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"
# As A1111's own tests send it.
PAYLOAD: dict[str, Any] = {
    "resize_mode": 0, "show_extras_results": True, "gfpgan_visibility": 0, "codeformer_visibility": 0, "codeformer_weight": 0,
    "upscaling_resize": 2, "upscaling_resize_w": 128, "upscaling_resize_h": 128, "upscaling_crop": True, "upscaler_1": "Lanczos",
    "upscaler_2": "None", "extras_upscaler_2_visibility": 0,
}  # fmt: skip


def picture(width: int = 24, height: int = 16, **texts: str) -> str:
    return base64.b64encode(encode_png(Image.new("RGB", (width, height), (9, 99, 199)), texts)).decode()


def read(encoded: str) -> tuple[Image.Image, dict[str, str]]:
    data = base64.b64decode(encoded)
    return Image.open(io.BytesIO(data)), read_png_texts(data)


def put(app: App, name: str) -> Path:
    path = app.paths.models / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"something")
    app.catalog.refresh()
    return path


def test_a_single_picture_comes_back_larger_with_its_texts(client: TestClient, app: App) -> None:
    answer = client.post("/sdapi/v1/extra-single-image", json={**PAYLOAD, "image": picture(parameters=INFOTEXT)})
    assert answer.status_code == 200
    assert answer.json()["html_info"] == "<p>Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos</p>"
    image, texts = read(answer.json()["image"])
    assert image.size == (48, 32)
    assert texts == {"parameters": INFOTEXT, "postprocessing": "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos"}
    assert not list(app.paths.outputs.rglob("*.png"))


@pytest.mark.parametrize("payload", [{}, {"model": "clip"}, {"upscaler_1": None, "upscaling_resize": None}])
def test_a_picture_alone_with_unknown_keys_or_nulls_comes_back_as_it_was(client: TestClient, payload: dict[str, Any]) -> None:
    answer = client.post("/sdapi/v1/extra-single-image", json={"image": f"data:image/png;base64,{picture()}", **payload})
    assert answer.status_code == 200
    assert answer.json()["html_info"] == "<p></p>"
    assert read(answer.json()["image"])[0].size == (24, 16)


def test_a_batch_comes_back_in_its_order(client: TestClient) -> None:
    files = [{"data": picture(width, 16), "name": f"{width}.png"} for width in (8, 24, 16)]
    answer = client.post("/sdapi/v1/extra-batch-images", json={**PAYLOAD, "imageList": files, "resize_mode": 1})
    assert answer.status_code == 200
    assert answer.json()["html_info"] == (
        "<p>Postprocess upscale to: 128x128, Postprocess crop to: 128x128, Postprocess upscaler: Lanczos</p>"
    )
    assert [read(image)[0].size for image in answer.json()["images"]] == [(128, 128)] * 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"upscaler_1": "Lancos"}, "Unknown upscaler 'Lancos'. Did you mean 'Lanczos'?"),
        ({"upscaling_resize": 0}, "upscaling_resize: got 0.0"),
        ({"upscaling_resize_w": 0}, "upscaling_resize_w: got 0"),
        ({"upscaling_resize_w": 9000, "upscaling_resize_h": 9000, "resize_mode": 1}, "at most 67108864 pixels are made"),
        ({"resize_mode": 2}, "resize_mode: got 2"),
        ({"gfpgan_visibility": 2}, "gfpgan_visibility: got 2.0"),
        ({"image": "nonsense!"}, "Invalid encoded image"),
        ({"image": ""}, "Invalid encoded image"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(client: TestClient, app: App, change: dict[str, Any], says: str) -> None:
    answer = client.post("/sdapi/v1/extra-single-image", json={**PAYLOAD, "image": picture(), **change})
    assert answer.status_code == 400
    assert says in answer.json()["errors"]
    assert not app.queue.jobs()


def test_a_missing_face_restorer_is_answered_with_what_to_put_where(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/extra-single-image", json={**PAYLOAD, "image": picture(), "gfpgan_visibility": 1})
    assert answer.status_code == 404
    assert "GFPGANv1.4.pth" in answer.json()["errors"]
    drawing = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat", "restore_faces": True, "steps": 1})
    assert drawing.status_code == 404
    assert "CodeFormer" in drawing.json()["errors"]


def test_an_empty_batch_is_refused(client: TestClient) -> None:
    assert client.post("/sdapi/v1/extra-batch-images", json={**PAYLOAD, "imageList": []}).status_code == 400
    assert client.post("/sdapi/v1/extra-batch-images", json=PAYLOAD).status_code == 422


def test_it_can_be_seen_and_interrupted_like_any_job(client: TestClient, app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.1
    files = [{"data": picture(), "name": "a.png"}] * 3
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(client.post("/sdapi/v1/extra-batch-images", json={**PAYLOAD, "imageList": files}))
    )
    thread.start()
    while not engine.drawn:
        threading.Event().wait(0.01)
    progress = client.get("/sdapi/v1/progress").json()
    client.post("/sdapi/v1/interrupt")
    thread.join(30)
    assert 0 < progress["progress"] < 1
    assert progress["state"]["job_count"] == 3
    assert answers[0].status_code == 200
    assert 1 <= len(answers[0].json()["images"]) < 3


def test_what_there_is_to_enlarge_with_is_listed(client: TestClient, app: App) -> None:
    path = put(app, "RealESRGAN/RealESRGAN_x2plus.pth")
    put(app, "ESRGAN/4x-Thing.pth")
    upscalers = client.get("/sdapi/v1/upscalers").json()
    assert [one["name"] for one in upscalers] == ["None", "Lanczos", "Nearest", "4x-Thing", "R-ESRGAN 2x+"]
    assert upscalers[0] == {"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4}
    assert upscalers[4] == {
        "name": "R-ESRGAN 2x+", "model_name": "RealESRGAN_x2plus", "model_path": str(path), "model_url": None, "scale": 2,
    }  # fmt: skip
    assert client.get("/sdapi/v1/realesrgan-models").json() == [{"name": "R-ESRGAN 2x+", "path": str(path), "scale": 2}]
    assert client.get("/sdapi/v1/latent-upscale-modes").json()[0] == {"name": "Latent"}
    assert client.get("/sdapi/v1/face-restorers").json() == [{"name": "CodeFormer", "cmd_dir": None}, {"name": "GFPGAN", "cmd_dir": None}]


def test_a_hires_fix_takes_any_upscaler_by_its_name(client: TestClient, app: App) -> None:
    put(app, "ESRGAN/4x-Thing.pth")
    payload = {"prompt": "a cat", "steps": 1, "enable_hr": True, "width": 64, "height": 64, "seed": 1}
    answer = client.post("/sdapi/v1/txt2img", json={**payload, "hr_upscaler": "4x-Thing"})
    assert answer.status_code == 200
    refused = client.post("/sdapi/v1/txt2img", json={**payload, "hr_upscaler": "4x-Thin"})
    assert refused.status_code == 400
    assert "Did you mean '4x-Thing'?" in refused.json()["errors"]


def test_restored_faces_are_told_in_the_infotext(client: TestClient, app: App) -> None:
    put(app, "GFPGAN/GFPGANv1.4.pth")
    put(app, "FaceDetection/yunet.onnx")
    payload = {"prompt": "a cat", "steps": 1, "restore_faces": True, "override_settings": {"face_restoration_model": "GFPGAN"}}
    answer = client.post("/sdapi/v1/txt2img", json=payload)
    assert answer.status_code == 200
    assert ", Face restoration: GFPGAN, Size: " in answer.json()["info"]


def test_what_the_engine_is_given_names_the_files(
    client: TestClient, app: App, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(app, "ESRGAN/4x-Thing.pth")
    given: list[ExtrasWork] = []
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda work: given.append(work) or run(work))
    client.post("/sdapi/v1/extra-single-image", json={**PAYLOAD, "image": picture(), "upscaler_1": "4x-Thing"})
    assert given[0].upscalers["4x-Thing"].path == path
    assert given[0].faces is None
