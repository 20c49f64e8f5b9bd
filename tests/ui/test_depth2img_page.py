"""The depth2img tab in a real browser."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.catalog.model_files import SD1, UNET_INPUT, write_model
from tests.ui.person import Site, choose_picture, open_tab, result

pytestmark = pytest.mark.browser

TEAL = Image.new("RGB", (128, 128), "teal")


@pytest.fixture
def depth_checkpoint(site: Site) -> None:
    """A checkpoint that sees depth, and is the one that a page begins with."""
    write_model(site.app.paths.checkpoints[0] / "deep.safetensors", {**SD1, UNET_INPUT: (2, 5, 1, 1)})
    site.app.catalog.refresh()
    site.app.settings.change({"sd_model_checkpoint": "deep.safetensors"})


def test_another_checkpoint_says_what_to_put_where(page: Page, site: Site) -> None:
    open_tab(page, "depth2img")
    choose_picture(page, "depth2img", TEAL)
    page.fill("#depth2img_prompt textarea", "a house")
    page.click("#depth2img_generate")
    expect(page.locator("#depth2img_results")).to_contain_text("depth ControlNet")
    assert not site.app.queue.jobs()


def test_a_job_keeps_the_depth_and_the_depth_is_shown_beside_the_picture(depth_checkpoint: None, page: Page, site: Site) -> None:
    open_tab(page, "depth2img")
    page.click("#depth2img_show_depth")
    expect(page.locator("#depth2img_depth_view .notice")).to_contain_text("There is no picture")
    choose_picture(page, "depth2img", TEAL)
    page.click("#depth2img_show_depth")
    expect(page.locator("#depth2img_depth_view img")).to_have_count(2)
    page.fill("#depth2img_prompt textarea", "a house")
    with result(page, "depth2img"):
        page.click("#depth2img_generate")
    request = site.app.queue.jobs()[0].request
    assert len(request.init_images) == 1
    assert request.use_depth
