"""The Queue tab's list and actions, and the tab in a real browser."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.ui.person import PROMPT, Site, touch
from webui.app import App
from webui.core.request import GenerationRequest
from webui.ui.queue_tab import change, queue_as_shown, take_back


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
    assert {job.wait(60) and job.state for job in waiting.queue.jobs()} == {"finished"}


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
    ended = {job.request.prompt: job.wait(60) and job.state for job in site.app.queue.jobs()}
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
    job.wait(60)
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


def job_of(app: App, prompt: str) -> str:
    return next(job.id for job in app.queue.jobs() if job.request.prompt == prompt)


def test_a_job_is_moved_to_the_place_where_it_was_dropped(waiting: App) -> None:
    change(waiting, "move", job_of(waiting, "a"), place=1)
    assert prompts(waiting) == ["b", "a", "c"]


def test_a_duplicate_has_the_same_request_and_settings_but_another_seed(waiting: App) -> None:
    original = waiting.queue.job(job_of(waiting, "a"))
    waiting.change_settings({"CLIP_stop_at_last_layers": 2})
    change(waiting, "duplicate", original.id)
    assert prompts(waiting) == ["a", "b", "c", "a"]
    copy = waiting.queue.jobs()[-1]
    assert copy.request.seed != original.request.seed
    assert copy.request.changed(seed=0) == original.request.changed(seed=0)
    assert copy.settings == original.settings


def test_a_cancelled_job_is_tried_again_just_as_it_was(waiting: App) -> None:
    original = waiting.queue.job(job_of(waiting, "b"))
    change(waiting, "cancel", original.id)
    change(waiting, "retry", original.id)
    assert prompts(waiting) == ["a", "c", "b"]
    assert waiting.queue.jobs()[2].request == original.request


def test_a_job_that_is_edited_leaves_the_queue_with_all_it_was_asked_for(fake_app: App) -> None:
    fake_app.queue.pause()
    asked = GenerationRequest(prompt="edit me", width=64, height=128, steps=7, seed=2**62, subseed_strength=0.5, eta=0.3)
    job = fake_app.submit(asked, overrides={"CLIP_stop_at_last_layers": 2}, source="api")
    taken = take_back(fake_app, job.id)
    assert taken["tab"] == "txt2img"
    assert taken["picture"] is None
    values = taken["values"]
    assert (values["prompt"], values["height"], values["steps"], values["seed"]) == ("edit me", 128, 7, str(2**62))
    assert (values["subseed_strength"], values["extra"]) == (0.5, True)
    assert values["overrides"] == {"settings": {"CLIP_stop_at_last_layers": 2}, "request": {"eta": 0.3}}
    assert job.state == "cancelled"


def test_a_job_with_a_picture_and_a_mask_is_edited_in_inpaint(fake_app: App) -> None:
    fake_app.queue.pause()
    picture, mask = (fake_app.queue.inputs.add(Image.new(mode, (64, 48), 255)) for mode in ("L", "1"))
    job = fake_app.submit(request("paint").changed(init_images=(picture,), mask=mask), source="api")
    taken = take_back(fake_app, job.id)
    assert taken["tab"] == "inpaint"
    assert taken["picture"] == {"picture": picture, "mask": mask, "width": 64, "height": 48}


def test_only_so_much_of_the_past_is_listed_as_is_asked_for(fake_app: App) -> None:
    for number in range(4):
        fake_app.submit(request(str(number)), source="api").wait(20)
    listed = queue_as_shown(fake_app, ended=3)
    assert [job["prompt"] for job in listed["jobs"]] == ["3", "2", "1"]
    assert listed["past"] == 4
    assert listed["jobs"][0]["thumbnail"].startswith("pictures/")


@pytest.mark.browser
def test_jobs_are_reordered_by_dragging(page: Page, site: Site) -> None:
    site.app.queue.pause()
    for prompt in ("one", "two", "three"):
        site.app.submit(request(prompt), source="api")
    page.get_by_role("tab", name="Queue").click()
    row = page.locator("#queue_list .job[data-state=queued]")
    expect(row.locator(".job-prompt")).to_have_text(["one", "two", "three"])
    row.nth(2).drag_to(row.nth(0), target_position={"x": 200, "y": 5})
    expect(row.locator(".job-prompt")).to_have_text(["three", "one", "two"])
    # The rows lie in the new order while they are dragged; the queue has it once they were dropped.
    page.wait_for_function("!document.querySelector('#queue_list .dragged')")
    expect(row.nth(0).get_by_role("button", name="Move up")).to_be_hidden()
    assert prompts(site.app) == ["three", "one", "two"]


@pytest.mark.browser
def test_jobs_are_reordered_by_the_arrow_keys_on_a_handle(page: Page, site: Site) -> None:
    site.app.queue.pause()
    for prompt in ("key one", "key two", "key three"):
        site.app.submit(request(prompt), source="api")
    page.get_by_role("tab", name="Queue").click()
    row = page.locator("#queue_list .job[data-state=queued]")
    expect(row.locator(".job-prompt")).to_have_text(["key one", "key two", "key three"])
    row.nth(0).locator(".grip").press("ArrowDown")
    expect(row.locator(".job-prompt")).to_have_text(["key two", "key one", "key three"])
    expect(row.nth(1).locator(".grip")).to_be_focused()
    row.nth(1).locator(".grip").press("ArrowUp")
    expect(row.locator(".job-prompt")).to_have_text(["key one", "key two", "key three"])
    assert prompts(site.app) == ["key one", "key two", "key three"]


@pytest.mark.browser
def test_a_finger_on_the_handle_moves_a_job_and_beside_it_scrolls(browser: Browser, site: Site) -> None:
    site.settle()
    site.app.queue.pause()
    for prompt in ("touched one", "touched two", "touched three"):
        site.app.submit(request(prompt), source="api")
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    try:
        page = context.new_page()
        site.open(page)
        page.evaluate("window.webui.showTab('queue')")
        row = page.locator("#queue_list .job[data-state=queued]")
        expect(row.locator(".job-prompt")).to_have_text(["touched one", "touched two", "touched three"])
        fingers = context.new_cdp_session(page)
        start, end = row.nth(0).locator(".grip").bounding_box(), row.nth(2).bounding_box()
        assert start
        assert end
        x, y, last = start["x"] + 10, start["y"] + 10, end["y"] + end["height"] - 5
        touch(fingers, "touchStart", (x, y))
        for step in range(1, 11):
            touch(fingers, "touchMove", (x, y + (last - y) * step / 10))
        touch(fingers, "touchEnd")
        page.wait_for_function("!document.querySelector('#queue_list .dragged')")
        expect(row.locator(".job-prompt")).to_have_text(["touched two", "touched three", "touched one"])
        assert prompts(site.app) == ["touched two", "touched three", "touched one"]
        text = row.nth(0).locator(".job-prompt").bounding_box()
        assert text
        touch(fingers, "touchStart", (text["x"] + 20, text["y"] + 5))
        for step in range(1, 8):
            touch(fingers, "touchMove", (text["x"] + 20, text["y"] + 5 + 20 * step))
        touch(fingers, "touchEnd")
        assert prompts(site.app) == ["touched two", "touched three", "touched one"]
    finally:
        context.close()
        site.settle()


@pytest.mark.browser
def test_a_waiting_job_is_edited_in_its_tab(page: Page, site: Site) -> None:
    site.app.queue.pause()
    site.app.submit(request("to be edited").changed(cfg_scale=3.5), source="api")
    page.get_by_role("tab", name="Queue").click()
    page.locator("#queue_list .job[data-state=queued]").get_by_role("button", name="Edit in its tab").click()
    expect(page.locator(PROMPT)).to_have_value("to be edited")
    expect(page.locator("#txt2img_cfg_scale input[type=number]")).to_have_value("3.5")
    assert "to be edited" not in prompts(site.app)


@pytest.mark.browser
def test_a_failed_job_is_tried_again_and_a_finished_one_shows_its_picture(page: Page, site: Site) -> None:
    site.app.submit(request("fail"), source="api").wait(20)
    site.app.submit(request("done"), source="api").wait(20)
    page.get_by_role("tab", name="Queue").click()
    done = page.locator("#queue_list .job[data-state=finished]", has_text="done").first
    page.wait_for_function("(image) => image.naturalWidth > 0", arg=done.locator("img").element_handle())
    expect(done.get_by_role("button", name="Try again")).to_be_hidden()
    site.app.queue.pause()
    page.locator("#queue_list .job[data-state=failed]").first.get_by_role("button", name="Try again").click()
    expect(page.locator("#queue_list .job[data-state=queued] .job-prompt")).to_have_text(["fail"])
