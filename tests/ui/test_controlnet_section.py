"""ControlNet's part of the form, in a real browser."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.catalog.model_files import write_model
from tests.ui.person import PROMPT, Site, draw, drop, generate
from webui.core.errors import InvalidRequest
from webui.core.request_parts.control import ControlUnit
from webui.ui.controlnet_section import ControlNetSection, read_units
from webui.ui.fields import shown
from webui.ui.form import read_form
from webui.ui.paste import in_words

UNIT = "#txt2img_controlnet_0"
SUMMARY = "#txt2img_controlnet summary"
SHAPES = {"input_hint_block.0.weight": (2, 3, 1, 1), "middle_block.1.transformer_blocks.0.attn2.to_k.weight": (2, 768)}


def picture(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 24), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def unfold(page: Page, site: Site) -> None:
    folder: Path = site.app.paths.controls[0]
    write_model(folder / "canny.safetensors", SHAPES)
    site.app.catalog.refresh()
    page.click(SUMMARY)
    page.wait_for_selector(f"{UNIT}_model", state="visible")


@pytest.mark.browser
def test_it_is_folded_away_and_does_nothing_until_a_unit_is_on(page: Page, site: Site) -> None:
    expect(page.locator(f"{UNIT}_model")).to_be_hidden()
    draw(page, "plain")
    assert site.app.queue.jobs()[0].request.control_units == ()


@pytest.mark.browser
def test_a_unit_is_filled_in_looked_at_and_goes_with_generate(page: Page, site: Site) -> None:
    unfold(page, site)
    page.set_input_files(f"{UNIT}_image", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
    expect(page.locator(f"{UNIT} img[alt='The picture to follow']")).to_be_visible()
    expect(page.locator(f"{UNIT}_threshold_a")).to_be_hidden()
    page.select_option(f"{UNIT}_module", "canny")
    expect(page.locator(f"{UNIT}_threshold_a")).to_have_value("100")
    page.fill(f"{UNIT}_threshold_a", "50")
    page.select_option(f"{UNIT}_model", "canny")
    page.fill(f"{UNIT}_weight", "0.7")
    page.fill(f"{UNIT}_guidance_end", "0.8")
    page.select_option(f"{UNIT}_control_mode", "ControlNet is more important")
    page.check(f"{UNIT}_enabled")
    expect(page.locator(SUMMARY).first).to_have_text("ControlNet: 1 unit on")
    page.click(f"{UNIT}_preview")
    expect(page.locator(f"{UNIT}_result")).to_be_visible()
    assert site.engine.annotated[-1] == ("canny", (40, 24), 512, 50, 200)
    page.check(f"{UNIT}_pixel_perfect")
    expect(page.locator(f"{UNIT}_processor_res")).to_be_hidden()
    draw(page, "after a picture")
    (unit,) = site.app.queue.jobs()[0].request.control_units
    assert (unit.module, unit.model, unit.weight, unit.guidance_end, unit.threshold_a) == ("canny", "canny", 0.7, 0.8, 50)
    assert (unit.control_mode, unit.pixel_perfect, len(unit.image)) == ("ControlNet is more important", True, 64)


@pytest.mark.browser
def test_what_is_missing_is_told_where_it_is_missed(page: Page, site: Site) -> None:
    unfold(page, site)
    page.click(f"{UNIT}_preview")
    expect(page.locator(f"{UNIT} .notice")).to_contain_text("There is no picture to look at")
    drop(page, f"{UNIT} .picture-well", "a.txt", b"no picture")
    expect(page.locator(f"{UNIT} .notice")).to_contain_text("cannot be read")
    page.check(f"{UNIT}_enabled")
    generate(page, "without a picture")
    expect(page.locator("#txt2img_results .notice")).to_contain_text("ControlNet 0: it has no picture")


@pytest.mark.browser
def test_a_picture_is_dropped_removed_and_units_are_apart(page: Page, site: Site) -> None:
    unfold(page, site)
    drop(page, f"{UNIT} .picture-well", "a.png", picture())
    expect(page.locator(f"{UNIT} img[alt='The picture to follow']")).to_be_visible()
    page.get_by_role("button", name="Remove the picture").first.click()
    expect(page.locator(f"{UNIT} img[alt='The picture to follow']")).to_be_hidden()
    page.click("#txt2img_controlnet_tab_1")
    expect(page.locator(UNIT)).to_be_hidden()
    page.check("#txt2img_controlnet_1_enabled")
    expect(page.locator("#txt2img_controlnet_tab_1")).to_contain_text("•")
    expect(page.locator("#txt2img_controlnet_tab_0")).to_have_text("Unit 0")


@pytest.mark.browser
def test_a_pasted_unit_is_taken_over(page: Page, site: Site) -> None:
    page.fill(
        PROMPT,
        "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 128x128, "
        'ControlNet 0: "Module: canny, Model: canny, Weight: 0.4, Guidance End: 0.5", Version: v1.10.1',
    )
    page.click("#paste")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(SUMMARY).first).to_have_text("ControlNet: 1 unit on")
    unfold(page, site)
    expect(page.locator(f"{UNIT}_weight")).to_have_value("0.4")
    assert page.is_checked(f"{UNIT}_enabled")


@pytest.mark.parametrize(
    ("value", "units"),
    [(None, []), ("x", []), ([{}], []), ([{"enabled": False, "weight": 9}], []), ([{}, {"enabled": True}, {}], [{}, {"enabled": True}])],
)
def test_only_units_that_are_on_are_asked_for(value: Any, units: list[Any]) -> None:
    assert read_units(value) == units


def test_units_are_shown_as_plain_data_and_told_in_words() -> None:
    unit = ControlUnit(enabled=True, module="canny", model="x", weight=0.5)
    assert shown("control_units", (unit,)) == [unit.model_dump()]
    assert in_words((ControlUnit(), unit)) == "canny, x, 0.5"
    assert in_words(()) == "(none)"


def test_a_hostile_page_is_told_what_is_wrong() -> None:
    hostile = {"control_units": [{"enabled": True, "weight": 99}]}
    with pytest.raises(InvalidRequest, match="weight"):
        read_form(hostile, (ControlNetSection(gr.HTML()),))
