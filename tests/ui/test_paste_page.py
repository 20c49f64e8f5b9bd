"""Taking parameters over from texts and pictures, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import INFOTEXT, LOG, NOTICE, PROMPT, Site, draw, drop, generate, number, picture_file, set_number

pytestmark = pytest.mark.browser

NEGATIVE = "#txt2img_neg_prompt textarea"
DIALOG = "#txt2img_paste_dialog dialog[open]"
CHIPS = "#txt2img_override_settings .chip"
COPIED = (
    "a cat\nNegative prompt: a dog\nSteps: 9, Sampler: Euler a, CFG scale: 3.5, Seed: 9007199254740993, Size: 64x72, Clip skip: 2,"
    " ENSD: 31337, Version: v1.10.1"
)
HOSTILE = "<img src=x onerror=window.hacked=1>${window.hacked=1}{{x}}"


def paste(page: Page, text: str) -> None:
    """Put a text into the prompt and press the arrow; the list of changes is there then."""
    page.fill(PROMPT, text)
    page.click("#paste")
    expect(page.locator(DIALOG)).to_have_count(1)


def tick(page: Page, name: str) -> None:
    page.click(f"{DIALOG} .change[data-name={name}] input")


def test_everything_but_the_prompts_is_listed_first_and_only_what_is_ticked_is_taken(page: Page) -> None:
    paste(page, COPIED)
    expect(page.locator(PROMPT)).to_have_value("a cat")
    expect(page.locator(NEGATIVE)).to_have_value("a dog")
    rows = page.locator(f"{DIALOG} .change")
    assert {row.get_attribute("data-name") for row in rows.all()} == {
        "steps", "sampler", "cfg_scale", "seed", "width", "height", "CLIP_stop_at_last_layers", "eta_noise_seed_delta",
    }  # fmt: skip
    assert rows.filter(has_text="Sampling steps").locator(".change-values").inner_text().split() == ["20", "→", "9"]
    assert number(page, "steps") == "20"
    tick(page, "width")
    tick(page, "eta_noise_seed_delta")
    page.click("#paste_apply")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("9")
    expect(page.locator("#txt2img_seed input")).to_have_value("9007199254740993")
    expect(page.locator("#txt2img_sampling input")).to_have_value("Euler a")
    expect(page.locator(CHIPS)).to_have_text(["Clip skip: 2"])
    assert (number(page, "width"), number(page, "height"), number(page, "cfg_scale")) == ("128", "72", "3.5")


@pytest.mark.parametrize("way", ["Escape", "Cancel"])
def test_cancelling_leaves_all_but_the_prompts(page: Page, way: str) -> None:
    paste(page, COPIED)
    if way == "Escape":
        page.keyboard.press("Escape")
    else:
        page.click("#paste_cancel")
    expect(page.locator(DIALOG)).to_have_count(0)
    expect(page.locator(PROMPT)).to_have_value("a cat")
    assert (number(page, "steps"), page.input_value("#txt2img_seed input")) == ("20", "-1")
    expect(page.locator(CHIPS)).to_have_count(0)


def test_enter_applies(page: Page) -> None:
    paste(page, COPIED)
    page.keyboard.press("Enter")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("9")
    expect(page.locator(DIALOG)).to_have_count(0)


def test_settings_taken_over_go_with_the_jobs_until_they_are_removed(page: Page, site: Site) -> None:
    paste(page, COPIED)
    page.click("#paste_apply")
    expect(page.locator(CHIPS)).to_have_text(["Clip skip: 2", "Eta noise seed delta: 31337"])
    site.open(page)
    expect(page.locator(CHIPS)).to_have_count(2)
    generate(page, "with both")
    expect(page.locator(INFOTEXT)).to_contain_text("Clip skip: 2, ENSD: 31337")
    assert site.app.settings.snapshot().CLIP_stop_at_last_layers == 1
    page.locator(CHIPS).filter(has_text="Clip skip").click()
    expect(page.locator(CHIPS)).to_have_text(["Eta noise seed delta: 31337"])
    infotext = draw(page, "with one")
    assert "ENSD: 31337" in infotext
    assert "Clip skip" not in infotext


def test_a_paste_without_the_setting_takes_it_back(page: Page) -> None:
    paste(page, COPIED)
    page.click("#paste_apply")
    expect(page.locator(CHIPS)).to_have_count(2)
    paste(page, COPIED.replace(" Clip skip: 2,", ""))
    expect(page.locator(f"{DIALOG} .change")).to_have_count(1)
    page.click("#paste_apply")
    expect(page.locator(CHIPS)).to_have_text(["Eta noise seed delta: 31337"])


def test_another_model_is_taken_only_when_it_is_ticked(page: Page) -> None:
    vae = page.locator("#setting_sd_vae input")
    for ticked, wanted in ((False, "Automatic"), (True, "None")):
        paste(page, f"{COPIED}, VAE: None")
        expect(page.locator(f"{DIALOG} fieldset[data-kind=model]")).to_contain_text("tick to confirm")
        if ticked:
            tick(page, "vae")
        page.click("#paste_apply")
        expect(page.locator(DIALOG)).to_have_count(0)
        expect(vae).to_have_value(wanted)


def test_a_variation_brings_its_tick_and_leaves_idle_extras_idle(page: Page, site: Site) -> None:
    page.check("#txt2img_subseed_show input")
    set_number(page, "seed_resize_from_w", 512)
    set_number(page, "seed_resize_from_h", 512)
    page.uncheck("#txt2img_subseed_show input")
    expect(page.locator("#txt2img_subseed")).to_be_hidden()
    paste(page, f"{COPIED}, Variation seed: 7, Variation seed strength: 0.25")
    page.click("#paste_apply")
    expect(page.locator("#txt2img_subseed input")).to_have_value("7")
    expect(page.locator("#txt2img_subseed_show input")).to_be_checked()
    infotext = draw(page, "varied")
    assert "Variation seed: 7, Variation seed strength: 0.25" in infotext
    assert "Seed resize from" not in infotext
    site.open(page)
    expect(page.locator("#txt2img_subseed")).to_be_visible()
    page.uncheck("#txt2img_subseed_show input")
    assert "Variation seed" not in draw(page, "plain again")


def test_the_variation_seeds_buttons_draw_a_new_one_and_reuse_the_pictures(page: Page) -> None:
    page.check("#txt2img_subseed_show input")
    set_number(page, "subseed_strength", 0.5)
    infotext = draw(page, "varied by chance")
    drawn = infotext.partition("Variation seed: ")[2].partition(",")[0]
    page.click("#txt2img_reuse_subseed")
    expect(page.locator("#txt2img_subseed input")).to_have_value(drawn)
    page.click("#txt2img_random_subseed")
    expect(page.locator("#txt2img_subseed input")).to_have_value("-1")


def test_what_is_folded_away_is_taken_over_kept_and_named(page: Page, site: Site) -> None:
    paste(page, f"{COPIED}, CFG rescale: 0.7")
    page.click("#paste_apply")
    expect(page.locator("#txt2img_guidance > button")).to_contain_text("Guidance: CFG rescale 0.7")
    site.open(page)
    assert "CFG rescale: 0.7" in draw(page, "rescaled")
    page.click("#txt2img_guidance > button")
    expect(page.locator("#txt2img_cfg_rescale input[type=number]")).to_have_value("0.7")


def test_an_empty_prompt_takes_the_selected_pictures_parameters(page: Page) -> None:
    seed = draw(page, "the last picture").partition("Seed: ")[2].partition(",")[0]
    page.fill(PROMPT, "")
    page.click("#paste")
    expect(page.locator(PROMPT)).to_have_value("the last picture")
    page.click("#paste_apply")
    expect(page.locator("#txt2img_seed input")).to_have_value(seed)


def test_a_paste_that_changes_only_the_prompts_asks_nothing(page: Page) -> None:
    draw(page, "first")
    page.click("#txt2img_reuse_seed")
    page.fill(PROMPT, "")
    page.click("#paste")
    expect(page.locator(LOG)).to_contain_text("nothing else differs")
    expect(page.locator(PROMPT)).to_have_value("first")
    expect(page.locator(DIALOG)).to_have_count(0)


def test_a_mere_prompt_is_left_alone_and_the_reason_told(page: Page) -> None:
    page.fill(PROMPT, "just a cat")
    page.click("#paste")
    expect(page.locator(NOTICE)).to_contain_text("holds no parameters")
    assert page.input_value(PROMPT) == "just a cat"


def test_a_hostile_infotext_is_shown_as_text(page: Page) -> None:
    paste(page, f'{COPIED}, Model: "{HOSTILE}", {"Foo"}: "{HOSTILE}"'.replace("a cat", HOSTILE))
    expect(page.locator(PROMPT)).to_have_value(HOSTILE)
    dialog = page.locator(DIALOG)
    expect(dialog.locator(".unknown dd")).to_have_text(HOSTILE)
    expect(dialog.locator(".remarks")).to_contain_text("is not here")
    assert HOSTILE in dialog.locator(".remarks").inner_text()
    assert dialog.locator("img, script").count() == 0
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("box", [PROMPT, NEGATIVE])
def test_a_picture_dropped_on_a_prompt_is_read_by_the_server(page: Page, site: Site, box: str) -> None:
    drop(page, box, "cat.png", picture_file(site, "a dropped cat", negative_prompt="no dog", eta=0.5, seed=11))
    expect(page.locator(DIALOG)).to_have_count(1)
    expect(page.locator(PROMPT)).to_have_value("a dropped cat")
    expect(page.locator(NEGATIVE)).to_have_value("no dog")
    page.click("#paste_apply")
    expect(page.locator(CHIPS)).to_have_text(["Eta: 0.5"])
    expect(page.locator("#txt2img_seed input")).to_have_value("11")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(b"no picture at all", "picture", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "says nothing", id="empty"),
        pytest.param(bytes(2000), "at most", id="large"),
    ],
)
def test_a_dropped_file_that_cannot_be_used_is_told_and_the_prompt_stays(page: Page, data: bytes, told: str) -> None:
    page.evaluate("window.webui.facts.largestPicture = 1000")
    page.fill(PROMPT, "kept")
    drop(page, PROMPT, "x.png", data)
    expect(page.locator(NOTICE)).to_contain_text(told)
    assert page.input_value(PROMPT) == "kept"
