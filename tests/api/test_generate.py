from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine, picture_of
from webui.api.schemas import Txt2ImgRequest
from webui.app import App
from webui.core.events import Failed
from webui.core.images import read_png_texts

SMALL = {"prompt": "a red apple", "steps": 2, "width": 64, "height": 72, "seed": 7}
Wait = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def until() -> Wait:
    """Ask again and again until the answer is true."""

    def until(question: Callable[[], Any]) -> Any:
        for _ in range(500):
            if answer := question():
                return answer
            time.sleep(0.01)
        raise AssertionError("It never came true.")

    return until


def draw(client: TestClient, **values: Any) -> Any:
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, **values})
    assert response.status_code == 200, response.text
    return response.json()


def refuse(client: TestClient, **values: Any) -> tuple[int, dict[str, Any]]:
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, **values})
    return response.status_code, response.json()


def test_txt2img_gives_the_pictures_the_parameters_and_the_info(client: TestClient) -> None:
    answer = draw(client, batch_size=2, n_iter=2)
    assert list(answer) == ["images", "parameters", "info"]
    images = [base64.b64decode(image, validate=True) for image in answer["images"]]
    for index, image in enumerate(images):
        opened = Image.open(io.BytesIO(image))
        assert (opened.format, opened.size) == ("PNG", (64, 72))
        assert opened.getpixel((0, 0)) == picture_of(7 + index, 1, 1).getpixel((0, 0))
    info = json.loads(answer["info"])
    assert info["infotexts"] == [read_png_texts(image)["parameters"] for image in images]
    assert info["all_seeds"] == [7, 8, 9, 10]
    assert (info["sd_model_name"], info["sd_vae_name"]) == ("demo", None)
    parameters = answer["parameters"]
    assert {key: parameters[key] for key in SMALL} == SMALL
    assert list(parameters) == list(Txt2ImgRequest.model_fields)


def test_the_base64_is_the_saved_file_itself(client: TestClient, app: App) -> None:
    [image] = draw(client, save_images=True)["images"]
    [saved] = app.paths.outputs.rglob("*.png")
    assert base64.b64decode(image) == saved.read_bytes()


@pytest.mark.parametrize("values", [{}, {"save_images": False, "do_not_save_samples": False}])
def test_pictures_are_kept_only_when_asked(client: TestClient, app: App, values: dict[str, Any]) -> None:
    assert len(draw(client, **values)["images"]) == 1
    assert list(app.paths.outputs.rglob("*.png")) == []


def test_without_send_images_the_list_is_empty(client: TestClient) -> None:
    answer = draw(client, send_images=False)
    assert answer["images"] == []
    assert len(json.loads(answer["info"])["infotexts"]) == 1


def test_big_answers_are_compressed_for_those_who_can_read_it(client: TestClient) -> None:
    packed = client.post("/sdapi/v1/txt2img", json=SMALL)
    plain = client.post("/sdapi/v1/txt2img", json=SMALL, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json()["images"] == plain.json()["images"]
    with TestClient(client.app, base_url=str(client.base_url), client=("127.0.0.1", 5000)) as neighbour:
        assert "content-encoding" not in neighbour.post("/sdapi/v1/txt2img", json=SMALL).headers


def test_a_seed_of_minus_one_is_drawn_and_told(client: TestClient) -> None:
    answer = draw(client, seed=-1)
    assert answer["parameters"]["seed"] == -1
    assert json.loads(answer["info"])["seed"] >= 0


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"sampler_name": "DPM 2M"}, "DPM++ 2M"), ({"seed": -5}, "seed: got -5"), ({"steps": 0}, "steps"),
        ({"refiner_checkpoint": "missing-xl"}, "missing-xl"),
        ({"override_settings": {"sd_model_checkpoint": "missing"}}, "missing"), ({"override_settings": {"sd_vae": "missing"}}, "missing"),
        ({"override_settings": {"outdir_samples": "/"}}, "outdir_samples"), ({"override_settings": {"CLIP_stop_at_last_layers": 99}}, "99"),
        ({"eta": 70}, "eta"), ({"force_task_id": "../x"}, "force_task_id"), ({"prompt": "fail"}, "always fails"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a1111s_error_body(client: TestClient, values: dict[str, Any], word: str) -> None:
    status, body = refuse(client, **values)
    assert status == 400
    assert list(body) == ["error", "detail", "body", "errors"]
    assert word in body["errors"]
    assert body["detail"] == body["errors"]


@pytest.mark.parametrize(
    "values", [{"seed": "x"}, {"seed": 0.5}, {"width": None, "height": [1]}, {"prompt": {"a": 1}}, {"override_settings": 5}]
)
def test_values_of_another_type_get_fastapis_own_errors(client: TestClient, values: dict[str, Any]) -> None:
    status, body = refuse(client, **values)
    assert status == 422
    assert {frozenset(breach) for breach in body["detail"]} == {frozenset({"loc", "msg", "type"})}


def test_a_body_that_is_no_json_is_a_validation_error(client: TestClient) -> None:
    response = client.post("/sdapi/v1/txt2img", content="{", headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["type"] == "json_invalid"


def test_running_out_of_memory_is_told_under_the_name_that_clients_look_for(client: TestClient, engine: FakeEngine) -> None:
    engine.run = lambda work: iter([Failed("It does not fit.", "OutOfMemory")])  # type: ignore[method-assign]
    status, body = refuse(client)
    assert (status, body["error"], body["errors"]) == (500, "OutOfMemoryError", "It does not fit.")


def test_overrides_hold_for_this_job_alone(client: TestClient, app: App) -> None:
    info = json.loads(draw(client, override_settings={"CLIP_stop_at_last_layers": 3, "sd_model_checkpoint": "demo"})["info"])
    assert info["clip_skip"] == 3
    assert "Clip skip: 3" in info["infotexts"][0]
    assert app.settings.snapshot().CLIP_stop_at_last_layers == 1


@pytest.mark.parametrize(("wanted", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("avif", "AVIF")])
def test_pictures_are_answered_in_the_format_of_the_settings_with_their_infotext(client: TestClient, wanted: str, kind: str) -> None:
    answer = draw(client, override_settings={"samples_format": wanted})
    data = base64.b64decode(answer["images"][0])
    assert Image.open(io.BytesIO(data)).format == kind
    info = client.post("/sdapi/v1/png-info", json={"image": answer["images"][0]}).json()["info"]
    assert info == json.loads(answer["info"])["infotexts"][0]


def test_overrides_that_are_not_to_be_restored_stay(client: TestClient, app: App) -> None:
    given = {"CLIP_stop_at_last_layers": 3, "sd_model_checkpoint": "demo"}
    draw(client, override_settings=given, override_settings_restore_afterwards=False, eta=0.5)
    settings = app.settings.snapshot()
    assert (settings.CLIP_stop_at_last_layers, settings.sd_model_checkpoint, settings.eta_ancestral) == (3, "demo.safetensors", 1.0)


def test_idle_progress_has_a1111s_shape(client: TestClient) -> None:
    assert client.get("/sdapi/v1/progress").json() == {
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": {
            "skipped": False, "interrupted": False, "stopping_generation": False, "job": "", "job_count": 0, "job_timestamp": "0",
            "job_no": 0, "sampling_step": 0, "sampling_steps": 0,
        },
        "current_image": None,
        "textinfo": None,
    }  # fmt: skip


class Running:
    """A request that is being served in another thread."""

    def __init__(self, client: TestClient, **values: Any) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._draw, args=(client,), kwargs=values)
        self._thread.start()

    def _draw(self, client: TestClient, **values: Any) -> None:
        self.answer = draw(client, **values)

    def wait(self) -> Any:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.answer


def test_a_running_job_tells_its_progress_and_shows_a_preview(client: TestClient, engine: FakeEngine, until: Wait) -> None:
    engine.step_seconds = 0.01
    running = Running(client, steps=1000, n_iter=2)
    until(lambda: client.get("/sdapi/v1/progress?skip_current_image=true").json()["progress"] > 0.01)
    assert engine._previewed == set()
    answer = until(lambda: (now := client.get("/sdapi/v1/progress").json())["current_image"] and now)
    assert Image.open(io.BytesIO(base64.b64decode(answer["current_image"]))).size == (16, 16)
    assert 0.01 < answer["progress"] < 1
    state = answer["state"]
    assert (state["job"], state["job_count"], state["job_no"], state["sampling_steps"]) == ("Batch 1 out of 2", 2, 0, 1000)
    client.post("/sdapi/v1/interrupt")
    running.wait()


def test_interrupt_answers_with_the_pictures_so_far(client: TestClient, engine: FakeEngine, app: App, until: Wait) -> None:
    engine.step_seconds = 0.005
    running = Running(client, steps=10, n_iter=1000)
    until(lambda: engine.drawn)
    assert client.post("/sdapi/v1/interrupt").json() == {}
    answer = running.wait()
    assert 0 < len(answer["images"]) < 1000
    assert len(json.loads(answer["info"])["infotexts"]) == len(answer["images"])


def test_interrupt_of_an_idle_server_changes_nothing(client: TestClient) -> None:
    assert client.post("/sdapi/v1/interrupt").json() == {}
    assert len(draw(client)["images"]) == 1


def test_interrupt_and_progress_can_be_narrowed_to_one_job(client: TestClient, engine: FakeEngine, app: App, until: Wait) -> None:
    engine.step_seconds = 0.01
    first = Running(client, steps=1000, force_task_id="task(first)")
    second = Running(client, steps=1000, force_task_id="task(second)")
    until(lambda: len([job for job in app.queue.jobs() if job.state == "running"]) == 2)
    assert client.post("/sdapi/v1/interrupt?id_task=task(second)").status_code == 200
    assert second.wait()["images"] == []
    assert client.get("/sdapi/v1/progress?id_task=task(second)").json()["progress"] == 1
    assert client.get("/sdapi/v1/progress?id_task=task(first)").json()["progress"] < 1
    assert app.queue.job("task(first)").state == "running"
    client.post("/sdapi/v1/interrupt")
    first.wait()


@pytest.mark.parametrize(("method", "path"), [("GET", "progress"), ("POST", "interrupt"), ("POST", "skip")])
def test_a_job_that_does_not_exist_is_not_found(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, f"/sdapi/v1/{path}?id_task=none").status_code == 404


def test_skip_ends_the_batch_and_not_the_job(client: TestClient, engine: FakeEngine, until: Wait) -> None:
    engine.step_seconds = 0.02
    running = Running(client, steps=1000, n_iter=2)
    for batch in range(2):
        until(lambda batch=batch: client.get("/sdapi/v1/progress").json()["state"]["job_no"] == batch)
        until(lambda: client.get("/sdapi/v1/progress").json()["state"]["sampling_step"] > 0)
        response = client.post("/sdapi/v1/skip")
        assert response.json() is None
        until(lambda batch=batch: len(engine.drawn) == batch + 1)
    assert len(running.wait()["images"]) == 2


def test_a_waiting_job_says_so(client: TestClient, app: App, until: Wait) -> None:
    app.queue.pause()
    running = Running(client, force_task_id="task(waits)")
    until(app.queue.jobs)
    assert client.get("/sdapi/v1/progress?id_task=task(waits)").json()["textinfo"] == "Waiting..."
    assert client.get("/sdapi/v1/progress").json()["textinfo"] is None
    app.queue.resume()
    assert len(running.wait()["images"]) == 1


def test_a_task_id_serves_one_job_at_a_time(client: TestClient, app: App, until: Wait) -> None:
    app.queue.pause()
    first = Running(client, force_task_id="task(mine)")
    until(app.queue.jobs)
    assert refuse(client, force_task_id="task(mine)")[0] == 400
    app.queue.resume()
    first.wait()
    assert len(draw(client, force_task_id="task(mine)")["images"]) == 1


def test_a_picture_deleted_before_it_could_be_sent_is_told(client: TestClient, app: App) -> None:
    app.host.picture_saved = lambda picture: picture.path.unlink()  # type: ignore[method-assign]
    status, body = refuse(client, save_images=True)
    assert (status, body["error"]) == (404, "NotFound")


def test_more_clients_wait_at_once_than_there_are_threads(client: TestClient, app: App) -> None:
    app.queue.pause()
    with client, ThreadPoolExecutor(60) as pool:
        answers = [pool.submit(draw, client, seed=seed) for seed in range(60)]
        for _ in range(500):
            if len(app.queue.jobs()) == 60:
                break
            time.sleep(0.02)
        assert len(app.queue.jobs()) == 60
        assert client.get("/sdapi/v1/memory").status_code == 200
        app.queue.resume()
        assert all(len(answer.result(60)["images"]) == 1 for answer in answers)
