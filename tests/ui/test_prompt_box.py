"""Token counts with styles, and what is told of a malformed prompt; the box in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import PROMPT, Site
from webui.app import App
from webui.core.styles import Style
from webui.ui.prompt_box import PROBLEMS_SHOWN, count_tokens, describe_problems, quote

PROBLEMS = "#txt2img_prompt_problems .problem"
COUNTER = "#txt2img_token_counter .token-counter"
NEGATIVE = "#txt2img_neg_prompt textarea"


def test_tokens_are_counted_with_the_chosen_styles_of_that_prompt(fake_app: App) -> None:
    fake_app.styles.save(Style("Photo", "photo of {prompt}, sharp", "bad painting"))
    assert count_tokens(fake_app, "prompt", "a cat", ["Photo"]) == [5, 75]
    assert count_tokens(fake_app, "negative_prompt", "", ["Photo"]) == [2, 75]
    assert count_tokens(fake_app, "prompt", "a cat", ["no such style"]) == [2, 75]


def test_styles_that_make_a_prompt_too_long_do_not_stop_the_counting(fake_app: App) -> None:
    fake_app.styles.save(Style("Twice", "{prompt} {prompt}" * 100))
    assert count_tokens(fake_app, "prompt", "a " * 50_000, ["Twice"]) == [50_000, 50_025]


def test_a_problem_has_its_place_as_a_browser_counts() -> None:
    (problem,) = describe_problems("🍎🍎 (red")["problems"]
    assert (problem["start"], problem["end"]) == (5, 6)
    assert problem["quote"] == "🍎🍎 (red"


def test_only_the_first_problems_are_told_and_the_others_counted() -> None:
    told = describe_problems("( " * 8)
    assert len(told["problems"]) == PROBLEMS_SHOWN
    assert told["more"] == 8 - PROBLEMS_SHOWN


def test_half_a_character_in_a_prompt_is_survived() -> None:
    assert describe_problems("\ud83c (")["problems"][0]["start"] == 2


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (0, 1, "(two words…"),
        (21, 22, "…a b c d e f g h…"),
        (5, 60, "…words a b c d e f g h i j…"),
        (29, 33, "…d e f g h i j k"),
    ],
)
def test_a_quote_is_short_and_in_one_line(start: int, end: int, wanted: str) -> None:
    assert quote("(two words\n\n   a b c d e f g h i j k", start, end) == wanted


@pytest.mark.browser
def test_a_malformed_prompt_is_told_and_a_click_selects_the_place(page: Page) -> None:
    page.fill(PROMPT, "🍎 a cat) and <script>alert(1)</script> [of:many")
    expect(page.locator(PROBLEMS)).to_have_count(2)
    expect(page.locator(COUNTER)).to_have_class("token-counter warning")
    assert "closes nothing" in page.locator(PROBLEMS).first.inner_text()
    page.locator(PROBLEMS).first.click()
    selected = "box => box.value.slice(box.selectionStart, box.selectionEnd)"
    assert page.eval_on_selector(PROMPT, selected) == ")"
    assert page.evaluate("document.activeElement.closest('#txt2img_prompt') !== null")
    page.locator(PROBLEMS).nth(1).click()
    assert page.eval_on_selector(PROMPT, selected) == "["
    assert page.locator(f"{PROBLEMS} script").count() == 0
    page.fill(PROMPT, "a cat")
    expect(page.locator(PROBLEMS)).to_have_count(0)
    expect(page.locator(COUNTER)).to_have_class("token-counter")


@pytest.mark.browser
def test_more_problems_than_are_shown_are_counted(page: Page) -> None:
    page.fill(NEGATIVE, "( [ " * 4)
    expect(page.locator("#txt2img_negative_prompt_problems .problem")).to_have_count(PROBLEMS_SHOWN)
    expect(page.locator("#txt2img_negative_prompt_problems .problem-more")).to_have_text("and 5 more")
    expect(page.locator(PROBLEMS)).to_have_count(0)


@pytest.mark.browser
def test_choosing_a_style_counts_its_tokens(page: Page, site: Site) -> None:
    site.app.styles.save(Style("Counted", "three more words"))
    try:
        site.open(page)
        page.fill(PROMPT, "a cat")
        expect(page.locator(COUNTER)).to_have_text("2/75")
        page.click("#txt2img_styles input")
        page.get_by_role("option", name="Counted").click()
        expect(page.locator(COUNTER)).to_have_text("5/75")
    finally:
        site.app.styles.delete("Counted")
