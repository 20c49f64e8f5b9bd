"""The inpaint tab in a real browser with the real engine and the demo model: what is drawn with the mouse is drawn anew, nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.person import Site, choose_picture, open_tab, result
from webui.core.images import decode_image

pytestmark = pytest.mark.browser

SIDE = 128
NOTICE = "#inpaint_results .notice"


@pytest.fixture(scope="module")
def site(real_site: Site) -> Site:
    """A server with the real engine."""
    return real_site


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Drag the brush through these parts (0..1) of the picture as it is seen."""
    page.evaluate("document.querySelector('#inpaint_image .canvas-stage').scrollIntoView({ block: 'center' })")
    box = page.locator("#inpaint_image .canvas-stage canvas").first.bounding_box()
    view = page.evaluate("(({ scale, x, y, ratio }) => [scale, x, y, ratio])(window.webui.canvas('inpaint_image').editor.view)")
    scale, left, top, ratio = view
    places = [(box["x"] + (x * SIDE * scale + left) / ratio, box["y"] + (y * SIDE * scale + top) / ratio) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def test_outside_the_drawn_mask_the_result_is_the_input_bit_for_bit_and_goes_on_to_other_tabs(page: Page, site: Site) -> None:
    open_tab(page, "inpaint")
    page.click("#inpaint_generate")
    expect(page.locator(NOTICE)).to_contain_text("There is no picture to start from.")
    choose_picture(page, "inpaint", photo())
    page.click("#inpaint_generate")
    expect(page.locator(NOTICE)).to_contain_text("Nothing is masked.")
    page.get_by_role("button", name="Outpainting").click()
    for amount, width in (("64", "192"), ("0", "128")):
        page.fill("#inpaint_outpaint_left input[type=number]", amount)
        expect(page.locator("#inpaint_width input[type=number]")).to_have_value(width)
    stroke(page, (0.3, 0.3), (0.6, 0.3))
    stroke(page, (0.8, 0.9), (0.9, 0.9))
    page.locator("#inpaint_image").get_by_role("button", name="Undo", exact=True).click()
    page.fill("#inpaint_prompt textarea", "a red apple")
    page.fill("#inpaint_steps input[type=number]", "4")
    page.fill("#inpaint_denoising_strength input[type=number]", "1")
    for name in ("mask_blur", "mask_blur_y"):
        page.fill(f"#inpaint_{name} input[type=number]", "0")
    with result(page, "inpaint", seconds=240):
        page.press("#inpaint_mask_blur_y input[type=number]", "Control+Enter")
    job = site.app.queue.jobs()[0]
    mask = np.asarray(decode_image(site.app.queue.inputs.read(job.request.mask)).convert("L")) > 0
    assert mask[int(0.3 * SIDE), int(0.45 * SIDE)]
    assert not mask[int(0.9 * SIDE), int(0.85 * SIDE)]
    before, after = np.asarray(photo()), np.asarray(Image.open(job.pictures[0].path).convert("RGB"))
    assert (before[~mask] == after[~mask]).all()
    assert (before[mask] != after[mask]).mean() > 0.5
    _mask_goes_along(page, site, job.request.mask)


def _mask_goes_along(page: Page, site: Site, mask: str) -> None:
    """To img2img and back the mask stays; a reload keeps it; a sent result takes the picture's place."""
    page.click("#inpaint_copy_to_img2img")
    expect(page.locator("#img2img_image .canvas-facts")).to_have_text(f"{SIDE} × {SIDE}")
    page.click("#img2img_copy_to_inpaint")
    expect(page.locator("#inpaint_generate")).to_be_visible()
    assert page.evaluate("window.webui.canvas('inpaint_image').ready()")["mask"] == mask
    site.open(page)
    open_tab(page, "inpaint")
    expect(page.locator("#inpaint_image .canvas-facts")).to_have_text(f"{SIDE} × {SIDE}")
    assert page.evaluate("window.webui.canvas('inpaint_image').ready()")["mask"] == mask
    expect(page.locator("#html_info_inpaint")).to_contain_text("a red apple")
    page.click("#inpaint_send_to_depth2img")
    expect(page.locator("#depth2img_image .canvas-facts")).to_have_text(f"{SIDE} × {SIDE}")
    expect(page.locator("#depth2img_prompt textarea")).to_have_value("a red apple")
