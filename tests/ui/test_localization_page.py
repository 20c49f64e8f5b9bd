"""The page in Chinese and in a language of the user's own, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.ui.person import PATIENCE, PROMPT, Site, draw

pytestmark = pytest.mark.browser

TABS = ("img2img", "inpaint", "depth2img", "extras", "pnginfo", "models", "gallery", "queue", "extensions", "settings")
# Words that are names in every language.
NAMES = "VAE|LoRA|ControlNet|CodeFormer|GFPGAN|Stable Diffusion( XL)?|Sigma \\w+|Rho|User-Agent|SHA-256|NGMS|Eta"
ENGLISH = """(names) => {
    const kept = "textarea, script, style, pre, code, td, option, .infotext, .prompt-text, .job-prompt, .job-details, "
        + ".card-title, .card-facts, .card-more";
    const isLeft = (text) => /[A-Za-z]{3}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text) && !new RegExp(`^(${names})$`).test(text.trim());
    const found = new Set(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { nodeValue, parentElement } = walker.currentNode;
        if (parentElement.checkVisibility() && !parentElement.closest(kept) && isLeft(nodeValue)) found.add(nodeValue.trim());
    }
    for (const name of ["title", "aria-label", "placeholder"]) {
        for (const element of document.querySelectorAll(`[${name}]`)) {
            const text = element.getAttribute(name);
            if (element.checkVisibility() && !element.closest(".gallery-open, .card") && isLeft(text)) found.add(`${name}: ${text}`);
        }
    }
    return [...found];
}"""


@pytest.fixture(autouse=True)
def _english_again(site: Site) -> Iterator[None]:
    yield
    site.app.change_settings({"localization": "Auto"})
    for file in site.app.paths.localizations.glob("*.json"):
        file.unlink()


def speak(site: Site, page: Page, name: str) -> None:
    """Open the page in that language."""
    site.app.change_settings({"localization": name})
    site.open(page)


def write(site: Site, name: str, content: object) -> None:
    """Put a file into the user's localizations/."""
    site.app.paths.localizations.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    (site.app.paths.localizations / name).write_text(text, encoding="utf-8")


def test_chinese_is_chosen_in_the_settings_and_drawing_goes_on_as_ever(page: Page, site: Site) -> None:
    expect(page.locator("#txt2img_generate")).to_have_text("Generate")
    page.get_by_role("tab", name="Settings", exact=True).click()
    page.select_option("#setting_localization_input", "zh_CN")
    page.click("#settings_submit")
    expect(page.locator("#txt2img_generate")).to_have_text("生成")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    site.open(page)
    expect(page.locator("#txt2img_steps")).to_contain_text("迭代步数")
    infotext = draw(page, "Generate a Seed in the Gallery, Width of the Prompt")
    expect(page.locator("#html_log_txt2img")).to_contain_text("1 张图片")
    assert "Generate a Seed in the Gallery, Width of the Prompt" in infotext
    assert "Sampler: DPM++ 2M" in infotext
    expect(page.locator("#html_info_txt2img .words")).to_have_text("Generate a Seed in the Gallery, Width of the Prompt")
    assert page.input_value(PROMPT) == "Generate a Seed in the Gallery, Width of the Prompt"
    [job, *_] = site.app.queue.jobs()
    assert (job.request.prompt, job.request.schedule) == ("Generate a Seed in the Gallery, Width of the Prompt", "Automatic")


def test_no_tab_has_an_english_text_left(page: Page, site: Site) -> None:
    speak(site, page, "zh_CN")
    expect(page.locator("#txt2img_generate")).to_have_text("生成")
    left: dict[str, list[str]] = {"txt2img": page.evaluate(ENGLISH, NAMES)}
    for tab in TABS:
        page.evaluate("(id) => window.webui.showTab(id)", tab)
        expect(page.locator(f"#tab_{tab}")).to_be_visible()
        for fold in page.locator(f"#tab_{tab} .label-wrap").all():
            if fold.is_visible():
                fold.click()
        if tab == "settings":
            expect(page.locator("#setting_localization_input")).to_be_visible()
        left[tab] = page.evaluate(ENGLISH, NAMES)
    assert {tab: texts for tab, texts in left.items() if texts} == {}


def test_a_dropdown_shows_its_choice_in_chinese_and_sends_it_as_it_is(page: Page, site: Site) -> None:
    speak(site, page, "zh_CN")
    expect(page.locator("#txt2img_generate")).to_have_text("生成")
    page.wait_for_function("document.querySelector('#script_list input')?.value === 'None'")  # what the page's own scripts are told
    expect(page.locator("#script_list input")).to_have_value("无")  # what is to be seen, as Playwright sees it
    page.click("#script_list input")
    page.get_by_role("option", name="提示词矩阵").click()
    expect(page.locator("#script_list input")).to_have_value("提示词矩阵")
    expect(page.locator("#txt2img_script_prompt_matrix_put_at_start")).to_be_visible()
    draw(page, "an untranslated matrix")
    assert site.app.queue.jobs()[0].request.script == "Prompt matrix"


def test_settings_in_chinese_send_their_own_values(page: Page, site: Site) -> None:
    speak(site, page, "zh_CN")
    page.get_by_role("tab", name="设置", exact=True).click()
    try:
        page.select_option("#setting_emphasis_input", label="无")
        page.click("#settings_submit")
        expect(page.locator("#settings_panel [role=status]")).to_have_text("已应用 1 项设置。")
        assert site.app.settings.snapshot().emphasis == "None"
    finally:
        site.app.change_settings({"emphasis": "Original"})


def test_a_browsers_own_language_is_taken_and_english_where_it_is_not_there(browser: Browser, site: Site) -> None:
    for locale, generate in (("zh-CN", "生成"), ("fr-FR", "Generate")):
        context: BrowserContext = browser.new_context(locale=locale)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        site.open(page)
        expect(page.locator("#txt2img_generate")).to_have_text(generate)
        context.close()


def test_a_localisation_of_a1111s_kind_wins_over_the_programs_words(page: Page, site: Site) -> None:
    write(site, "zh_CN.json", {"Generate": "开始画", "sampling STEPS": "步数", "{1} of {2} tokens used": "{2} 之 {1}"})
    speak(site, page, "zh_CN")
    expect(page.locator("#txt2img_generate")).to_have_text("开始画")
    expect(page.locator("#txt2img_interrupt")).to_have_text("中止")
    assert page.evaluate("window.localization['Generate']") == "开始画"
    said = page.evaluate("""(texts) => texts.map((text) => window.webui.inWords(text))""", [
        "7 of 75 tokens used", "3 pictures · time taken 8 s", "step 3/20 · batch 1/2 · picture 1/3 · 8 s left", "2 being drawn, 1 waiting",
        "1 setting differs; look and apply. 4 are as here anyway.", "Clip skip: 2", "Generate  forever", "No such text", "",
    ])  # fmt: skip
    assert said == [
        "75 之 7", "3 张图片 · 用时 8 s", "第 3/20 步 · 第 1/2 批 · 第 1/3 张 · 剩余 8 s", "2 个正在绘制，1 个等待中",
        "1 项设置不同；请查看后保存。4 项与此处相同。", "CLIP 终止层数 (Clip skip): 2", "无限生成", "No such text", "",
    ]  # fmt: skip


def test_a_language_from_right_to_left_turns_the_page(page: Page, site: Site) -> None:
    write(site, "he.json", {"rtl": True, "Generate": "צור"})
    speak(site, page, "he")
    expect(page.locator("#txt2img_generate")).to_have_text("צור")
    assert page.evaluate("document.documentElement.dir") == "rtl"


def test_a_hostile_localisation_writes_texts_and_nothing_else(page: Page, site: Site) -> None:
    evil = "<img src=x onerror='window.hacked = true'><script>window.hacked = true</script>"
    endless = {"{1} a {2} a {3} a {4} a {5} a {6}": "{6}{6}{6}{6}{6}{6}{6}{6}", "Interrupt": "Skip", "Skip": "Interrupt", "{1}{2}": "all"}
    content = {"Generate": evil, "What should the picture show?": evil, "__proto__": "x", "constructor": "x", "{1}": "all", **endless}
    write(site, "evil.json", content)
    speak(site, page, "evil")
    expect(page.locator("#txt2img_generate")).to_have_text(evil)
    expect(page.locator(PROMPT)).to_have_attribute("placeholder", evil)
    expect(page.locator("#txt2img_interrupt")).to_have_text("Skip")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#txt2img_generate img").count() == 0
    page.evaluate("document.querySelector('#txt2img_skip').title = 'b a '.repeat(400)")
    draw(page, "a quiet evil evening")


def test_a_broken_localisation_leaves_the_page_in_english_and_is_told_in_the_settings(page: Page, site: Site) -> None:
    write(site, "broken.json", "x" * 10_000_000)
    speak(site, page, "broken")
    expect(page.locator("#txt2img_generate")).to_have_text("Generate")
    page.get_by_role("tab", name="Settings", exact=True).click()
    expect(page.locator("#settings_panel .notice")).to_contain_text("broken.json is left out")
