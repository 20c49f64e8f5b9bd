"""Our own jobs API over a real connection."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.api.wire import serving
from tests.fake_engine import FakeEngine, picture_of
from webui.app import App

SMALL = {"prompt": "a red apple", "steps": 2, "width": 64, "height": 64, "seed": 7}


@pytest.fixture
def http(app: App) -> Iterator[httpx.Client]:
    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def until(question: Callable[[], Any]) -> Any:
    for _ in range(1000):
        if answer := question():
            return answer
        time.sleep(0.01)
    raise AssertionError("It never came true.")


def submit(http: httpx.Client, headers: dict[str, str] | None = None, **wish: Any) -> Any:
    wish = {"request": SMALL, **wish}
    response = http.post("/api/v1/jobs", json=wish, headers=headers)
    assert response.status_code in (200, 201), response.text
    return response.json()


def ended(http: httpx.Client, job_id: str) -> Any:
    return until(lambda: (job := http.get(f"/api/v1/jobs/{job_id}").json())["state"] not in ("queued", "running") and job)


def events_of(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_job_is_answered_at_once_and_its_pictures_are_fetched_by_url(http: httpx.Client, app: App) -> None:
    app.queue.pause()
    first = http.post("/api/v1/jobs", json={"request": {**SMALL, "batch_size": 2}, "save": False})
    assert first.status_code == 201
    assert first.headers["location"] == first.json()["url"]
    assert (first.json()["state"], first.json()["position"], first.json()["expected"]) == ("queued", 0, 2)
    app.queue.resume()
    job = ended(http, first.json()["id"])
    assert [(one["index"], one["seed"], one["saved"]) for one in job["pictures"]] == [(0, 7, False), (1, 8, False)]
    picture = Image.open(io.BytesIO(http.get(job["pictures"][1]["url"]).content))
    assert picture.getpixel((0, 0)) == picture_of(8, 1, 1).getpixel((0, 0))
    assert job["request"]["checkpoint"] == "demo.safetensors"


def test_the_events_tell_progress_previews_and_results(http: httpx.Client, engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    job = submit(http, request={**SMALL, "steps": 50})
    with http.stream("GET", job["events_url"], params={"previews": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        heard = list(events_of(response))
    names = [name for name, _ in heard]
    assert names[0] == "queued"
    assert names[-2:] == ["picture", "finished"]
    assert {"loading", "progress", "preview"} <= set(names)
    fractions = [content["fraction"] for name, content in heard if name == "progress"]
    assert fractions == sorted(fractions)
    [preview, *_] = [content for name, content in heard if name == "preview"]
    assert Image.open(io.BytesIO(base64.b64decode(preview["image"].partition(",")[2]))).size == (16, 16)
    assert http.get(heard[-2][1]["url"]).headers["content-type"] == "image/png"
    assert heard[-1][1]["state"] == "finished"


def test_events_of_an_ended_job_are_told_again_and_without_asking_no_preview_is_made(http: httpx.Client, engine: FakeEngine) -> None:
    job = ended(http, submit(http)["id"])
    for _ in range(2):
        with http.stream("GET", job["events_url"]) as response:
            names = [name for name, _ in events_of(response)]
        assert names[-1] == "finished"
        assert "picture" in names
    assert engine._previewed == set()


@pytest.mark.parametrize(("wish", "end"), [("cancel", "cancelled"), ("leave", "finished")])
def test_a_reader_that_goes_away_ends_its_job_only_when_that_was_asked(
    http: httpx.Client, app: App, engine: FakeEngine, wish: str, end: str
) -> None:
    engine.step_seconds = 0.02
    job = submit(http, request={**SMALL, "steps": 180}, on_disconnect=wish)
    with http.stream("GET", job["events_url"]) as response:
        next(iter(response.iter_lines()))
    assert ended(http, job["id"])["state"] == end


def test_a_job_is_not_cancelled_while_another_reader_stays(http: httpx.Client, engine: FakeEngine) -> None:
    engine.step_seconds = 0.01
    job = submit(http, request={**SMALL, "steps": 300}, on_disconnect="cancel")
    with http.stream("GET", job["events_url"]) as stays:
        with http.stream("GET", job["events_url"]) as goes:
            next(iter(goes.iter_lines()))
        assert [name for name, _ in events_of(stays)][-1] == "finished"


def test_a_reader_that_comes_back_in_time_keeps_its_job(http: httpx.Client, engine: FakeEngine) -> None:
    engine.step_seconds = 0.01
    job = submit(http, request={**SMALL, "steps": 600}, on_disconnect="cancel")
    for _ in range(3):
        with http.stream("GET", job["events_url"]) as response:
            next(iter(response.iter_lines()))
    with http.stream("GET", job["events_url"]) as response:
        assert [name for name, _ in events_of(response)][-1] == "finished"


def test_the_same_idempotency_key_gives_the_same_job(http: httpx.Client, app: App) -> None:
    headers = {"Idempotency-Key": "b1946ac9"}
    one, again = submit(http, headers), submit(http, headers)
    assert one["id"] == again["id"]
    other = http.post("/api/v1/jobs", json={"request": {**SMALL, "steps": 3}}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (409, "Conflict")
    assert submit(http, {"Idempotency-Key": "another"})["id"] != one["id"]
    assert http.post("/api/v1/jobs", json={"request": SMALL}, headers={"Idempotency-Key": "a b"}).status_code == 400
    assert len(app.queue.jobs()) == 2


def test_an_idempotency_key_holds_in_another_server_of_the_same_folder(app: App) -> None:
    jobs = []
    for _ in range(2):
        with serving(app) as address, httpx.Client(base_url=address) as client:
            jobs.append(submit(client, {"Idempotency-Key": "kept"}))
    assert jobs[0]["id"] == jobs[1]["id"]


def test_jobs_are_listed_in_pages_and_moved_and_cancelled(http: httpx.Client) -> None:
    assert http.post("/api/v1/queue/pause").json() == {"paused": True, "running": 0, "queued": 0, "limit": 1000}
    names = [submit(http, request={**SMALL, "seed": seed})["id"] for seed in range(5)]
    assert http.post(f"/api/v1/jobs/{names[4]}/move", json={"position": 0}).json()["position"] == 0
    page = http.get("/api/v1/jobs", params={"state": "queued", "offset": 1, "limit": 2}).json()
    assert (page["total"], [job["id"] for job in page["jobs"]]) == (5, names[:2])
    assert [job["position"] for job in page["jobs"]] == [1, 2]
    assert http.delete(f"/api/v1/jobs/{names[0]}").json()["state"] == "cancelled"
    assert http.get("/api/v1/queue").json()["queued"] == 4
    assert http.post(f"/api/v1/jobs/{names[0]}/move", json={"position": 0}).status_code == 400
    assert http.post("/api/v1/queue/resume").json()["paused"] is False
    assert [ended(http, name)["state"] for name in names[1:]] == ["finished"] * 4


def test_skip_ends_the_batch_and_not_the_job(http: httpx.Client, engine: FakeEngine) -> None:
    engine.step_seconds = 0.01
    job = submit(http, request={**SMALL, "steps": 1000, "batch_count": 2})
    for batch in range(2):
        until(lambda batch=batch: (now := http.get(job["url"]).json()["progress"]) and now["batch"] == batch)
        http.post(f"{job['url']}/skip")
        until(lambda batch=batch: len(engine.drawn) == batch + 1)
    assert ended(http, job["id"])["state"] == "finished"


def test_a_picture_is_stored_once_and_then_named_by_requests(http: httpx.Client) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "PNG")
    stored = http.post("/api/v1/inputs", json={"image": base64.b64encode(buffer.getvalue()).decode()})
    assert stored.status_code == 201
    picture = stored.json()
    assert (picture["width"], picture["height"]) == (64, 48)
    assert http.get(picture["url"]).headers["content-type"] == "image/png"
    job = submit(http, request={**SMALL, "init_images": [picture["hash"]]})
    assert ended(http, job["id"])["state"] == "finished"
    wish = {"kind": "extras", "upscaler_1": "Lanczos", "pictures": [{"image": picture["hash"], "width": 1, "height": 1}]}
    assert http.post("/api/v1/jobs", json={"request": wish, "styles": ["ink"]}).status_code == 400
    done = ended(http, submit(http, request=wish)["id"])
    assert done["kind"] == "extras"
    assert Image.open(io.BytesIO(http.get(done["pictures"][0]["url"]).content)).size == (128, 96)


@pytest.mark.parametrize(
    ("wish", "status", "word"),
    [
        ({"request": {**SMALL, "steps": 0}}, 422, "greater than or equal to 1"), ({"request": {**SMALL, "stepz": 4}}, 422, "stepz"),
        ({"request": {**SMALL, "sampler": "Eulr"}}, 422, "Euler"), ({"request": {**SMALL, "checkpoint": "none"}}, 400, "none"),
        ({"request": SMALL, "overrides": {"samples_save": True}}, 400, "samples_save"), ({"request": SMALL, "what": 1}, 422, "what"),
        ({}, 422, "request"), ({"request": {**SMALL, "init_images": ["a" * 64]}}, 400, "not kept"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_reason(http: httpx.Client, wish: Any, status: int, word: str) -> None:
    response = http.post("/api/v1/jobs", json=wish)
    assert response.status_code == status, response.text
    assert word in response.text


def test_a_failed_job_says_why(http: httpx.Client) -> None:
    job = ended(http, submit(http, request={**SMALL, "prompt": "fail"})["id"])
    assert (job["state"], job["error"]) == ("failed", {"kind": "InvalidRequest", "message": "This prompt always fails."})


def test_unknown_jobs_and_paths_are_not_found(http: httpx.Client) -> None:
    assert http.get("/api/v1/jobs/none").status_code == 404
    assert http.delete("/api/v1/jobs/none").status_code == 404
    assert http.get("/api/v1/jobs/none/events").status_code == 404
    assert http.get("/api/v2/what").json()["error"] == "HTTPException"
