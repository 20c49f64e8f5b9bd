"""An extension's script among the page's own controls: beside one that it is told of, and filled by a paste; in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.plugins.folders import install
from tests.ui.conftest import running
from tests.ui.person import PROMPT, Site, draw
from webui.core.paths import standard_paths

pytestmark = pytest.mark.browser

DIALOG = "#txt2img_paste_dialog dialog[open]"
TONING = """
import gradio as gr
from webui.core.parameters import parameter
from webui.plugins.script import Script

class Toning(Script):
    def title(self):
        return "Toning"

    def ui(self, is_img2img):
        return {
            "tone": parameter(0, title="Tone", help="How warm.", minimum=0, maximum=9, step=1, infotext="Tone"),
            "mood": parameter("", title="Mood", help="In words.", max_length=40, infotext="Tone mood"),
            "deep": parameter(False, title="Deep", help="Or not.", infotext="Tone deep"),
        }

    def before_component(self, elem_id, add):
        if elem_id.endswith("_steps"):
            add("tone")

    def after_component(self, component, **kwargs):
        if kwargs["elem_id"] == "txt2img_generate":
            said = gr.Textbox(label="Toned", elem_id="toning_said")
            component.click(lambda: "generating", None, said)
        if kwargs["elem_id"] == "img2img_prompt":
            kwargs["add"]("mood")

@hookimpl
def register_scripts():
    return [Toning()]
"""
FAILING = """
from webui.plugins.script import Script

class Failing(Script):
    def title(self):
        return "Failing"

    def after_component(self, elem_id, add):
        add("nothing")

@hookimpl
def register_scripts():
    return [Failing()]
"""
TONE = "#txt2img_script_toning_tone input[type=number]"
MOOD = "#txt2img_script_toning_mood :is(input, textarea)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    paths = standard_paths(tmp_path_factory.mktemp("data"))
    install(paths.extensions, "toning", TONING)
    install(paths.extensions, "failing", FAILING)
    with running(paths) as site:
        yield site


def test_a_control_stands_where_its_script_puts_it_and_acts_from_there(page: Page, site: Site) -> None:
    expect(page.locator(TONE)).to_be_visible()
    steps, tone = page.locator("#txt2img_steps").bounding_box(), page.locator("#txt2img_script_toning_tone").bounding_box()
    assert steps is not None
    assert tone is not None
    assert tone["y"] < steps["y"]
    page.fill(TONE, "6")
    page.locator(TONE).blur()
    assert "Tone: 6" in draw(page, "a warm harbour at six")
    request = site.app.queue.jobs()[0].request
    assert request.always_on == {"Toning": {"tone": 6, "mood": "", "deep": False}}


def test_what_found_no_place_is_in_the_folded_part_of_each_tab(page: Page) -> None:
    expect(page.locator("#txt2img_script_toning")).to_contain_text("Toning")
    page.locator("#txt2img_script_toning .label-wrap").click()
    expect(page.locator(MOOD)).to_be_visible()
    page.get_by_role("tab", name="img2img", exact=True).click()
    # There the mood stands below the prompt.
    expect(page.locator("#img2img_script_toning_mood")).to_be_visible()


def test_a_script_lays_out_and_connects_what_it_likes(page: Page, site: Site) -> None:
    expect(page.locator("#txt2img_actions #toning_said")).to_be_visible()
    draw(page, "a quay that is told of")
    expect(page.locator("#toning_said :is(input, textarea)")).to_have_value("generating")


def test_pasting_fills_the_controls_of_a_script(page: Page) -> None:
    pairs = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 4, Size: 64x64, Tone: 8, Tone mood: calm, Tone deep: True"
    page.fill(PROMPT, f"a pasted pier\n{pairs}")
    page.click("#paste")
    expect(page.locator(f"{DIALOG} .change").filter(has_text="Toning: Tone").locator("ins")).to_have_text("8")
    expect(page.locator(f"{DIALOG} .change").filter(has_text="Toning: Deep").locator("ins")).to_have_text("on")
    expect(page.locator(f"{DIALOG} .unknown")).to_have_count(0)
    page.click("#paste_apply")
    expect(page.locator(TONE)).to_have_value("8")
    assert "Tone: 8, Tone mood: calm, Tone deep: True" in draw(page, "a pasted pier again")


def test_a_script_that_fails_beside_a_control_leaves_the_page_as_it_is(page: Page, site: Site) -> None:
    assert [extension.error for extension in site.app.host.extensions()] == [None, None]
    expect(page.locator("#txt2img_generate")).to_be_visible()
    expect(page.locator("[id*=script_failing]")).to_have_count(0)
