"""The hires fix's part of the form, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.model_files import SD1, write_model
from tests.ui.person import PROMPT, Site, draw, number, set_number

pytestmark = pytest.mark.browser

SECTION = "#txt2img_hr > button"


def unfold(page: Page) -> None:
    page.click(SECTION)
    page.wait_for_selector("#txt2img_enable_hr input", state="visible")


def test_it_is_folded_away_and_does_nothing_until_it_is_ticked(page: Page, site: Site) -> None:
    expect(page.locator("#txt2img_enable_hr")).to_be_hidden()
    draw(page, "small")
    assert not site.app.queue.jobs()[0].request.enable_hr


def test_its_title_says_how_large_the_picture_becomes_and_its_wishes_go_with_generate(page: Page, site: Site) -> None:
    unfold(page)
    page.check("#txt2img_enable_hr input")
    expect(page.locator(SECTION)).to_contain_text("from 128x128 to 256x256")
    set_number(page, "hr_scale", 1.5)
    page.press("#txt2img_hr_scale input[type=number]", "Enter")
    expect(page.locator(SECTION)).to_contain_text("to 192x192")
    set_number(page, "hr_resize_x", 320)
    page.press("#txt2img_hr_resize_x input[type=number]", "Enter")
    expect(page.locator(SECTION)).to_contain_text("to 320x320")
    page.fill("#txt2img_hr_prompt textarea", "a larger one")
    set_number(page, "hr_second_pass_steps", 3)
    draw(page, "large")
    request = site.app.queue.jobs()[0].request
    assert (request.enable_hr, request.hr_scale, request.hr_resize_x, request.hr_second_pass_steps) == (True, 1.5, 320, 3)
    assert (request.hr_prompt, request.hr_sampler, request.hr_upscaler) == ("a larger one", "", "Latent")


def test_a_checkpoint_that_came_after_the_page_was_built_can_draw_the_second_pass(page: Page, site: Site) -> None:
    write_model(site.app.paths.checkpoints[0] / "latecomer.safetensors", SD1)
    site.app.catalog.refresh()
    unfold(page)
    page.check("#txt2img_enable_hr input")
    page.click("#txt2img_hr_checkpoint input")
    page.get_by_role("option", name=re.compile("latecomer")).click()
    draw(page, "a persimmon drawn by two")
    assert site.app.queue.jobs()[0].request.hr_checkpoint == "latecomer.safetensors"


def test_a_pasted_second_pass_is_taken_over(page: Page) -> None:
    page.fill(
        PROMPT,
        "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 128x128, Denoising strength: 0.5, Hires upscale: 3, "
        "Hires steps: 4, Hires upscaler: Lanczos, Version: v1.10.1",
    )
    page.click("#paste")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(SECTION)).to_contain_text("to 384x384")
    unfold(page)
    assert page.is_checked("#txt2img_enable_hr input")
    assert (number(page, "hr_scale"), number(page, "hr_second_pass_steps"), number(page, "denoising_strength")) == ("3", "4", "0.5")
