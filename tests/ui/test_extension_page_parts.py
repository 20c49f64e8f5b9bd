"""The extension of docs/extensions.md in a real browser: its part of the form, its script, its style, its setting and its tab."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.plugins.folders import install
from tests.plugins.walkthrough import install_walkthrough
from tests.ui.conftest import running
from tests.ui.person import PROMPT, Site, draw
from webui.core.paths import standard_paths

pytestmark = pytest.mark.browser

WORDS = {"Generate": "Erzeugen", "What should the picture show?": "Was soll das Bild zeigen?", "Midday": "Mittag"}
LATE = 'onUiLoaded(() => { const p = document.createElement("p"); p.id = "late"; p.textContent = "Midday"; document.body.append(p); });'
BROKEN = """
from webui.core.extension_points import NewTab

def build():
    raise RuntimeError("no luck")

@hookimpl
def register_tabs():
    return [NewTab("Broken", build)]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    paths = standard_paths(tmp_path_factory.mktemp("data"))
    install_walkthrough(paths.extensions)
    install(paths.extensions, "german", "", localizations__de_dot_json=json.dumps(WORDS), javascript__late_dot_js=LATE)
    install(paths.extensions, "broken", BROKEN)
    with running(paths, command_line_settings={"localization": "de"}) as site:
        yield site


def unfold(page: Page, tab: str) -> None:
    """Open the script's part of the form."""
    page.locator(f"#{tab}_script_postcard .label-wrap").click()
    page.wait_for_selector(f"#{tab}_script_postcard_edge input[type=number]")


def test_its_controls_change_the_picture_that_is_drawn(page: Page, site: Site) -> None:
    unfold(page, "txt2img")
    page.fill("#txt2img_script_postcard_edge input[type=number]", "16")
    page.fill("#txt2img_script_postcard_place :is(input, textarea)", "Oslo")
    infotext = draw(page, "a beach")
    assert "Postcard from: Oslo" in infotext
    job = site.app.queue.jobs()[0]
    assert job.request.always_on == {"Postcard": {"edge": 16, "place": "Oslo"}}
    assert job.request.prompt == "a beach, Oslo"
    with Image.open(job.pictures[0].path) as picture:
        assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_without_its_controls_a_job_is_as_ever(page: Page, site: Site) -> None:
    assert "Postcard" not in draw(page, "a quiet beach")
    assert site.app.queue.jobs()[0].request.always_on == {}


def test_its_controls_are_kept_over_a_reload(page: Page, site: Site) -> None:
    unfold(page, "txt2img")
    page.fill("#txt2img_script_postcard_place :is(input, textarea)", "Bergen")
    draw(page, "a harbour")
    site.open(page)
    expect(page.locator(PROMPT)).to_have_value("a harbour")  # what the browser kept has reached the form
    unfold(page, "txt2img")
    page.wait_for_function("document.querySelector('#txt2img_script_postcard_place :is(input, textarea)').value === 'Bergen'")


def test_other_tabs_have_it_too(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="img2img", exact=True).click()
    unfold(page, "img2img")


def test_its_script_and_its_style_are_loaded(page: Page, site: Site) -> None:
    page.wait_for_function("document.querySelector('#txt2img_actions #postcard_badge')?.textContent === 'Postcards are white'")
    page.wait_for_function("getComputedStyle(document.querySelector('#postcard_badge')).fontStyle === 'italic'")


def test_its_setting_is_changed_on_the_page(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="Settings", exact=True).click()
    page.wait_for_selector("#setting_postcard_colour_input")
    page.wait_for_function("document.querySelector('#settings_panel').textContent.includes('Postcards')")
    try:
        page.select_option("#setting_postcard_colour_input", "blue")
        page.click("#settings_submit")
        page.wait_for_function("document.querySelector('#settings_submit').disabled")
        assert site.app.settings.snapshot().extension_settings == {"postcard_colour": "blue"}
    finally:
        site.app.change_settings({"postcard_colour": "white"})


def test_hook_register_tabs_adds_a_tab_that_acts(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="Postcards", exact=True).click()
    page.fill("#postcard_greeting :is(input, textarea)", "wish you were here")
    page.locator("#postcard_greeting :is(input, textarea)").blur()
    page.click("#postcard_shout")
    page.wait_for_function("document.querySelector('#postcard_shouted :is(input, textarea)').value === 'WISH YOU WERE HERE'")


def test_a_tab_that_fails_says_so_and_the_page_is_there(page: Page, site: Site) -> None:
    page.get_by_role("tab", name="Broken", exact=True).click()
    page.get_by_text("Extension 'broken' failed in its tab 'Broken': RuntimeError: no luck.").wait_for()


def test_the_page_speaks_the_language_of_the_setting(page: Page, site: Site) -> None:
    page.wait_for_function("document.querySelector('#txt2img_generate').textContent.trim() === 'Erzeugen'")
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').placeholder === 'Was soll das Bild zeigen?'")
    page.wait_for_function("document.querySelector('#late')?.textContent === 'Mittag'")


def test_listeners_hear_of_another_tab(page: Page, site: Site) -> None:
    page.evaluate("window.heard = 0; onUiTabChange(() => { window.heard += 1; window.where = get_uiCurrentTab().textContent.trim(); })")
    page.get_by_role("tab", name="Postcards", exact=True).click()
    page.wait_for_function("window.heard > 0 && window.where === 'Postcards'")
