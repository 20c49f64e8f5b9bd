"""Everyone can use the page: axe-core finds nothing serious on any tab, it fits a phone, and it can be read from right to left."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.model_files import LORA, write_model
from tests.ui.person import PROMPT, Site, draw, open_tab
from webui.core.request import GenerationRequest

AXE = (Path(__file__).parent / "assets" / "axe.min.js").read_text(encoding="utf-8")
DRAWING = ("txt2img", "img2img", "inpaint", "depth2img")
OTHERS = ("Extras", "PNG Info", "Models", "Gallery", "Queue", "Settings")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module", autouse=True)
def something_to_show(site: Site) -> None:
    """Models, pictures and jobs, so that no tab is empty."""
    write_model(site.app.paths.data / "models" / "Lora" / "ink style.safetensors", LORA)
    site.app.catalog.refresh()
    for prompt in ("a mill (badly written", "fail"):
        site.app.submit(GenerationRequest(prompt=prompt, width=64, height=64, steps=3), source="ui").wait(20)


def violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical, and where."""
    found: list[str] = page.evaluate("""async () => {
        const { violations } = await axe.run(document, { resultTypes: ["violations"] });
        return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
            .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`));
    }""")
    return found


def left_of(page: Page, element: str) -> float:
    """Where an element begins, in pixels."""
    box = page.locator(element).bounding_box()
    assert box
    return box["x"]


def show(page: Page, tab: str) -> None:
    """Open a tab by its button, which a phone keeps in a menu."""
    button = page.get_by_role("tab", name=tab, exact=True)
    if button.count() and button.first.is_visible():
        button.first.click()
    else:
        page.evaluate("(id) => window.webui.showTab(id)", {"PNG Info": "pnginfo"}.get(tab, tab.lower()))
    expect(page.locator(f"#tab_{ {'PNG Info': 'pnginfo'}.get(tab, tab.lower()) }")).to_be_visible()


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_serious_on_any_tab(page: Page, look: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    if look == "phone":
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", look == "dark")
    page.evaluate(AXE)
    draw(page, "a mill")
    found: dict[str, list[str]] = {}
    for tab in (*DRAWING, *OTHERS):
        show(page, tab)
        if tab == "txt2img":
            page.click("#txt2img_extra_networks_button")
            expect(page.locator("#txt2img_extra_networks .card").first).to_be_visible()
            for section in page.locator("#tab_txt2img .label-wrap").all():
                section.click()
        found[tab] = violations(page)
    assert {tab: list_ for tab, list_ in found.items() if list_} == {}


def test_axe_finds_nothing_serious_in_a_dialog(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(AXE)
    draw(page, "one")
    draw(page, "two")
    buttons = {
        "dialog.history": "txt2img_prompt_history",
        "dialog.styles": "txt2img_styles_edit_button",
        "dialog.compare": "compare_txt2img",
        "dialog.lightbox": "txt2img_gallery .stage",
    }
    for dialog, button in buttons.items():
        page.click(f"#{button}")
        expect(page.locator(f"{dialog}[open]")).to_be_visible()
        assert violations(page) == [], dialog
        page.keyboard.press("Escape")
        expect(page.locator(f"{dialog}[open]")).to_have_count(0)


def test_a_phone_shows_every_tab_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    wide: dict[str, int] = {}
    for tab in (*DRAWING, *OTHERS):
        show(page, tab)
        wide[tab] = page.evaluate("document.documentElement.scrollWidth")
    assert {tab: width for tab, width in wide.items() if width > PHONE["width"]} == {}


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_can_be_laid_out_from_right_to_left(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.documentElement.dir = 'rtl'")
    for tab in DRAWING:
        open_tab(page, tab) if width > 400 else show(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    show(page, "txt2img")
    if width > 400:
        assert left_of(page, "#txt2img_settings") > left_of(page, "#txt2img_results_column")
    assert left_of(page, "#txt2img_token_counter") < width / 2, "the counter stands at the line's end, which is left"


def test_motion_stops_for_whoever_wants_none(page: Page, site: Site) -> None:
    page.emulate_media(reduced_motion="reduce")
    site.engine.step_seconds = 0.2
    page.fill(PROMPT, "slow")
    page.click("#txt2img_generate")
    expect(page.locator("#txt2img_interrupt")).to_be_visible()
    moving = page.evaluate("""() => document.getAnimations().filter(({ effect, playState }) => {
        const { duration, iterations } = effect.getTiming();
        return playState === "running" && (duration > 10 || iterations === Infinity) && effect.target?.closest("#tab_txt2img");
    }).map(({ effect }) => effect.target.className)""")
    assert moving == []
