from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from webui.app import App
from webui.core.paths import Paths
from webui.core.styles import Style


def picture(side: int = 64) -> str:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 50).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def create(client: TestClient, **values: Any) -> str:
    response = client.post("/sdapi/v1/create/embedding", json={"name": "mine", **values})
    assert response.status_code == 200
    return response.json()["info"]


def test_a_new_embedding_begins_as_its_text_and_can_be_named_at_once(client: TestClient, paths: Paths) -> None:
    file = paths.embeddings[0] / "mine.safetensors"
    assert create(client, num_vectors_per_token=3, init_text="one four") == f"create embedding filename: {file}"
    assert load_file(file)["emb_params"][:, 0].tolist() == [3, 3, 4]
    [loaded] = client.get("/sdapi/v1/embeddings").json()["loaded"].items()
    assert loaded == ("mine", {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 768, "vectors": 3})


def test_a_new_embedding_never_writes_over_another_unasked_nor_outside_its_folder(client: TestClient, paths: Paths) -> None:
    create(client)
    assert "already exists" in create(client)
    assert "filename" in create(client, overwrite_old=True)
    for name in ("../../evil", "/etc/evil", "..", "a/../../b", "", "\x00", "x" * 500):
        create(client, name=name)
    assert {file.parent for file in paths.data.rglob("*.safetensors")} <= {paths.embeddings[0]}
    assert "num_vectors_per_token" in create(client, name="other", num_vectors_per_token=10**9)


def test_an_embedding_for_another_family_is_skipped(client: TestClient, app: App, paths: Paths) -> None:
    paths.embeddings[0].mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": np.zeros((2, 1024), np.float32)}, paths.embeddings[0] / "two.safetensors")
    assert client.post("/sdapi/v1/refresh-embeddings").json() is None
    answer = client.get("/sdapi/v1/embeddings").json()
    assert (list(answer["loaded"]), list(answer["skipped"])) == ([], ["two"])


def test_a_lora_put_into_its_folder_is_listed_with_its_metadata_after_a_refresh(client: TestClient, paths: Paths) -> None:
    assert client.get("/sdapi/v1/loras").json() == []
    paths.loras[0].mkdir(parents=True, exist_ok=True)
    tensors = {"lora_unet_x.lora_up.weight": np.zeros((4, 2), np.float32), "lora_unet_x.lora_down.weight": np.zeros((2, 4), np.float32)}
    save_file(tensors, paths.loras[0] / "ink.safetensors", {"ss_output_name": "inky", "note": "<b>"})
    assert client.post("/sdapi/v1/refresh-loras").json() is None
    [lora] = client.get("/sdapi/v1/loras").json()
    assert (lora["name"], lora["alias"], lora["metadata"]["note"]) == ("ink", "inky", "<b>")
    told = client.get("/sd_extra_networks/metadata?page=lora&item=ink").json()["metadata"]
    assert json.loads(told)["ss_output_name"] == "inky"
    assert client.get("/sd_extra_networks/get-single-card?page=lora&tabname=txt2img&name=ink").json()["html"]
    assert client.get("/sd_extra_networks/get-single-card?page=lora&tabname=txt2img&name=<script>").json() == {}


def test_styles_are_listed(client: TestClient, app: App) -> None:
    app.styles.save(Style("ink", "ink drawing", "photo"))
    assert client.get("/sdapi/v1/prompt-styles").json() == [{"name": "ink", "prompt": "ink drawing", "negative_prompt": "photo"}]


def test_interrogate_needs_a_captioner_in_its_folder(client: TestClient, paths: Paths) -> None:
    wish = {"image": picture(), "model": "clip"}
    response = client.post("/sdapi/v1/interrogate", json=wish)
    assert response.status_code == 404
    assert "BLIP" in response.json()["errors"]
    (paths.models / "BLIP").mkdir(parents=True)
    (paths.models / "BLIP" / "config.json").write_text("{}")
    assert client.post("/sdapi/v1/interrogate", json=wish).json() == {"caption": "a picture of 64x64"}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"image": None}, "Image not found"), ({"model": "clip"}, "Image not found"),
        ({"image": picture(), "model": "x"}, "Model not found"),
        ({"image": picture(), "model": "deepdanbooru"}, "Put a WD tagger"),
    ],
)  # fmt: skip
def test_what_cannot_be_interrogated_is_not_found(client: TestClient, wish: dict[str, Any], words: str) -> None:
    response = client.post("/sdapi/v1/interrogate", json=wish)
    assert response.status_code == 404
    assert words in response.json()["errors"]


def test_a_tagger_is_asked_by_its_name_or_by_a1111s(client: TestClient, paths: Paths) -> None:
    def ask(model: str) -> Any:
        return client.post("/sdapi/v1/interrogate", json={"image": picture(), "model": model})

    for name in ("wd-b", "wd-a"):
        folder = paths.models / "Taggers" / name
        folder.mkdir(parents=True)
        (folder / "model.onnx").touch()
        (folder / "selected_tags.csv").touch()
    assert ask("wd-b").json() == {"caption": "64 wide, by wd-b"}
    assert ask("deepdanbooru").json() == ask("deepbooru").json() == {"caption": "64 wide, by wd-a"}
    client.post("/sdapi/v1/options", json={"deepbooru_use_spaces": False, "interrogate_deepbooru_score_threshold": 0.8})
    assert ask("wd-b").json() == {"caption": "64_wide"}
    assert ask("wd-c").status_code == 404
    assert "there are wd-a, wd-b" in ask("wd-c").json()["errors"]


def test_only_pictures_that_really_lie_in_outputs_are_served_by_path(client: TestClient, paths: Paths, tmp_path: Path) -> None:
    paths.outputs.mkdir(parents=True, exist_ok=True)
    good = paths.outputs / "a.png"
    good.write_bytes(b"\x89PNG")
    secret = paths.data / "secret.png"
    secret.write_bytes(b"secret")
    (paths.outputs / "link.png").symlink_to(secret)
    (paths.outputs / "note.txt").write_text("secret")
    for path in (str(good), "outputs/a.png"):
        assert client.get(f"/file={path}").content == b"\x89PNG"
    away = [
        str(secret), "outputs/../secret.png", f"{paths.outputs}/../secret.png", f"{paths.outputs}/%2e%2e/secret.png", "outputs/link.png",
        "outputs/note.txt", "/etc/passwd", "outputs\\..\\secret.png", "C:/secret.png", "outputs/a.png::$DATA", "https://example.com/a.png",
        "outputs", "", "config.json",
    ]  # fmt: skip
    for path in away:
        response = client.get(f"/file={path}")
        assert response.status_code in (404, 405), path
        assert b"secret" not in response.content
        assert client.get("/sd_extra_networks/thumb", params={"filename": path}).status_code == 404
    assert "location" not in client.get("/file=https://example.com", follow_redirects=False).headers


def test_a_picture_beside_a_model_is_its_thumb(client: TestClient, paths: Paths) -> None:
    paths.loras[0].mkdir(parents=True, exist_ok=True)
    (paths.loras[0] / "ink.preview.png").write_bytes(b"\x89PNG")
    response = client.get("/sd_extra_networks/thumb", params={"filename": str(paths.loras[0] / "ink.preview.png")})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")


def test_progress_by_task_says_queued_active_and_completed(client: TestClient, app: App, engine: FakeEngine) -> None:
    def ask(**values: Any) -> Any:
        return client.post("/internal/progress", json={"id_task": "task(x)", **values}).json()

    assert ask()["textinfo"] == "Waiting..."
    app.queue.pause()
    job = client.post("/api/v1/jobs", json={"request": {"steps": 2, "width": 64, "height": 64}}).json()["id"]
    waiting = ask(id_task=job)
    assert (waiting["queued"], waiting["textinfo"]) == (True, "In queue: 1/1")
    assert client.get("/internal/pending-tasks").json() == {"size": 1, "tasks": [job]}
    app.queue.resume()
    app.queue.job(job).wait(20)
    assert ask(id_task=job)["completed"] is True


def test_progress_says_when_a_job_is_being_interrupted_or_a_batch_skipped(client: TestClient, app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.01
    job_id = client.post("/api/v1/jobs", json={"request": {"steps": 1000, "width": 64, "height": 64, "batch_count": 3}}).json()["id"]
    job = app.queue.job(job_id)
    while job.state != "running":
        time.sleep(0.005)

    def state() -> Any:
        return client.get(f"/sdapi/v1/progress?id_task={job_id}").json()["state"]

    assert (state()["skipped"], state()["interrupted"]) == (False, False)
    engine.skip = lambda job_id: None  # type: ignore[method-assign]
    client.post("/sdapi/v1/skip")
    assert (state()["skipped"], state()["interrupted"]) == (True, False)
    cancel, engine.cancel = engine.cancel, lambda job_id: None  # type: ignore[method-assign]
    client.post("/sdapi/v1/interrupt")
    cancel(job_id)
    job.wait(20)
    assert state()["interrupted"] is True


def test_app_id_is_one_number_and_login_check_is_null(client: TestClient) -> None:
    assert client.get("/app_id").json() == client.get("/app_id").json()
    assert client.get("/login_check").json() is None
    assert client.get("/user").json() is None


def create_hypernetwork(client: TestClient, **values: Any) -> str:
    response = client.post("/sdapi/v1/create/hypernetwork", json={"name": "mine", "enable_sizes": ["32"], "overwrite_old": False, **values})
    assert response.status_code == 200
    return response.json()["info"]


def test_a_new_hypernetwork_is_written_as_it_was_asked_for(client: TestClient, paths: Paths) -> None:
    file = paths.hypernetworks[0] / "mine.pt"
    said = create_hypernetwork(client, layer_structure="1, 2, 2, 1", activation_func="relu", weight_init="KaimingNormal")
    assert said == f"create hypernetwork filename: {file}"
    # The engine of these tests writes down what was asked of it.
    told = file.read_text()
    assert told.startswith(
        "mine: NewHypernetwork(sizes=(32,), structure=(1.0, 2.0, 2.0, 1.0), activation='relu', weight_init='KaimingNormal'"
    )


def test_dropouts_count_only_when_they_are_switched_on(client: TestClient, paths: Paths) -> None:
    create_hypernetwork(client, name="without", dropout_structure="0, 0.5, 0")
    create_hypernetwork(client, name="with", dropout_structure="0, 0.5, 0", use_dropout=True)
    assert "dropouts=()" in (paths.hypernetworks[0] / "without.pt").read_text()
    assert "dropouts=(0.0, 0.5, 0.0)" in (paths.hypernetworks[0] / "with.pt").read_text()


def test_a_new_hypernetwork_never_writes_over_another_unasked_nor_outside_its_folder(client: TestClient, paths: Paths) -> None:
    create_hypernetwork(client)
    assert "already exists" in create_hypernetwork(client)
    assert "filename" in create_hypernetwork(client, overwrite_old=True)
    for name in ("../../evil", "/etc/evil", "..", "", "\x00", "x" * 500):
        create_hypernetwork(client, name=name)
    assert {file.parent for file in paths.data.rglob("*.pt*")} == {paths.hypernetworks[0]}
    assert {file.suffix for file in paths.hypernetworks[0].iterdir()} == {".pt"}


@pytest.mark.parametrize(
    "values", [{"layer_structure": [2, 1]}, {"weight_init": "Zeros"}, {"enable_sizes": []}, {"layer_structure": "1,a,1"}]
)
def test_what_is_wrong_with_a_wish_for_a_hypernetwork_is_told_in_its_info(client: TestClient, paths: Paths, values: dict[str, Any]) -> None:
    assert create_hypernetwork(client, **values).startswith("create hypernetwork error: ")
    assert not list(paths.data.rglob("*.pt"))


def test_an_infotexts_lora_that_has_another_name_here_is_found_by_its_hash(client: TestClient, app: App, paths: Paths) -> None:
    def lora(name: str, digits: str) -> None:
        paths.loras[0].mkdir(parents=True, exist_ok=True)
        tensors = {"lora_unet_x.lora_up.weight": np.zeros((4, 2), np.float32), "lora_unet_x.lora_down.weight": np.zeros((2, 4), np.float32)}
        save_file(tensors, paths.loras[0] / f"{name}.safetensors", {"sshs_model_hash": digits * 64})

    def prompt_of(tag: str, hashes: str) -> str:
        infotext = f'{tag} a cat\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Lora hashes: "{hashes}", Version: v1.10.1'
        answer = client.post("/sdapi/v1/txt2img", json={"infotext": infotext, "steps": 2, "width": 64, "height": 64})
        return json.loads(answer.json()["info"])["prompt"]

    lora("ink", "a")
    lora("taken", "b")
    app.catalog.refresh()
    assert prompt_of("<lora:tinte:0.5>", "tinte: aaaaaaaaaaaa") == "<lora:ink:0.5> a cat"
    assert prompt_of("<lora:taken:1>", "taken: aaaaaaaaaaaa") == "<lora:ink:1> a cat"
    assert prompt_of("<lora:ink:1>", "ink: aaaaaaaaaaaa") == "<lora:ink:1> a cat"
    assert prompt_of("<lora:tinte:1>", "tinte: cccccccccccc") == "<lora:tinte:1> a cat"
