"""The Settings tab: every declared setting, applied together or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import Site
from webui.app import App
from webui.core.parameters import parameters_of
from webui.core.settings import Settings
from webui.ui.settings_tab import shown

SAID = "#settings_panel [role=status]"


def open_settings(page: Page) -> None:
    page.get_by_role("tab", name="Settings", exact=True).click()
    expect(page.locator("#setting_CLIP_stop_at_last_layers_input")).to_be_visible()


def test_every_setting_is_shown_once_under_its_heading(fake_app: App) -> None:
    settings = [one for section in shown(fake_app)["sections"] for one in section["settings"]]
    assert [one["name"] for one in settings] == list(dict.fromkeys(one["name"] for one in settings))
    assert {one["name"] for one in settings} == set(parameters_of(Settings))
    assert all(one["value"] == one["default"] for one in settings)
    json.dumps(settings)


def test_a_setting_of_the_command_line_is_marked(tmp_path: Path) -> None:
    from tests.fake_engine import FakeEngine
    from webui.core.paths import standard_paths

    app = App(standard_paths(tmp_path), command_line_settings={"eta_noise_seed_delta": 7}, engine=FakeEngine(), hashing=False)
    locked = [one["name"] for section in shown(app)["sections"] for one in section["settings"] if one["locked"]]
    assert locked == ["eta_noise_seed_delta"]
    app.close()


@pytest.mark.browser
def test_changes_are_gathered_applied_together_and_kept(page: Page, site: Site) -> None:
    open_settings(page)
    expect(page.locator("#settings_submit")).to_be_disabled()
    page.fill("#settings_search", "clip skip")
    expect(page.locator(".setting:visible")).to_have_count(2)
    page.fill("#setting_CLIP_stop_at_last_layers_input", "3")
    page.fill("#settings_search", "")
    page.uncheck("#setting_live_previews_enable_input")
    expect(page.locator("#settings_submit")).to_have_text("Apply settings (2)")
    assert site.app.settings.snapshot().CLIP_stop_at_last_layers == 1
    page.click("#settings_submit")
    expect(page.locator(SAID)).to_have_text("2 settings are applied.")
    assert (site.app.settings.snapshot().CLIP_stop_at_last_layers, site.app.settings.snapshot().live_previews_enable) == (3, False)
    page.check("#settings_only_changed")
    expect(page.locator(".setting:visible")).to_have_count(2)
    page.get_by_role("button", name="Back to the default: Clip skip", exact=True).click()
    page.get_by_role("button", name="Back to the default: ", exact=False).first.click()
    page.uncheck("#settings_only_changed")
    page.click("#settings_submit")
    expect(page.locator("#settings_submit")).to_be_disabled()
    assert site.app.settings.snapshot().CLIP_stop_at_last_layers == 1


@pytest.mark.browser
def test_a_wrong_value_is_told_and_nothing_is_applied(page: Page, site: Site) -> None:
    open_settings(page)
    page.fill("#setting_CLIP_stop_at_last_layers_input", "99")
    page.fill("#setting_eta_noise_seed_delta_input", "5")
    page.click("#settings_submit")
    expect(page.locator("#settings_panel .notice")).to_contain_text("CLIP_stop_at_last_layers")
    assert site.app.settings.snapshot().eta_noise_seed_delta == 0
    page.click("#settings_discard")
    expect(page.locator("#setting_CLIP_stop_at_last_layers_input")).to_have_value("1")


@pytest.mark.browser
def test_an_a1111_config_fills_the_form_and_waits_for_apply(page: Page, site: Site) -> None:
    open_settings(page)
    config = json.dumps({"eta_noise_seed_delta": 31337, "unknown_to_us": 1}).encode()
    page.locator("#settings_import_file").set_input_files({"name": "config.json", "mimeType": "application/json", "buffer": config})
    expect(page.locator(SAID)).to_contain_text("1 setting differs")
    expect(page.locator("#setting_eta_noise_seed_delta_input")).to_have_value("31337")
    assert site.app.settings.snapshot().eta_noise_seed_delta == 0
    page.click("#settings_discard")


@pytest.mark.browser
def test_what_is_not_taken_of_a_ui_config_is_listed_and_the_rest_is_what_a_new_browser_begins_with(page: Page, site: Site) -> None:
    open_settings(page)
    entries = {"txt2img/Sampling steps/value": 37, "txt2img/CFG Scale/value": 7.0, "txt2img/Nowhere/value": 1}
    file = {"name": "ui-config.json", "mimeType": "application/json", "buffer": json.dumps(entries).encode()}
    try:
        page.locator("#settings_import_file").set_input_files(file)  # type: ignore[arg-type]
        expect(page.locator(SAID)).to_contain_text("1 default is stored in ui-config.json")
        expect(page.locator(SAID)).to_contain_text("1 is as here anyway.")
        page.get_by_text("1 not taken").click()
        expect(page.locator(".settings-refused")).to_contain_text("txt2img/Nowhere/value")
        expect(page.locator(".settings-refused")).to_contain_text("This program has no such control.")
        page.goto(site.address + "robots.txt")
        page.evaluate("localStorage.clear()")
        site.open(page)
        expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("37")
    finally:
        site.app.paths.ui_config.unlink(missing_ok=True)


@pytest.mark.browser
def test_styles_of_a_file_are_there_when_the_page_is_opened_again(page: Page, site: Site) -> None:
    open_settings(page)
    file = {"name": "styles.csv", "mimeType": "text/csv", "buffer": b"name,prompt,negative_prompt\nwoodcut of A1111,as a woodcut,\n"}
    try:
        page.locator("#settings_import_file").set_input_files(file)  # type: ignore[arg-type]
        expect(page.locator(SAID)).to_have_text("1 style is stored; reload the page to choose them.")
        expect(page.locator(".settings-refused")).to_be_hidden()
        site.open(page)
        page.click("#txt2img_styles input")
        expect(page.get_by_role("option", name="woodcut of A1111")).to_be_visible()
    finally:
        site.app.paths.styles.unlink(missing_ok=True)
