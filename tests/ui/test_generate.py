"""Submitting, choosing the job to show, and a job as a page sees it; without a browser."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine
from webui.app import App
from webui.core.ports import MemoryUse
from webui.core.request import GenerationRequest
from webui.core.styles import Style
from webui.ui.form import Wish, read_form
from webui.ui.generate import act, data_url, job_to_show, look, submit

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 3}


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**{**SMALL, **changes})


def wish(**more: Any) -> Wish:
    return Wish(request(), more.get("overrides", {}), more.get("styles", ()))


def see(app: App, job_id: str, *, known: tuple[str, ...] = (), preview: str | None = None, watching: bool = True) -> dict[str, Any]:
    return look(app, job_id, known=known, preview_seen=preview, watching=watching)


def test_a_submitted_job_is_followed_and_comes_from_the_browser(fake_app: App) -> None:
    value = submit(fake_app, wish, None)
    assert fake_app.queue.job(value["job"]).source == "ui"
    assert value["message"] is None


def test_a_finished_job_says_what_memory_the_program_and_the_gpu_hold(fake_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submit(fake_app, wish, None)["job"]
    fake_app.queue.job(job_id).wait(60)
    assert see(fake_app, job_id)["memory"] == {"ram": 1, "device": None, "device_total": None}
    use = MemoryUse(ram_free=5, ram_used=7, ram_total=12, device_free=1, device_used=2, device_total=3)
    monkeypatch.setattr(fake_app.engine, "memory", lambda: use)
    assert see(fake_app, job_id)["memory"] == {"ram": 7, "device": 2, "device_total": 3}


def test_overrides_and_styles_go_with_the_job(fake_app: App) -> None:
    fake_app.styles.save(Style("Photo", "photo of {prompt}", "painting"))
    value = submit(fake_app, lambda: wish(overrides={"CLIP_stop_at_last_layers": 2}, styles=("Photo",)), None)
    job = fake_app.queue.job(value["job"])
    assert (job.request.prompt, job.request.negative_prompt) == ("photo of ", "painting")
    job.wait(60)
    assert "Clip skip: 2" in job.pictures[0].infotext
    assert fake_app.settings.snapshot().CLIP_stop_at_last_layers == 1


def test_a_refused_request_is_told_and_the_job_followed_stays(fake_app: App) -> None:
    value = submit(fake_app, lambda: read_form({"steps": 0}), {"job": "earlier"})
    assert value["job"] == "earlier"
    assert "steps: got 0" in value["message"]


def test_equal_messages_make_different_values_so_that_the_page_hears_both(fake_app: App) -> None:
    first, second = (submit(fake_app, lambda: read_form({"steps": 0}), None) for _ in range(2))
    assert first["message"] == second["message"]
    assert first != second


def test_a_finished_job_shows_its_pictures_with_place_and_exact_seed(fake_app: App) -> None:
    job = fake_app.submit(request(seed=9007199254740993, batch_count=2), source="ui")
    job.wait(60)
    view = see(fake_app, job.id)
    assert (view["state"], view["expected"], len(view["pictures"])) == ("finished", 2, 2)
    assert [picture["seed"] for picture in view["pictures"]] == ["9007199254740993", "9007199254740994"]
    assert (fake_app.paths.data / view["pictures"][0]["place"]).is_file()


def test_pictures_the_page_has_are_not_sent_again(fake_app: App) -> None:
    job = fake_app.submit(request(batch_count=2), source="ui")
    job.wait(60)
    order = see(fake_app, job.id)["order"]
    view = see(fake_app, job.id, known=(order[0],))
    assert [picture["id"] for picture in view["pictures"]] == [order[1]]
    assert view["order"] == order


def test_a_picture_that_is_not_kept_has_no_place(fake_app: App) -> None:
    job = fake_app.submit(request(), source="ui", save=False)
    job.wait(60)
    assert see(fake_app, job.id)["pictures"][0]["place"] is None


def test_an_unknown_job_is_gone_and_acting_on_it_does_nothing(fake_app: App) -> None:
    assert see(fake_app, "no such job") == {"job": "no such job", "state": "gone"}
    act(fake_app.queue.cancel, {"job": "no such job"})


def test_a_failed_job_says_why(fake_app: App) -> None:
    job = fake_app.submit(request(prompt="fail"), source="ui")
    job.wait(60)
    view = see(fake_app, job.id)
    assert (view["state"], view["error"]) == ("failed", "This prompt always fails.")


def test_a_waiting_job_tells_how_many_are_before_it(fake_app: App) -> None:
    fake_app.queue.pause()
    first, second = (fake_app.submit(request(), source="ui") for _ in range(2))
    assert (see(fake_app, first.id)["ahead"], see(fake_app, second.id)["ahead"]) == (0, 1)
    assert see(fake_app, second.id)["paused"] is True


def test_previews_are_made_only_for_a_page_that_somebody_sees(fake_app: App) -> None:
    engine = fake_app.engine
    assert isinstance(engine, FakeEngine)
    engine.step_seconds = 0.02
    unseen = fake_app.submit(request(steps=100), source="ui")
    while see(fake_app, unseen.id, watching=False)["state"] == "queued":
        pass
    assert "preview" not in see(fake_app, unseen.id, watching=False)
    while "preview" not in (view := see(fake_app, unseen.id, watching=True)):
        assert view["state"] == "running"
    assert view["preview"].startswith("data:image/")


def test_a_page_opens_on_its_own_unfinished_job_else_the_running_else_the_last(fake_app: App) -> None:
    assert job_to_show(fake_app, [])["job"] is None
    ended = fake_app.submit(request(), source="ui")
    ended.wait(60)
    fake_app.submit(request(), source="api").wait(60)
    assert job_to_show(fake_app, [])["job"] == ended.id
    fake_app.queue.pause()
    mine, newest = (fake_app.submit(request(), source="ui") for _ in range(2))
    assert job_to_show(fake_app, [])["job"] == newest.id
    assert job_to_show(fake_app, [mine.id])["job"] == mine.id
    assert job_to_show(fake_app, [ended.id])["job"] == newest.id


def test_a_preview_is_sent_whole_and_small() -> None:
    kind, _, encoded = data_url(Image.new("RGB", (4000, 2000))).partition(";base64,")
    assert kind == "data:image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (640, 320)


def test_a_tiny_preview_keeps_its_pixels() -> None:
    image = Image.effect_noise((16, 16), 80).convert("RGB")
    encoded = data_url(image).partition(";base64,")[2]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).tobytes() == image.tobytes()
