"""Presets of a tab's form and its defaults, and the colours of a prompt, as a person meets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import PROMPT, Site, number, open_tab, set_number

DIALOG = "dialog.presets"


@pytest.fixture(autouse=True)
def no_presets(site: Site) -> Iterator[None]:
    """Nothing is stored before a test, and nothing after it."""
    files = (site.app.paths.presets, site.app.paths.ui_config)
    for file in files:
        file.unlink(missing_ok=True)
    yield
    for file in files:
        file.unlink(missing_ok=True)


def save(page: Page, name: str) -> None:
    page.click("#txt2img_presets")
    page.fill(f"{DIALOG} input", name)
    page.keyboard.press("Enter")
    expect(page.locator(f"{DIALOG} .note").first).to_have_text(f"{name} is stored.")


def test_a_stored_form_is_taken_over_again(page: Page) -> None:
    page.fill(PROMPT, "a mill")
    set_number(page, "steps", 33)
    page.keyboard.press("Tab")
    save(page, "mills")
    page.keyboard.press("Escape")
    page.fill(PROMPT, "something else")
    set_number(page, "steps", 5)
    page.click("#txt2img_presets")
    page.locator(DIALOG).get_by_role("button", name="mills", exact=True).click()
    expect(page.locator(DIALOG)).to_have_count(0)
    expect(page.locator(PROMPT)).to_have_value("a mill")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("33")


def test_a_preset_belongs_to_its_tab_and_can_be_deleted(page: Page) -> None:
    save(page, "mine")
    page.locator(DIALOG).get_by_role("button", name="Delete mine").click()
    expect(page.locator(f"{DIALOG} .preset-list")).to_have_text("No presets yet.")
    save_again = page.locator(f"{DIALOG} input")
    save_again.fill("mine")
    save_again.press("Enter")
    expect(page.locator(DIALOG).get_by_role("button", name="mine", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    open_tab(page, "img2img")
    page.click("#img2img_presets")
    expect(page.locator(f"{DIALOG} .preset-list")).to_have_text("No presets yet.")
    page.keyboard.press("Escape")


def test_a_preset_needs_a_name(page: Page) -> None:
    page.click("#txt2img_presets")
    page.locator(DIALOG).get_by_role("button", name="Save").click()
    expect(page.locator(f"{DIALOG} .notice")).to_contain_text("no name")
    page.keyboard.press("Escape")


def test_a_browser_without_a_form_of_its_own_begins_with_the_defaults(page: Page, site: Site) -> None:
    set_number(page, "steps", 44)
    page.keyboard.press("Tab")
    page.click("#txt2img_presets")
    page.locator(DIALOG).get_by_role("button", name="Make these the defaults").click()
    expect(page.locator(DIALOG).get_by_role("button", name="Forget the defaults")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(site.address + "robots.txt")
    page.evaluate("localStorage.clear()")
    site.open(page)
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("44")
    page.click("#txt2img_presets")
    page.locator(DIALOG).get_by_role("button", name="Forget the defaults").click()
    expect(page.locator(DIALOG).get_by_role("button", name="Forget the defaults")).to_be_hidden()
    page.keyboard.press("Escape")
    page.goto(site.address + "robots.txt")
    page.evaluate("localStorage.clear()")
    site.open(page)
    assert number(page, "steps") != "44"


def test_the_syntax_of_a_prompt_is_coloured_behind_it(page: Page) -> None:
    page.fill(PROMPT, r"a (red (cat):1.2) [dull] <lora:ink:1> __colour__ {a|b} BREAK \(x\) end)")
    pieces = page.locator("#txt2img_prompt .prompt-colours span").evaluate_all(
        "(all) => all.map((one) => [one.textContent, one.className])"
    )
    assert pieces == [
        ["(red ", "more"], ["(cat)", "more"], [":1.2)", "more"], ["[dull]", "less"], ["<lora:ink:1>", "network"],
        ["__colour__", "wildcard"], ["{a|b}", "choice"], ["BREAK", "keyword"], [")", "wrong"],
    ]  # fmt: skip


def test_the_colours_lie_exactly_behind_the_text_however_long_it_is(page: Page) -> None:
    page.fill(PROMPT, "\n".join(["(many words:1.1) that wrap " * 12] * 6))
    page.locator(PROMPT).evaluate("(box) => { box.scrollTop = 60; }")
    # Filling may scroll as well; what the box is scrolled to is followed by the next frame.
    page.wait_for_function("document.querySelector('#txt2img_prompt .prompt-colours').scrollTop === 60")
    facts = page.locator("#txt2img_prompt").evaluate("""(element) => {
        const style = (one) => [getComputedStyle(one).font, getComputedStyle(one).lineHeight];
        const of = (one) => [one.clientWidth, one.clientHeight, one.scrollTop, ...style(one)];
        return [of(element.querySelector(".prompt-colours")), of(element.querySelector("textarea"))];
    }""")
    assert facts[0] == facts[1]


def test_what_another_script_writes_is_coloured_as_well(page: Page) -> None:
    page.evaluate("window.webui.changeForm('txt2img', { prompt: '(written)' })")
    expect(page.locator("#txt2img_prompt .prompt-colours .more")).to_have_text("(written)")
