"""A tab's picture in words, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import Site, choose_picture, open_tab
from webui.app import App
from webui.ui.describe import described, offered

PICTURE = Image.new("RGB", (96, 64), "teal")


@pytest.fixture
def taggers(site: Site) -> Iterator[None]:
    """Two of them, while a test lasts."""
    folder = site.app.paths.models / "Taggers"
    for name in ("wd-a", "wd-b"):
        (folder / name).mkdir(parents=True)
        for file in ("model.onnx", "selected_tags.csv"):
            (folder / name / file).touch()
    yield
    shutil.rmtree(folder)


def test_who_describes_is_offered_by_what_lies_in_models(fake_app: App) -> None:
    assert offered(fake_app) == []
    stored = fake_app.queue.inputs.add(PICTURE)
    assert "captioner" in described(fake_app, stored, "")["message"]
    (fake_app.paths.models / "BLIP").mkdir(parents=True)
    (fake_app.paths.models / "BLIP" / "config.json").write_text("{}")
    assert offered(fake_app) == [{"name": "clip", "title": "Sentence (BLIP)"}]
    assert described(fake_app, stored, "") == {"text": "a picture of 96x64"}
    assert "message" in described(fake_app, "0" * 64, "")
    assert "message" in described(fake_app, "../../etc", "")


@pytest.mark.browser
def test_what_a_tagger_says_goes_behind_the_prompt(taggers: None, page: Page) -> None:
    open_tab(page, "img2img")
    choose_picture(page, "img2img", PICTURE)
    page.fill("#img2img_prompt textarea", "words of the describing test")
    page.select_option("#img2img_describe .describe-choice", "wd-b")
    page.click("#img2img_describe .describe-button")
    expect(page.locator("#img2img_prompt textarea")).to_have_value("words of the describing test, 96 wide, by wd-b")


@pytest.mark.browser
def test_without_a_picture_or_anybody_to_describe_it_the_tab_says_what_is_missing(page: Page) -> None:
    open_tab(page, "inpaint")
    page.click("#inpaint_describe .describe-button")
    expect(page.locator("#inpaint_results")).to_contain_text("There is no picture to describe")
    choose_picture(page, "inpaint", PICTURE)
    expect(page.locator("#inpaint_describe .describe-choice")).to_be_hidden()
    page.click("#inpaint_describe .describe-button")
    expect(page.locator("#inpaint_results")).to_contain_text("Put a BLIP model")
