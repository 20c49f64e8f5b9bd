"""The enlarged picture: as near as one wants, by wheel, mouse, keys and fingers, in the results and in the Gallery tab."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.ui.person import PICTURES, PROMPT, Site, draw, set_number, touch
from webui.core.request import GenerationRequest

pytestmark = pytest.mark.browser

LIGHTBOX = "dialog.lightbox[open]"
SIDE = 1600
NEAR = 1.5  # pixels


@pytest.fixture(scope="module", autouse=True)
def _pictures_alone(site: Site) -> None:
    """No grids before them."""
    site.app.change_settings({"return_grid": False})


@dataclass
class Shown:
    """Where the picture lies in the window, in pixels."""

    x: float
    y: float
    width: float

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.width / 2


def shown(page: Page, dialog: str = LIGHTBOX) -> Shown:
    box = page.locator(f"{dialog} .zoom-picture").bounding_box()
    assert box
    return Shown(box["x"], box["y"], box["width"])


def share(page: Page) -> Locator:
    """What the bar says of the scale."""
    return page.locator(f"{LIGHTBOX} .zoom-share")


def percent(page: Page) -> int:
    return int(share(page).inner_text().removesuffix(" %"))


def enlarge(page: Page, prompt: str, pictures: int = 1) -> Shown:
    """Draw large pictures and open the first; where it lies."""
    page.emulate_media(reduced_motion="reduce")  # so that it is at once where it shall be
    for name in ("width", "height"):
        set_number(page, name, SIDE)
    draw(page, prompt, batch_count=pictures)
    page.click("#txt2img_gallery .stage")
    page.wait_for_function(f"document.querySelector('{LIGHTBOX} .zoom-share')?.textContent")
    page.wait_for_function(f"document.querySelector('{LIGHTBOX} .zoom-picture').naturalWidth === {SIDE}")
    return shown(page)


def test_the_wheel_enlarges_about_the_pointer_and_the_hand_moves_the_picture(page: Page) -> None:
    whole = enlarge(page, "a picture for the wheel")
    at = whole.x + whole.width * 0.45, whole.y + whole.width * 0.45
    before = percent(page)
    page.mouse.move(*at)
    page.mouse.wheel(0, -500)
    expect(share(page)).not_to_have_text(f"{before} %")
    near = shown(page)
    assert near.width > whole.width * 1.5
    # What was there in the picture still lies under the pointer.
    assert near.x + near.width * 0.45 == pytest.approx(at[0], abs=NEAR)
    assert near.y + near.width * 0.45 == pytest.approx(at[1], abs=NEAR)
    page.mouse.down()
    page.mouse.move(at[0] - 60, at[1] - 40, steps=4)
    page.mouse.up()
    moved = shown(page)
    assert moved.x == pytest.approx(near.x - 60, abs=NEAR)
    assert moved.y == pytest.approx(near.y - 40, abs=NEAR)
    page.keyboard.press("0")
    assert shown(page).width == pytest.approx(whole.width, abs=NEAR)


def test_a_double_click_shows_the_pictures_own_pixels_and_another_one_all_of_it(page: Page) -> None:
    whole = enlarge(page, "a picture for a double click")
    page.mouse.dblclick(*whole.middle)
    expect(share(page)).to_have_text("100 %")
    assert shown(page).width == pytest.approx(SIDE, abs=NEAR)
    # A hand at rest is no third click of the two before.
    page.wait_for_function("(since) => performance.now() - since > 400", arg=page.evaluate("performance.now()"))
    page.mouse.dblclick(*whole.middle)
    expect(share(page)).not_to_have_text("100 %")
    assert shown(page).width == pytest.approx(whole.width, abs=NEAR)


def test_keys_enlarge_and_move_it_and_step_between_pictures_when_it_is_whole(page: Page) -> None:
    whole = enlarge(page, "three pictures for the keys", 3)
    image = page.locator(f"{LIGHTBOX} .zoom-picture")
    addresses = page.eval_on_selector_all(f"{PICTURES} img", "images => images.map((image) => image.getAttribute('src'))")
    for _ in range(3):
        page.keyboard.press("+")
    near = shown(page)
    assert near.width == pytest.approx(whole.width * 1.25**3, abs=NEAR)
    page.keyboard.press("ArrowDown")
    assert shown(page).y == pytest.approx(near.y - 80, abs=NEAR)
    page.keyboard.press("ArrowRight")
    expect(image).to_have_attribute("src", addresses[0])
    for _ in range(4):
        page.keyboard.press("-")
    assert shown(page).width == pytest.approx(whole.width, abs=NEAR)
    page.keyboard.press("ArrowRight")
    expect(image).to_have_attribute("src", addresses[1])
    expect(image).to_have_attribute("alt", "Picture 2 of 3")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(image).to_have_attribute("src", addresses[2])


def test_the_next_picture_is_shown_whole(page: Page) -> None:
    enlarge(page, "two pictures, one after another", 2)
    before = share(page).inner_text()
    for _ in range(4):
        page.get_by_role("button", name="Zoom in", exact=True).click()
    expect(share(page)).not_to_have_text(before)
    page.get_by_role("button", name="Next picture", exact=True).click()
    expect(share(page)).to_have_text(before)


def test_a_picture_is_never_moved_out_of_sight(page: Page) -> None:
    whole = enlarge(page, "a picture that is pushed")
    page.keyboard.press("1")
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    width = page.evaluate("innerWidth")
    right = shown(page).x + SIDE
    assert whole.x + whole.width - NEAR <= right <= width + NEAR
    page.keyboard.press("0")
    page.mouse.move(*whole.middle)
    page.mouse.down()
    page.mouse.move(whole.middle[0] + 200, whole.middle[1], steps=3)
    page.mouse.up()
    assert shown(page).x == pytest.approx(whole.x, abs=NEAR)


def test_a_click_beside_the_picture_closes_it(page: Page) -> None:
    whole = enlarge(page, "a picture that is closed")
    page.mouse.click(*whole.middle)
    expect(page.locator(LIGHTBOX)).to_be_visible()
    page.mouse.click(whole.x / 2, whole.middle[1])
    expect(page.locator(LIGHTBOX)).to_have_count(0)
    expect(page.locator("#txt2img_gallery .stage")).to_be_focused()


def test_two_fingers_enlarge_it_on_a_phone_one_moves_it_and_a_swipe_goes_on(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, reduced_motion="reduce")
    try:
        page = context.new_page()
        site.open(page)
        for name in ("width", "height"):
            set_number(page, name, SIDE)
        set_number(page, "batch_count", 2)
        page.fill(PROMPT, "two pictures on a phone")
        page.tap("#txt2img_generate")
        expect(page.locator("#html_log_txt2img")).to_contain_text("2 pictures ·", timeout=60_000)
        page.tap("#txt2img_gallery .stage")
        image = page.locator(f"{LIGHTBOX} .zoom-picture")
        page.wait_for_function(f"document.querySelector('{LIGHTBOX} .zoom-picture')?.style.width")
        whole = shown(page)
        assert whole.x >= 0
        assert whole.width <= 390
        fingers = context.new_cdp_session(page)
        x, y = whole.middle
        touch(fingers, "touchStart", (x - 20, y))
        touch(fingers, "touchStart", (x - 20, y), (x + 20, y))
        for step in range(1, 7):
            touch(fingers, "touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
        touch(fingers, "touchEnd")
        page.wait_for_function(f"document.querySelector('{LIGHTBOX} .zoom-stage.zoomed') !== null")
        near = shown(page)
        assert near.width > whole.width * 2
        assert near.middle[0] == pytest.approx(x, abs=12)
        touch(fingers, "touchStart", (200, 300))
        for step in range(1, 6):
            touch(fingers, "touchMove", (200 - 12 * step, 300))
        touch(fingers, "touchEnd")
        page.wait_for_function(
            "(x) => document.querySelector('dialog.lightbox[open] .zoom-picture').getBoundingClientRect().x < x - 30", arg=near.x
        )
        assert page.evaluate("visualViewport.scale") == 1, "the browser's own zoom stays out of it"
        page.get_by_role("button", name="Whole picture", exact=True).click()
        page.wait_for_function("!document.querySelector('dialog.lightbox[open] .zoom-stage.zoomed')")
        source = image.get_attribute("src")
        touch(fingers, "touchStart", (300, 300))
        for step in range(1, 6):
            touch(fingers, "touchMove", (300 - 40 * step, 300))
        touch(fingers, "touchEnd")
        expect(image).not_to_have_attribute("src", str(source))
    finally:
        context.close()


def test_a_picture_of_the_gallery_tab_is_enlarged_the_same_way(page: Page, site: Site) -> None:
    page.emulate_media(reduced_motion="reduce")
    for prompt in ("an older mill", "a newer mill"):
        site.app.submit(GenerationRequest(prompt=prompt, width=1024, height=1024, steps=3), source="api").wait(60)
    page.get_by_role("tab", name="Gallery", exact=True).click()
    page.fill("#gallery_search", "newer mill")
    expect(page.locator("#gallery_panel .models-count")).to_have_text("1 picture")
    page.fill("#gallery_search", "mill")
    expect(page.locator("#gallery_panel .models-count")).to_have_text("2 pictures")
    page.locator("#gallery_panel .gallery-open").first.click()
    dialog = "dialog.viewer[open]"
    page.wait_for_function(f"document.querySelector('{dialog} .zoom-share')?.textContent")
    whole, words = shown(page, dialog), page.locator(f"{dialog} .infotext")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert shown(page, dialog).width == pytest.approx(whole.width * 1.25, abs=NEAR)
    expect(words).to_contain_text("newer mill")
    page.keyboard.press("0")
    page.keyboard.press("ArrowRight")
    expect(words).to_contain_text("an older mill")
    page.keyboard.press("Escape")
