"""What can be done with a finished picture, and going on for ever, as a person meets them."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.ui.person import INFOTEXT, LOG, NOTICE, PROMPT, STAGE_PICTURE, Site, choose_picture, draw, open_tab, result, touch

SEED = re.compile(r"Seed: (\d+)")


def seed_shown(page: Page) -> str:
    found = SEED.search(page.inner_text(INFOTEXT))
    assert found
    return found.group(1)


def test_again_draws_the_same_request_with_another_seed(page: Page) -> None:
    draw(page, "a mill, again")
    first = seed_shown(page)
    page.fill(PROMPT, "something else")
    page.click("#again_txt2img")
    expect(page.locator(INFOTEXT)).not_to_contain_text(f"Seed: {first}")
    expect(page.locator(INFOTEXT)).to_contain_text("a mill, again")


def test_vary_keeps_the_seed_and_draws_a_little_beside_it(page: Page) -> None:
    draw(page, "a mill, varied")
    first = seed_shown(page)
    page.click("#vary_txt2img")
    expect(page.locator(INFOTEXT)).to_contain_text("Variation seed strength: 0.15")
    assert seed_shown(page) == first


def test_a_result_is_compared_with_the_one_before(page: Page) -> None:
    draw(page, "the first of two")
    before = page.get_attribute(STAGE_PICTURE, "src")
    draw(page, "the second of two")
    after = page.get_attribute(STAGE_PICTURE, "src")
    page.click("#compare_txt2img")
    dialog = page.locator("dialog.compare")
    images = dialog.locator(".compare-stage img")
    assert [images.nth(place).get_attribute("src") for place in (0, 1)] == [before, after]
    page.keyboard.press("Home")
    expect(dialog.locator(".compare-stage")).to_have_attribute("style", "--at: 0%;")
    stage, slider = (dialog.locator(f".compare-{one}").bounding_box() for one in ("stage", "slider"))
    assert stage
    assert slider
    assert slider["y"] >= stage["y"] + stage["height"], "the slider stands below the pictures"
    page.mouse.click(stage["x"] + stage["width"] * 0.75, stage["y"] + 20)
    expect(dialog.locator(".compare-slider")).to_have_value("75")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_slider_between_two_pictures_follows_a_finger(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    try:
        page = context.new_page()
        site.open(page)
        for prompt in ("compared by touch, before", "compared by touch, after"):
            draw(page, prompt)
        page.tap("#compare_txt2img")
        over = page.locator("dialog.compare .compare-stage").bounding_box()
        assert over
        fingers, y = context.new_cdp_session(page), over["y"] + over["height"] / 2
        touch(fingers, "touchStart", (over["x"] + over["width"] / 2, y))
        for step in range(1, 6):
            touch(fingers, "touchMove", (over["x"] + over["width"] * (0.5 - 0.06 * step), y + 3 * step))
        touch(fingers, "touchEnd")
        page.wait_for_function("Math.abs(document.querySelector('.compare-slider').value - 20) <= 1")
    finally:
        context.close()
        site.settle()


def test_a_result_of_img2img_is_compared_with_the_picture_it_began_with(page: Page) -> None:
    open_tab(page, "img2img")
    choose_picture(page, "img2img", Image.new("RGB", (64, 64), "red"))
    with result(page, "img2img"):
        page.click("#img2img_generate")
    page.click("#compare_img2img")
    expect(page.locator("dialog.compare option").first).to_have_text("Compare with the picture it began with")
    expect(page.locator("dialog.compare img").first).to_have_attribute("src", re.compile("/inputs/"))
    page.keyboard.press("Escape")


def test_a_picture_is_deleted_into_the_trash_by_a_second_click(page: Page, site: Site) -> None:
    draw(page, "to be deleted", batch_count=2)
    job = next(job for job in site.app.queue.jobs() if job.request.prompt == "to be deleted")
    files = [picture.path for picture in job.pictures]
    page.click("#delete_txt2img")
    assert all(file.exists() for file in files)
    page.click("#delete_txt2img")
    expect(page.locator(LOG)).to_contain_text("outputs/.trash")
    assert sum(file.exists() for file in files) == 2  # of two pictures and their grid
    assert len(list((site.app.paths.outputs / ".trash").rglob("*.png"))) == 1
    expect(page.locator(STAGE_PICTURE)).to_be_visible()


def test_generating_goes_on_until_it_is_told_to_stop(page: Page, site: Site) -> None:
    page.fill(PROMPT, "for ever")
    page.click("#txt2img_generate", button="right")
    page.get_by_role("menuitem", name="Generate forever", exact=True).click()
    toggle = page.locator("#txt2img_generate_forever")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(page.locator(LOG)).to_contain_text("1 picture")
    first = seed_shown(page)
    expect(page.locator(INFOTEXT)).not_to_contain_text(f"Seed: {first}")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    assert len([job for job in site.app.queue.jobs() if job.request.prompt == "for ever"]) >= 2


@pytest.mark.parametrize("stop", ["the menu", "interrupt"])
def test_generating_for_ever_ends_by_the_menu_and_by_interrupt(page: Page, site: Site, stop: str) -> None:
    site.engine.step_seconds = 0.3
    page.fill(PROMPT, "for ever")
    page.click("#txt2img_generate_forever")
    expect(page.locator("#txt2img_interrupt")).to_be_visible()
    if stop == "interrupt":
        page.click("#txt2img_interrupt")
        expect(page.locator(LOG)).to_contain_text("Interrupted")
    else:
        page.click("#txt2img_generate", button="right")
        page.get_by_role("menuitem", name="Cancel generate forever").click()
    expect(page.locator("#txt2img_generate_forever")).to_have_attribute("aria-pressed", "false")


def test_what_is_refused_is_not_asked_for_for_ever(page: Page) -> None:
    page.fill("#txt2img_seed textarea, #txt2img_seed input", "no number")
    page.click("#txt2img_generate_forever")
    expect(page.locator(NOTICE)).to_be_visible()
    expect(page.locator("#txt2img_generate_forever")).to_have_attribute("aria-pressed", "false")


def test_the_end_is_told_by_a_sound_when_that_is_wanted(page: Page) -> None:
    page.evaluate("""() => {
        window.tones = 0;
        const create = AudioContext.prototype.createOscillator;
        AudioContext.prototype.createOscillator = function () { window.tones += 1; return create.call(this); };
    }""")
    draw(page, "silent")
    assert page.evaluate("tones") == 0
    page.click("#txt2img_notify")
    expect(page.locator("#txt2img_notify")).to_have_attribute("aria-pressed", "true")
    tried = page.evaluate("tones")
    assert tried > 0
    draw(page, "with a sound")
    page.wait_for_function("(tried) => tones > tried", arg=tried)
