"""The Queue tab's list and actions, and the tab in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import Site
from webui.app import App
from webui.core.request import GenerationRequest
from webui.ui.queue_tab import change, queue_as_shown


def request(prompt: str) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, width=64, height=64, steps=3)


def prompts(app: App) -> list[str]:
    return [job["prompt"] for job in queue_as_shown(app)["jobs"] if job["state"] == "queued"]


@pytest.fixture
def waiting(fake_app: App) -> App:
    """An app with three jobs that wait."""
    fake_app.queue.pause()
    for prompt in ("a", "b", "c"):
        fake_app.submit(request(prompt), source="ui")
    return fake_app


@pytest.mark.parametrize(("action", "wanted"), [("up", ["a", "c", "b"]), ("front", ["c", "a", "b"]), ("cancel", ["a", "b"])])
def test_an_action_on_the_last_job(waiting: App, action: str, wanted: list[str]) -> None:
    last = next(job for job in waiting.queue.jobs() if job.request.prompt == "c")
    change(waiting, action, last.id)
    assert prompts(waiting) == wanted


def test_cancel_all_empties_the_queue(waiting: App) -> None:
    change(waiting, "cancel_all", None)
    assert {job["state"] for job in queue_as_shown(waiting)["jobs"]} == {"cancelled"}


def test_resume_lets_the_jobs_run(waiting: App) -> None:
    assert queue_as_shown(waiting)["paused"]
    assert not change(waiting, "resume", None)["paused"]
    assert {job.wait(20) and job.state for job in waiting.queue.jobs()} == {"finished"}


def test_an_action_that_cannot_be_done_says_why(waiting: App) -> None:
    answer = change(waiting, "up", "no such job")
    assert "no such job" in answer["error"]
    assert len(answer["jobs"]) == 3


@pytest.mark.browser
def test_the_tab_lists_reorders_cancels_and_pauses(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="Queue").click()
    page.click("#queue_pause")
    expect(page.locator("#queue_pause")).to_have_text("Resume the queue")
    assert site.app.queue.paused
    for prompt in ("one", "two", "three"):
        site.app.submit(request(prompt), source="api")
    row = page.locator("#queue_list .job[data-state=queued]")
    expect(row.locator(".job-prompt")).to_have_text(["one", "two", "three"])
    row.nth(2).get_by_role("button", name="Draw next").click()
    expect(row.locator(".job-prompt")).to_have_text(["three", "one", "two"])
    row.nth(1).get_by_role("button", name="Cancel").click()
    expect(row.locator(".job-prompt")).to_have_text(["three", "two"])
    page.click("#queue_pause")
    expect(row).to_have_count(0)
    ended = {job.request.prompt: job.wait(20) and job.state for job in site.app.queue.jobs()}
    assert (ended["one"], ended["two"], ended["three"]) == ("cancelled", "finished", "finished")


@pytest.mark.browser
def test_cancel_all_needs_a_second_click(page: Page, site: Site) -> None:
    site.app.queue.pause()
    job = site.app.submit(request("cancelled"), source="api")
    page.get_by_role("tab", name="Queue").click()
    page.click("#queue_cancel_all")
    expect(page.locator("#queue_cancel_all")).to_have_text("Click again to cancel all")
    assert job.state == "queued"
    page.click("#queue_cancel_all")
    job.wait(20)
    assert job.state == "cancelled"


@pytest.mark.browser
def test_the_list_is_asked_for_only_while_it_is_seen(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "component_server" in request.url else None)
    page.wait_for_timeout(1500)
    assert not [body for body in asked if "list_jobs" in body]
    page.get_by_role("tab", name="Queue").click()
    page.wait_for_timeout(1500)
    assert len([body for body in asked if "list_jobs" in body]) >= 2
