"""The img2img tab in a real browser: its picture, its size, its batch, and that it is a tab of its own."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import INFOTEXT, SLOW, STAGE_PICTURE, Site, choose_picture, draw, open_tab, result
from webui.core.images import decode_image, encode_png

pytestmark = pytest.mark.browser

GENERATE = "#img2img_generate"
PROMPT = "#img2img_prompt textarea"
NOTICE = "#img2img_results .notice"
TEAL = Image.new("RGB", (200, 136), "teal")


def test_without_a_picture_it_says_what_is_missing(page: Page, site: Site) -> None:
    open_tab(page, "img2img")
    page.click(GENERATE)
    expect(page.locator(NOTICE)).to_contain_text("There is no picture to start from.")
    assert not [job for job in site.app.queue.jobs() if job.source == "ui img2img"]


def test_a_chosen_picture_is_drawn_from_and_everything_is_there_after_a_reload(page: Page, site: Site) -> None:
    open_tab(page, "img2img")
    choose_picture(page, "img2img", TEAL)
    page.click("#img2img_detect_image_size_btn")
    expect(page.locator("#img2img_width input[type=number]")).to_have_value("200")
    page.fill(PROMPT, "a teal sea")
    page.fill("#img2img_denoising_strength input[type=number]", "0.4")
    page.fill("#img2img_extra_noise :is(input, textarea)", "0.05")
    with result(page, "img2img"):
        page.press(PROMPT, "Control+Enter")
    job = site.app.queue.jobs()[0]
    assert (job.request.prompt, job.request.denoising_strength, job.request.width, job.request.height) == ("a teal sea", 0.4, 200, 136)
    assert (job.request.noise_multiplier, job.settings.img2img_extra_noise) == (None, 0.05)
    assert decode_image(site.app.queue.inputs.read(job.request.init_images[0])).tobytes() == TEAL.tobytes()
    site.open(page)
    expect(page.locator(INFOTEXT)).not_to_contain_text("a teal sea")
    open_tab(page, "img2img")
    expect(page.locator(PROMPT)).to_have_value("a teal sea")
    expect(page.locator("#html_info_img2img")).to_contain_text("a teal sea")
    expect(page.locator("#img2img_image .canvas-facts")).to_have_text("200 × 136")
    with result(page, "img2img"):
        page.click(GENERATE)
    assert site.app.queue.jobs()[0].request.init_images == job.request.init_images


def test_the_size_follows_from_the_pictures_by_a_factor(page: Page, site: Site) -> None:
    open_tab(page, "img2img")
    choose_picture(page, "img2img", TEAL)
    page.get_by_role("radio", name="Resize by").and_(page.locator("#img2img_resize input")).check()
    expect(page.locator("#img2img_width")).to_be_hidden()
    page.fill("#img2img_scale input[type=number]", "1.5")
    page.press("#img2img_scale input[type=number]", "Enter")
    expect(page.locator("#img2img_scale")).to_contain_text("from 200x136 to 296x200")
    with result(page, "img2img"):
        page.click(GENERATE)
    request = site.app.queue.jobs()[0].request
    assert (request.width, request.height) == (296, 200)


def test_two_tabs_jobs_do_not_disturb_each_other(page: Page, site: Site) -> None:
    infotext = draw(page, "in the first tab")
    open_tab(page, "img2img")
    choose_picture(page, "img2img", TEAL)
    page.fill(PROMPT, "in the second tab")
    site.engine.step_seconds = SLOW
    page.click(GENERATE)
    expect(page.locator("#img2img_interrupt")).to_be_visible()
    page.get_by_role("tab", name="txt2img", exact=True).click()
    expect(page.locator("#txt2img_interrupt")).to_be_hidden()
    assert page.inner_text(INFOTEXT) == infotext
    page.keyboard.press("Escape")
    assert site.app.queue.jobs()[0].state in ("queued", "running")
    open_tab(page, "img2img")
    page.keyboard.press("Escape")
    expect(page.locator("#html_log_img2img")).to_contain_text("Interrupted")


def test_every_uploaded_picture_of_a_batch_becomes_a_job_and_all_are_shown_together(page: Page, site: Site) -> None:
    open_tab(page, "img2img")
    page.click("#img2img_batch > button")
    page.locator("#img2img_batch_source").get_by_label("Uploaded files").check()
    files = [
        {"name": f"{name}.png", "mimeType": "image/png", "buffer": encode_png(Image.new("RGB", (64, 64), name), {})}
        for name in ("red", "blue")
    ]
    page.locator("#img2img_batch_files input[type=file]").set_input_files(files)
    expect(page.locator("#img2img_batch_files li")).to_have_count(2)
    page.fill(PROMPT, "each of them")
    with result(page, "img2img", "2 pictures ·"):
        page.click(GENERATE)
    expect(page.locator("#img2img_gallery .thumb[data-id]")).to_have_count(2)
    jobs = [job for job in site.app.queue.jobs() if job.request.prompt == "each of them"]
    stored = [decode_image(site.app.queue.inputs.read(job.request.init_images[0])).getpixel((0, 0)) for job in jobs]
    assert sorted(stored) == [(0, 0, 255), (255, 0, 0)]
    assert jobs[0].request.seed == jobs[1].request.seed


def test_a_result_is_sent_with_its_parameters_and_drawn_again_with_hires(page: Page, site: Site) -> None:
    page.fill("#txt2img_steps input[type=number]", "7")
    draw(page, "sent on")
    picture = site.app.queue.jobs()[0].pictures[0]
    page.click("#txt2img_send_to_img2img")
    expect(page.locator(PROMPT)).to_have_value("sent on")
    expect(page.locator("#img2img_image .canvas-facts")).to_have_text("128 × 128")
    expect(page.locator("#img2img_steps input[type=number]")).to_have_value("7")
    expect(page.locator("#img2img_seed :is(input, textarea)")).to_have_value(str(picture.request.seed))
    with result(page, "img2img"):
        page.click(GENERATE)
    sent = decode_image(site.app.queue.inputs.read(site.app.queue.jobs()[0].request.init_images[0]))
    assert sent.tobytes() == Image.open(picture.path).convert("RGB").tobytes()
    page.get_by_role("tab", name="txt2img", exact=True).click()
    with result(page, "txt2img"):
        page.click("#txt2img_upscale")
    again = site.app.queue.jobs()[0].request
    assert (again.enable_hr, again.seed, again.prompt, again.hr_scale) == (True, picture.request.seed, "sent on", 2.0)
    expect(page.locator(STAGE_PICTURE)).to_be_visible()
