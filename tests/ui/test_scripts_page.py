"""Scripts in a real browser: chosen, announced, drawn, cancelled, and there again after a reload."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import FAST, SLOW, STAGE_PICTURE, Site, draw, result, set_number

pytestmark = pytest.mark.browser

LIST = "#script_list input"
PLAN = "#txt2img_script_plan"
PLOT = "#txt2img_script_x_y_z_plot"


def choose(page: Page, box: str, option: str) -> None:
    """Choose from a list."""
    page.click(box)
    page.get_by_role("option", name=option, exact=True).click()


def plot_steps(page: Page, values: str) -> None:
    """Ask for a plot over the number of steps."""
    choose(page, LIST, "X/Y/Z plot")
    expect(page.locator(PLOT)).to_be_visible()
    choose(page, f"{PLOT} [id$=_x_type] input", "Steps")
    page.fill(f"{PLOT} [id$=_x_values] :is(input, textarea)", values)


def test_a_plot_is_announced_drawn_with_its_grid_first_and_kept_over_a_reload(page: Page, site: Site) -> None:
    plot_steps(page, "2,3")
    expect(page.locator(PLAN)).to_contain_text("Will draw 2 pictures and make 1 grid")
    page.fill("#txt2img_prompt textarea", "plotted")
    with result(page, "txt2img", "1 picture ·"):
        page.click("#txt2img_generate")
    job = site.app.queue.jobs()[0]
    assert job.request.script == "X/Y/Z plot"
    assert job.pictures[0].is_grid
    assert "X Type: Steps" in job.pictures[0].infotext
    assert sum(job_id == job.id for job_id, _ in site.engine.drawn) == 2
    site.open(page)
    expect(page.locator(LIST)).to_have_value("X/Y/Z plot")
    expect(page.locator(f"{PLOT} [id$=_x_values] :is(input, textarea)")).to_have_value("2,3")
    expect(page.locator(PLAN)).to_contain_text("Will draw 2 pictures")


def test_a_cancelled_plot_leaves_the_grid_of_what_was_drawn(page: Page, site: Site) -> None:
    plot_steps(page, "3-8")
    expect(page.locator(PLAN)).to_contain_text("Will draw 6 pictures")
    site.engine.step_seconds = SLOW
    page.fill("#txt2img_prompt textarea", "cut short")
    page.click("#txt2img_generate")
    page.wait_for_function("document.querySelector('#txt2img_results .progress')?.textContent.includes('batch 3/6')")
    page.click("#txt2img_interrupt")
    site.engine.step_seconds = FAST
    expect(page.locator(STAGE_PICTURE)).to_be_visible()
    job = site.app.queue.jobs()[0]
    job.wait(60)
    assert job.pictures[0].is_grid
    assert sum(job_id == job.id for job_id, _ in site.engine.drawn) < 6


def test_what_a_script_cannot_read_is_said_before_anything_is_drawn(page: Page, site: Site) -> None:
    plot_steps(page, "many")
    expect(page.locator(f"{PLAN} .refused")).to_contain_text("many")
    before = len(site.app.queue.jobs())
    page.click("#txt2img_generate")
    expect(page.locator("#txt2img_results .notice")).to_contain_text("many")
    assert len(site.app.queue.jobs()) == before


def test_a_result_is_sent_to_extras(page: Page, site: Site) -> None:
    set_number(page, "steps", 3)
    draw(page, "enlarge me")
    page.click("#txt2img_send_to_extras")
    expect(page.locator("#extras_generate")).to_be_visible()
    page.select_option("#extras_upscaler_1 select", "Nearest")
    page.fill("#extras_upscaling_resize input[type=number]", "2")
    page.click("#extras_generate")
    expect(page.locator("#html_info_extras")).to_contain_text("256 × 256")
