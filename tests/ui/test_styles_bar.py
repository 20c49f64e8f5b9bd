"""Stored styles: what the dialog is told, and the whole round trip in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import INFOTEXT, PROMPT, SLOW, Site, generate
from webui.app import App
from webui.core.styles import Style
from webui.ui.styles_bar import as_shown, delete, offer_styles, save

DIALOG = "#txt2img_styles_dialog dialog[open]"
CHOSEN = "#txt2img_styles .token"
HOSTILE = "<img src=x onerror=window.hacked=1>${window.hacked=1}{{x}}"


@pytest.fixture
def no_styles(site: Site) -> Iterator[App]:
    """The site's app; the styles that a test leaves behind are deleted."""
    yield site.app
    for style in site.app.styles.styles():
        site.app.styles.delete(style.name)


def choose(page: Page, name: str) -> None:
    """Type a style's name and take the one offered, as from the keyboard."""
    page.fill("#txt2img_styles input", name)
    expect(page.get_by_role("option")).to_have_count(1)
    page.press("#txt2img_styles input", "Enter")
    expect(page.locator(CHOSEN).last).to_have_text(name)


def test_a_saved_style_is_listed_and_a_deleted_one_is_gone(fake_app: App) -> None:
    assert save(fake_app, " Photo ", "photo of {prompt}", "painting") == {
        "styles": [{"name": "Photo", "prompt": "photo of {prompt}", "negative_prompt": "painting"}], "error": None, "remarks": [],
    }  # fmt: skip
    assert delete(fake_app, "Photo") == {"styles": [], "error": None, "remarks": []}


@pytest.mark.parametrize("name", ["", "  ", "# comment"])
def test_a_name_that_cannot_be_one_is_told_and_nothing_is_saved(fake_app: App, name: str) -> None:
    answer = save(fake_app, name, "x", "")
    assert "name of a style" in answer["error"]
    assert answer["styles"] == []


def test_deleting_what_is_not_there_is_told(fake_app: App) -> None:
    assert "no style 'gone'" in delete(fake_app, "gone")["error"]


def test_a_file_of_styles_that_cannot_be_read_is_told_and_not_written_to(fake_app: App) -> None:
    fake_app.paths.styles.write_bytes(b"\xff\xfe broken")
    assert as_shown(fake_app)["remarks"]
    assert save(fake_app, "Photo", "x", "")["error"]
    assert fake_app.paths.styles.read_bytes() == b"\xff\xfe broken"


def test_chosen_styles_stay_only_while_they_exist(fake_app: App) -> None:
    fake_app.styles.save(Style("Photo", "x"))
    offer = offer_styles(fake_app, ["deleted", "Photo", 7])
    assert (offer["choices"], offer["value"]) == (["Photo"], ["Photo"])


@pytest.mark.browser
def test_a_style_is_made_from_the_prompts_used_kept_over_a_reload_and_deleted(page: Page, site: Site, no_styles: App) -> None:
    page.fill(PROMPT, "photo of {prompt}")
    page.fill("#txt2img_neg_prompt textarea", "painting")
    page.click("#txt2img_styles_edit_button")
    page.fill("#txt2img_edit_style_name", "Photo")
    page.click("#txt2img_edit_style_copy")
    page.click("#txt2img_edit_style_save")
    expect(page.locator(DIALOG)).to_contain_text("“Photo” is saved.")
    assert no_styles.styles.styles() == (Style("Photo", "photo of {prompt}", "painting"),)
    page.keyboard.press("Escape")
    expect(page.locator(DIALOG)).to_have_count(0)
    page.fill("#txt2img_neg_prompt textarea", "")
    choose(page, "Photo")
    site.open(page)
    expect(page.locator(CHOSEN)).to_have_text("Photo")
    generate(page, "an apple")
    expect(page.locator(INFOTEXT)).to_contain_text("photo of an apple\nNegative prompt: painting")
    assert page.input_value(PROMPT) == "an apple"
    page.click("#txt2img_styles_edit_button")
    page.click("#txt2img_edit_style_delete")
    expect(page.locator("#txt2img_edit_style_delete")).to_have_text("Click again to delete")
    page.click("#txt2img_edit_style_delete")
    expect(page.locator(DIALOG)).to_contain_text("“Photo” is deleted.")
    page.click("#txt2img_edit_style_close")
    expect(page.locator(CHOSEN)).to_have_count(0)
    assert no_styles.styles.styles() == ()


@pytest.mark.browser
def test_applying_writes_the_styles_into_the_prompts_and_unchooses_them(page: Page, site: Site, no_styles: App) -> None:
    no_styles.styles.save(Style("Photo", "photo of {prompt}", "painting"))
    no_styles.styles.save(Style("Film", "film grain"))
    site.open(page)
    choose(page, "Film")
    choose(page, "Photo")
    page.fill(PROMPT, "an apple")
    page.click("#txt2img_style_apply")
    expect(page.locator(PROMPT)).to_have_value("photo of an apple, film grain")
    expect(page.locator("#txt2img_neg_prompt textarea")).to_have_value("painting")
    expect(page.locator(CHOSEN)).to_have_count(0)


@pytest.mark.browser
def test_a_hostile_style_is_shown_as_text(page: Page, site: Site, no_styles: App) -> None:
    no_styles.styles.save(Style(HOSTILE, HOSTILE, HOSTILE))
    site.open(page)
    choose(page, HOSTILE)
    expect(page.locator(CHOSEN)).to_have_text(HOSTILE)
    page.click("#txt2img_styles_edit_button")
    expect(page.locator("#txt2img_edit_style_prompt")).to_have_value(HOSTILE)
    assert page.locator("#txt2img_styles_edit_select option").all_inner_texts() == ["New style", HOSTILE]
    page.fill("#txt2img_edit_style_name", "#")
    page.click("#txt2img_edit_style_save")
    expect(page.locator(f"{DIALOG} .notice")).to_contain_text("'#'")
    assert page.locator("#txt2img_styles_dialog img, #txt2img_styles img").count() == 0
    assert page.evaluate("window.hacked") is None


@pytest.mark.browser
def test_escape_in_the_dialog_interrupts_nothing_and_ctrl_enter_draws_nothing(page: Page, site: Site) -> None:
    site.engine.step_seconds = SLOW
    generate(page, "goes on")
    expect(page.locator("#txt2img_interrupt")).to_be_visible()
    page.click("#txt2img_styles_edit_button")
    expect(page.locator(DIALOG)).to_have_count(1)
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Escape")
    expect(page.locator(DIALOG)).to_have_count(0)
    expect(page.locator("#txt2img_interrupt")).to_be_visible()
    # Asked after the keys, and answered: a job they had queued would be there.
    page.click("#txt2img_styles_edit_button")
    expect(page.locator(DIALOG)).to_have_count(1)
    page.keyboard.press("Escape")
    assert [job.state for job in site.app.queue.jobs() if job.request.prompt == "goes on"] == ["running"]
