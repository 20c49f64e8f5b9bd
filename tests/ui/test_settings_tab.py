"""The Settings tab: every declared setting, applied together or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import Site
from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.parameters import parameters_of
from webui.core.settings import Settings
from webui.ui.settings_tab import read_a1111, shown

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


def test_of_an_a1111_config_what_is_known_is_taken_and_the_rest_is_told() -> None:
    config = {
        "CLIP_stop_at_last_layers": 2,
        "samples_save": False,
        "live_previews_enable": "perhaps",
        "quicksettings_list": ["x"],
        "theme": 1,
    }
    read = read_a1111(json.dumps(config))
    assert read["changes"] == {"CLIP_stop_at_last_layers": 2, "samples_save": False}
    assert list(read["refused"]) == ["live_previews_enable"]
    assert read["unknown"] == 2


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10_000, "x" * 1_000_001])
def test_what_is_no_config_is_told(text: str) -> None:
    with pytest.raises(InvalidRequest, match="The file"):
        read_a1111(text)


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
