"""The Gallery tab in a real browser: pictures are found, opened, sent on, favoured, and thrown away."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import PROMPT, Site, draw
from webui.core.images import encode_png

pytestmark = pytest.mark.browser

TILES = "#gallery_panel .gallery-tile"
COUNT = "#gallery_panel .models-count"


@pytest.fixture(autouse=True)
def _pictures(site: Site) -> None:
    """An older collection, as another program left it."""
    folder = site.app.paths.outputs / "old"
    folder.mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(("red", "green", "blue")):
        path = folder / f"{colour}.png"
        path.write_bytes(
            encode_png(
                Image.new("RGB", (96, 64), colour), {"parameters": f"a {colour} <b>house</b>\nSteps: 9, Sampler: Euler, Seed: {number}"}
            )
        )
        moment = time.time() - 1000 * (number + 1)
        os.utime(path, (moment, moment))


def open_gallery(page: Page) -> None:
    page.get_by_role("tab", name="Gallery", exact=True).click()
    expect(page.locator(TILES).first).to_be_visible()


def test_every_picture_of_outputs_is_found_by_its_words(page: Page) -> None:
    draw(page, "just drawn")
    open_gallery(page)
    page.fill("#gallery_search", "just drawn")
    expect(page.locator(COUNT)).to_contain_text("1 picture")
    page.fill("#gallery_search", "house")
    expect(page.locator(TILES)).to_have_count(3)
    page.fill("#gallery_search", "house green")
    expect(page.locator(TILES)).to_have_count(1)
    page.wait_for_function(f"document.querySelector('{TILES} img').naturalWidth > 0")
    page.fill("#gallery_search", "nothing like it")
    expect(page.locator(COUNT)).to_have_text("Nothing fits this search.")


def test_a_picture_is_opened_walked_on_from_and_its_parameters_are_taken_over(page: Page) -> None:
    open_gallery(page)
    page.fill("#gallery_search", "house")
    expect(page.locator(TILES)).to_have_count(3)
    page.locator(TILES).first.locator("button").click()
    expect(page.locator(".viewer .infotext")).to_contain_text("a red <b>house</b>")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer .infotext")).to_contain_text("a green <b>house</b>")
    page.wait_for_function("document.querySelector('.viewer img').naturalWidth === 96")
    page.click("#gallery_paste")
    expect(page.locator(PROMPT)).to_have_value("a green <b>house</b>")


def test_a_picture_is_sent_to_img2img(page: Page) -> None:
    open_gallery(page)
    page.fill("#gallery_search", "red house")
    expect(page.locator(TILES)).to_have_count(1)
    page.locator(TILES).first.locator("button").click()
    page.click("#gallery_send_to_img2img")
    expect(page.locator("#img2img_image .canvas-facts")).to_have_text("96 × 64")
    expect(page.locator(".viewer")).to_be_hidden()


def test_chosen_pictures_are_zipped_favoured_and_thrown_away_together(page: Page, site: Site, tmp_path: Path) -> None:
    open_gallery(page)
    page.fill("#gallery_search", "house")
    expect(page.locator(TILES)).to_have_count(3)
    page.locator(f"{TILES} input").nth(0).check(force=True)
    page.locator(f"{TILES} input").nth(2).click(force=True, modifiers=["Shift"])
    expect(page.locator("#gallery_panel .gallery-many")).to_contain_text("3 chosen")
    with page.expect_download() as downloading:
        page.click("#gallery_zip")
    with zipfile.ZipFile(downloading.value.path()) as archive:
        assert sorted(archive.namelist()) == ["blue.png", "green.png", "red.png"]
        assert archive.read("red.png") == (site.app.paths.outputs / "old" / "red.png").read_bytes()
    page.locator(f"{TILES} input").nth(0).uncheck(force=True)
    page.click("#gallery_favour")
    expect(page.locator(f"{TILES}.favourite")).to_have_count(2)
    page.click("#gallery_favourites")
    expect(page.locator(TILES)).to_have_count(2)
    page.locator(f"{TILES} input").nth(0).uncheck(force=True)
    page.click("#gallery_delete")
    page.get_by_role("button", name="Click again").click()
    expect(page.locator(TILES)).to_have_count(1)
    assert len(list((site.app.paths.outputs / ".trash" / "old").iterdir())) == 1
