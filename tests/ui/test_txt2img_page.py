"""The txt2img tab in a real browser."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.ui.person import (
    FAST,
    INFOTEXT,
    LOG,
    NOTICE,
    PICTURES,
    PROGRESS,
    PROMPT,
    SLOW,
    STAGE_PICTURE,
    Site,
    draw,
    generate,
    number,
    set_number,
)
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.request_parts.depth import DepthParameters
from webui.core.request_parts.inpaint import InpaintParameters
from webui.core.request_parts.picture import PictureParameters
from webui.ui.fields import element_id

pytestmark = pytest.mark.browser


def test_ctrl_enter_draws_pictures_and_shows_their_infotext(page: Page) -> None:
    infotext = draw(page, "two red apples", batch_count=2)
    expect(page.locator(PICTURES)).to_have_count(3)
    assert infotext.startswith("two red apples\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: ")
    # The test's engine says that the program holds one byte.
    assert re.search(r"2 pictures · time taken .+ · memory 1 KB", page.inner_text(LOG))
    # First, as in A1111, both together.
    expect(page.locator(PICTURES).first).to_have_attribute("aria-label", "All pictures")
    page.wait_for_function(f"document.querySelector('{STAGE_PICTURE}').naturalWidth === 256")
    page.locator(PICTURES).nth(1).click()
    page.wait_for_function(f"document.querySelector('{STAGE_PICTURE}').naturalWidth === 128")


def test_choosing_another_picture_shows_its_infotext(page: Page) -> None:
    draw(page, "a pair", batch_count=2)
    first = page.inner_text(INFOTEXT)
    page.locator(PICTURES).nth(2).click()
    expect(page.locator(INFOTEXT)).not_to_have_text(first)
    assert _seed(page.inner_text(INFOTEXT)) == _seed(first) + 1


def test_progress_and_preview_are_shown_while_a_picture_is_drawn(page: Page, site: Site) -> None:
    site.engine.step_seconds = SLOW
    generate(page, "slowly")
    expect(page.locator(f"{PROGRESS} .detail")).to_contain_text("step ")
    expect(page.locator(STAGE_PICTURE)).to_have_attribute("src", re.compile("^data:image/"))
    assert re.match(r"\(\d+%\) ", page.title())
    assert page.locator("#txt2img_skip").is_visible()


def test_escape_ends_with_the_pictures_so_far(page: Page, site: Site) -> None:
    site.engine.step_seconds = 0.2
    generate(page, "interrupted", batch_count=3)
    expect(page.locator(PICTURES)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(LOG)).to_contain_text("of 3")
    assert re.match(r"Interrupted · [12] pictures? of 3", page.inner_text(LOG))
    expect(page.locator(STAGE_PICTURE)).to_be_visible()
    expect(page.locator("#txt2img_interrupt")).to_be_hidden()


def test_skip_ends_only_the_batch_being_drawn(page: Page, site: Site) -> None:
    site.engine.step_seconds = 4 * SLOW
    generate(page, "skipped")
    expect(page.locator(f"{PROGRESS} .detail")).to_contain_text("step ")
    page.keyboard.press("Alt+Enter")
    expect(page.locator(LOG)).to_contain_text("1 picture ·")
    assert site.app.queue.jobs()[0].state == "finished"


def test_reloading_shows_the_running_job_and_then_its_result_and_the_form(page: Page, site: Site) -> None:
    site.engine.step_seconds = 4 * SLOW
    set_number(page, "steps", 25)
    generate(page, "reloaded")
    expect(page.locator(f"{PROGRESS} .detail")).to_contain_text("step ")
    site.open(page)
    expect(page.locator(f"{PROGRESS} .detail")).to_contain_text("/25")
    site.engine.step_seconds = FAST
    assert page.input_value(PROMPT) == "reloaded"
    assert number(page, "steps") == "25"
    expect(page.locator(INFOTEXT)).to_contain_text("reloaded\nSteps: 25")


def test_a_second_browser_sees_the_running_job_and_its_result(page: Page, browser: Browser, site: Site) -> None:
    site.engine.step_seconds = 4 * SLOW
    generate(page, "seen by two")
    expect(page.locator(PROGRESS)).to_be_visible()
    other = browser.new_page()
    try:
        site.open(other)
        expect(other.locator(f"{PROGRESS} .detail")).to_contain_text("step ")
        site.engine.step_seconds = FAST
        expect(other.locator(INFOTEXT)).to_contain_text("seen by two")
        expect(page.locator(INFOTEXT)).to_contain_text("seen by two")
        (picture,) = site.app.queue.jobs()[0].pictures
        for one in (page, other):
            expect(one.locator(STAGE_PICTURE)).to_have_attribute("src", f"/pictures/{picture.id}")
    finally:
        other.close()


def test_generating_while_another_job_runs_queues_it_and_follows_the_newest(page: Page, site: Site) -> None:
    site.engine.step_seconds = 0.2
    generate(page, "the first")
    expect(page.locator(PROGRESS)).to_be_visible()
    generate(page, "the second")
    expect(page.locator(INFOTEXT)).to_contain_text("the second")
    ended = {job.request.prompt: job.wait(60) and job.state for job in site.app.queue.jobs()}
    assert ended["the first"] == ended["the second"] == "finished"


def test_closing_the_page_does_not_stop_the_job(page: Page, site: Site, browser: Browser) -> None:
    site.engine.step_seconds = 0.2
    generate(page, "left alone")
    expect(page.locator(f"{PROGRESS} .detail")).to_contain_text("step ")
    page.goto("about:blank")
    job = next(job for job in site.app.queue.jobs() if job.request.prompt == "left alone")
    job.wait(60)
    assert job.state == "finished"


def test_token_counter_follows_the_prompt(page: Page) -> None:
    page.fill(PROMPT, "a red apple")
    expect(page.locator("#txt2img_token_counter")).to_have_text("3/75")
    page.fill(PROMPT, "word " * 80)
    expect(page.locator("#txt2img_token_counter")).to_have_text("80/150")
    expect(page.locator("#txt2img_negative_token_counter")).to_have_text("0/75")


def test_swap_exchanges_width_and_height(page: Page) -> None:
    set_number(page, "width", 256)
    set_number(page, "height", 192)
    page.click("#txt2img_res_switch_btn")
    expect(page.locator("#txt2img_width input[type=number]")).to_have_value("192")
    assert number(page, "height") == "256"


def test_reuse_takes_the_pictures_seed_and_dice_draws_a_new_one(page: Page) -> None:
    seed = _seed(draw(page, "seeded"))
    page.click("#txt2img_reuse_seed")
    expect(page.locator("#txt2img_seed input")).to_have_value(str(seed))
    assert _seed(draw(page, "seeded again")) == seed
    page.click("#txt2img_random_seed")
    expect(page.locator("#txt2img_seed input")).to_have_value("-1")


def test_a_seed_beyond_what_browsers_count_keeps_every_digit(page: Page) -> None:
    page.fill("#txt2img_seed input", "9007199254740993")
    assert _seed(draw(page, "a large seed")) == 9007199254740993


def test_an_invalid_value_is_told_and_the_result_stays(page: Page) -> None:
    draw(page, "kept")
    page.fill("#txt2img_seed input", "seven")
    page.press("#txt2img_seed input", "Control+Enter")
    expect(page.locator(NOTICE)).to_contain_text("seed: got 'seven'")
    assert "kept" in page.inner_text(INFOTEXT)
    assert page.input_value(PROMPT) == "kept"


def test_a_failed_job_says_why(page: Page) -> None:
    generate(page, "fail")
    expect(page.locator(NOTICE)).to_contain_text("This prompt always fails.")
    expect(page.locator(PROGRESS)).to_be_hidden()


def test_markup_and_templates_in_a_prompt_are_shown_as_text(page: Page, site: Site) -> None:
    prompt = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>${window.hacked=1}{{hacked}}`"
    generate(page, prompt)
    expect(page.locator(INFOTEXT)).to_contain_text(prompt)
    site.app.queue.pause()
    generate(page, prompt)
    page.get_by_role("tab", name="Queue").click()
    expect(page.locator("#queue_list .job-prompt").first).to_have_text(prompt)
    assert page.evaluate("window.hacked") is None
    assert page.locator(f"{INFOTEXT} img, {INFOTEXT} script, #queue_list img:not(.job-thumbnail), #queue_list script").count() == 0


def test_download_keeps_the_infotext_in_the_file(page: Page) -> None:
    infotext = draw(page, "downloaded")
    with page.expect_download() as download:
        page.click("#download_txt2img")
    assert download.value.suggested_filename.endswith(".png")
    assert Image.open(download.value.path()).text["parameters"] == infotext


def test_zip_holds_every_picture_with_its_infotext(page: Page) -> None:
    draw(page, "zipped", batch_count=3)
    with page.expect_download() as download:
        page.click("#save_zip_txt2img")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        texts = [Image.open(io.BytesIO(archive.read(name))).text["parameters"] for name in archive.namelist()]
    assert len(texts) == 4  # with the grid
    assert len({_seed(text) for text in texts}) == 3


def test_save_tells_where_the_picture_lies(page: Page, site: Site) -> None:
    draw(page, "kept on disk")
    page.click("#save_txt2img")
    expect(page.locator(LOG)).to_contain_text("Saved as outputs/")
    place = page.inner_text(LOG).removeprefix("Saved as ").strip()
    assert (site.app.paths.data / place).is_file()


def test_a_picture_whose_file_is_gone_is_told(page: Page, browser: Browser, site: Site) -> None:
    draw(page, "soon gone")
    (picture,) = site.app.queue.jobs()[0].pictures
    picture.path.unlink()
    other = browser.new_page()
    other.goto(site.address)
    expect(other.locator(".results .hint").first).to_contain_text("cannot be loaded")
    expect(other.locator(STAGE_PICTURE)).to_be_hidden()
    other.close()


def test_copy_puts_the_infotext_on_the_clipboard(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    infotext = draw(page, "copied")
    page.click("#copy_infotext_txt2img")
    expect(page.locator(LOG)).to_have_text("Infotext copied.")
    assert page.evaluate("navigator.clipboard.readText()") == infotext


def test_escape_in_the_enlarged_picture_closes_it_and_interrupts_nothing(page: Page, site: Site) -> None:
    site.engine.step_seconds = 0.04
    generate(page, "enlarged", batch_count=2)
    page.locator(PICTURES).first.click()
    page.click("#txt2img_gallery .stage")
    expect(page.locator("dialog[open] img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(LOG)).to_contain_text("2 pictures")


def test_the_checkpoints_own_size_is_set_and_stays_when_changed_by_hand(page: Page, site: Site) -> None:
    fitting = site.app.catalog.defaults(site.app.catalog.default_checkpoint())
    assert number(page, "width") == str(fitting["width"]) != "512"
    set_number(page, "width", 256)
    page.keyboard.press("Tab")
    site.open(page)
    expect(page.locator("#txt2img_width input[type=number]")).to_have_value("256")


def test_generating_before_the_form_is_restored_uses_the_checkpoints_own_size(browser: Browser, site: Site) -> None:
    other = browser.new_page()
    other.add_init_script("window.early = setInterval(() => document.getElementById('txt2img_generate')?.click() ?? 0, 5)")
    other.goto(site.address)
    other.wait_for_function("document.getElementById('txt2img_prompt')?.title")
    other.evaluate("clearInterval(window.early)")
    expect(other.locator(LOG)).to_contain_text("1 picture ·")
    other.close()
    assert {(job.request.width, job.request.height) for job in site.app.queue.jobs() if not job.request.prompt} == {(128, 128)}


def test_the_sliders_offer_the_declared_ranges(page: Page) -> None:
    of_a_picture = {*PictureParameters.model_fields, *InpaintParameters.model_fields, *DepthParameters.model_fields} - {
        "denoising_strength"
    }
    set_by_jobs = {"script_pictures"}
    sliders = {
        name: one
        for name, one in parameters_of(GenerationRequest).items()
        if one.slider and one.step and one.default is not None and name not in of_a_picture | set_by_jobs
    }
    assert {"steps", "cfg_scale", "cfg_rescale", "width", "subseed_strength", "seed_resize_from_w"} < set(sliders)
    for section, slider in (("guidance", "cfg_rescale"), ("hr", "hr_resize_y"), ("refiner", "refiner_switch_at")):
        page.click(f"#txt2img_{section} > button")
        page.wait_for_selector(f"#txt2img_{slider} input[type=range]")
    for name, one in sliders.items():
        shown = page.eval_on_selector(f"#{element_id(name)} input[type=range]", "range => [range.min, range.max, range.step]")
        assert [float(value) for value in shown] == [*one.slider, one.step], name


def test_every_control_has_a_name_for_screen_readers(page: Page) -> None:
    nameless = page.eval_on_selector_all(
        ":is(#tab_txt2img, #quicksettings) :is(button, input, textarea, select)",
        """controls => controls.filter((control) => !(control.getAttribute('aria-label') || control.textContent.trim()
            || control.title || control.labels?.length)).map((control) => control.outerHTML.slice(0, 120))""",
    )
    assert nameless == []


def test_a_phone_shows_prompt_generate_and_picture_without_sideways_scrolling(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    try:
        page = context.new_page()
        site.open(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        button = page.locator("#txt2img_generate").bounding_box()
        assert button["y"] + button["height"] <= 844
        assert button["height"] >= 44
        prompt, stage, settings = (
            page.locator(selector).bounding_box() for selector in (PROMPT, "#txt2img_gallery .stage", "#txt2img_settings")
        )
        assert prompt["y"] < stage["y"] < min(844, settings["y"])
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_wanted_colours(page: Page, site: Site, scheme: str) -> None:
    page.goto(f"{site.address}?__theme={scheme}")
    page.wait_for_selector("#txt2img_settings")
    red = page.eval_on_selector("#txt2img_settings", "panel => Number(getComputedStyle(panel).backgroundColor.match(/\\d+/)[0])")
    assert (red < 60) == (scheme == "dark")


def test_pictures_are_read_by_id_and_no_file_by_path(page: Page, site: Site) -> None:
    draw(page, "readable")
    assert re.fullmatch(r"/pictures/[\w-]{16,}", str(page.get_attribute(STAGE_PICTURE, "src")))
    secret = site.app.paths.data / "config.json"
    secret.write_text("{}", encoding="utf-8")
    picture = site.app.queue.jobs()[0].pictures[0].path
    outputs = site.app.paths.outputs.as_posix()
    asked = [secret.as_posix(), f"{outputs}/%2e%2e/config.json", f"{outputs}/%2e%2e%2fconfig.json", picture.as_posix()]
    statuses = [page.request.get(f"{site.address}gradio_api/file={path}").status for path in asked]
    assert statuses == [403] * len(asked)


def _seed(infotext: str) -> int:
    return int(infotext.partition("Seed: ")[2].partition(",")[0])
