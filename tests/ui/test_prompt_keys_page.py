"""The keys that edit a prompt, and what completes it, as a person meets them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.model_files import EMBEDDING, LORA, write_model
from tests.ui.person import PROMPT, Site, draw

NEGATIVE = "#txt2img_neg_prompt textarea"
OFFERS = "#txt2img_prompt_offers"


@pytest.fixture(scope="module", autouse=True)
def words(site: Site) -> None:
    """Models and lists to complete with."""
    paths = site.app.paths
    write_model(paths.data / "models" / "Lora" / "ink style.safetensors", LORA)
    write_model(paths.data / "models" / "embeddings" / "badhands.safetensors", EMBEDDING)
    site.app.catalog.refresh()
    paths.tags.mkdir()
    (paths.tags / "list.csv").write_text('long_hair,0,3000,"hairy"\nlong_coat,0,20,\nsmile_(cat),0,10,\nolong,0,90000,\n', encoding="utf-8")
    paths.wildcards.mkdir(exist_ok=True)
    (paths.wildcards / "colour.txt").write_text("red\nblue\n", encoding="utf-8")


def press(page: Page, text: str, start: int, end: int, *keys: str) -> list[object]:
    """Type keys into a prompt of that text and selection; the text then, with what is selected in [ ]."""
    page.fill(PROMPT, text)
    page.locator(PROMPT).evaluate("(box, [start, end]) => box.setSelectionRange(start, end)", [start, end])
    seen: list[object] = []
    for key in keys:
        page.press(PROMPT, key)
        seen.append(page.locator(PROMPT).evaluate(
            "({value, selectionStart: a, selectionEnd: b}) => value.slice(0, a) + '[' + value.slice(a, b) + ']' + value.slice(b)"
        ))  # fmt: skip
    return seen


UP, DOWN = "Control+ArrowUp", "Control+ArrowDown"


@pytest.mark.parametrize(
    ("text", "at", "keys", "seen"),
    [
        ("a red cat", (3, 3), (UP, UP), ["a ([red]:1.1) cat", "a ([red]:1.2) cat"]),
        ("a red cat", (2, 9), (DOWN,), ["a ([red cat]:0.9)"]),
        ("a red cat", (2, 6), (UP,), ["a ([red]:1.1) cat"]),
        ("a (red:1.1) cat", (4, 4), (DOWN, DOWN), ["a [red] cat", "a ([red]:0.9) cat"]),
        ("a (red cat:1.95)", (4, 4), (UP,), ["a ([red cat]:2.05)"]),
        ("((red)) cat", (3, 3), (UP,), ["([red]:1.3) cat"]),
        ("[red] cat", (2, 2), (DOWN,), ["([red]:0.8) cat"]),
        ("<lora:a b:1> cat", (6, 6), (UP, DOWN, DOWN), ["<[lora:a b]:1.05> cat", "<[lora:a b]:1.0> cat", "<[lora:a b]:0.95> cat"]),
        ("<lora:ink> cat", (3, 3), (UP,), ["<lo[]ra:ink> cat"]),
        ("", (0, 0), (UP,), ["[]"]),
        ("(a:0.1)", (1, 1), (DOWN, DOWN), ["([a]:0.0)", "([a]:-0.1)"]),
    ],
)  # fmt: skip
def test_ctrl_and_an_arrow_change_a_weight(page: Page, text: str, at: tuple[int, int], keys: tuple[str, ...], seen: list[str]) -> None:
    assert press(page, text, *at, *keys) == seen


@pytest.mark.parametrize(
    ("text", "at", "keys", "seen"),
    [
        ("a,b,c", (0, 0), ("Alt+ArrowRight", "Alt+ArrowRight", "Alt+ArrowRight"), ["b,[a],c", "b,c,[a]", "b,c,[a]"]),
        ("a, b, c", (6, 6), ("Alt+ArrowLeft",), ["a,[ c], b"]),
        ("a,b,c,d", (2, 5), ("Alt+ArrowLeft",), ["[b,c],a,d"]),
    ],
)
def test_alt_and_an_arrow_move_pieces(page: Page, text: str, at: tuple[int, int], keys: tuple[str, ...], seen: list[str]) -> None:
    assert press(page, text, *at, *keys) == seen


def test_a_changed_weight_can_be_undone_and_is_drawn_with(page: Page) -> None:
    press(page, "a red cat", 3, 3, UP)
    page.keyboard.press("Control+z")
    expect(page.locator(PROMPT)).to_have_value("a red cat")
    page.keyboard.press("Control+ArrowUp")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#html_info_txt2img")).to_contain_text("a (red:1.1) cat")


def test_the_steps_are_those_of_the_settings(page: Page, site: Site) -> None:
    site.app.change_settings({"keyedit_precision_attention": 0.05, "keyedit_move": False})
    try:
        page.evaluate("window.webui.refreshPromptKeys()")
        assert press(page, "red", 0, 0, UP) == ["([red]:1.05)"]
        assert press(page, "a,b", 0, 0, "Alt+ArrowRight") == ["[]a,b"]
    finally:
        site.app.change_settings({"keyedit_precision_attention": 0.1, "keyedit_move": True})


def type_until_offered(page: Page, text: str, offer: str) -> None:
    """Type, as one does: the words are known soon after the prompt was first entered."""
    page.click(PROMPT)
    page.keyboard.press("End")
    page.keyboard.type(text)
    expect(page.locator(OFFERS)).to_contain_text(offer)


@pytest.mark.parametrize(("whitespace", "seen"), [("Line Feed", "red\n([car]:1.1)"), ("Tab", "([red\ncar]:1.1)"), ("", "([red\ncar]:1.1)")])
def test_only_the_whitespace_of_the_settings_ends_a_word(page: Page, site: Site, whitespace: str, seen: str) -> None:
    try:
        site.app.change_settings({"keyedit_delimiters_whitespace": whitespace})
        page.evaluate("window.webui.refreshPromptKeys()")
        assert press(page, "red\ncar", 5, 5, "Control+ArrowUp") == [seen]
    finally:
        site.app.change_settings({"keyedit_delimiters_whitespace": "Tab, Carriage Return, Line Feed"})
        page.evaluate("window.webui.refreshPromptKeys()")


def test_tags_are_offered_the_most_used_first_and_taken_with_tab(page: Page) -> None:
    type_until_offered(page, "a cat, lon", "long hair")
    assert page.locator(f"{OFFERS} li > span").all_inner_texts() == ["long hair", "long coat"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(page.locator(PROMPT)).to_have_value("a cat, long coat, ")
    expect(page.locator(OFFERS)).to_have_count(0)


def test_brackets_of_a_tag_are_no_emphasis_and_other_names_find_it(page: Page) -> None:
    type_until_offered(page, "smil", "smile")
    page.keyboard.press("Tab")
    expect(page.locator(PROMPT)).to_have_value(r"smile \(cat\), ")
    type_until_offered(page, "hairy", "hairy → long hair")


def test_networks_embeddings_and_wildcards_are_offered(page: Page) -> None:
    type_until_offered(page, "<ink", "ink style")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(PROMPT)).to_have_value("<lora:ink style:1>")
    type_until_offered(page, " __col", "colour")
    page.keyboard.press("Tab")
    expect(page.locator(PROMPT)).to_have_value("<lora:ink style:1> __colour__")
    type_until_offered(page, ", hands", "badhands")


def test_escape_closes_the_offers_and_enter_without_a_choice_is_a_new_line(page: Page) -> None:
    type_until_offered(page, "lon", "long hair")
    page.keyboard.press("Escape")
    expect(page.locator(OFFERS)).to_have_count(0)
    type_until_offered(page, "g", "long hair")
    page.keyboard.press("Enter")
    expect(page.locator(PROMPT)).to_have_value("long\n")


def test_cleared_prompts_can_be_put_back_until_something_is_typed(page: Page) -> None:
    page.fill(PROMPT, "a cat")
    page.fill(NEGATIVE, "a dog")
    page.click("#txt2img_clear_prompt")
    expect(page.locator(PROMPT)).to_have_value("")
    expect(page.locator(NEGATIVE)).to_have_value("")
    page.click("#txt2img_clear_prompt")
    expect(page.locator(PROMPT)).to_have_value("a cat")
    expect(page.locator(NEGATIVE)).to_have_value("a dog")
    page.click("#txt2img_clear_prompt")
    expect(page.locator(PROMPT)).to_have_value("")
    page.fill(PROMPT, "new")
    expect(page.locator("#txt2img_clear_prompt")).to_have_text("Clear the prompts")


def test_prompts_used_before_are_found_again(page: Page) -> None:
    draw(page, "a lighthouse at dusk")
    draw(page, "a mill")
    page.click("#txt2img_prompt_history")
    entries = page.locator("dialog.history .history-entry")
    expect(entries.first).to_contain_text("a mill")
    page.fill("dialog.history input", "DUSK")
    expect(entries).to_have_count(1)
    entries.first.click()
    expect(page.locator(PROMPT)).to_have_value("a lighthouse at dusk")
    expect(page.locator("dialog.history")).to_have_count(0)


def test_what_is_typed_is_kept_without_asking_the_server(page: Page, site: Site) -> None:
    page.click(PROMPT)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/run/" in request.url or "/queue/" in request.url else None)
    page.keyboard.type("a kept prompt")
    page.wait_for_function("localStorage.getItem('webui.form')?.length > 0")
    site.open(page)
    expect(page.locator(PROMPT)).to_have_value("a kept prompt")
    assert [url for url in asked if url.endswith("/run/predict")] == asked[-1:], "only the page that was opened again asked"
