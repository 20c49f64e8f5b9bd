"""What a ui-config.json does to the tabs' controls."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.ui_config import UiConfig
from webui.ui.defaults import FormDefaults, TabDefaults
from webui.ui.imports import take_over
from webui.ui.layout import MODES
from webui.ui.quicksettings import build_quicksettings
from webui.ui.tab import build_tab


def laid_out(app: App) -> tuple[TabDefaults, dict[str, FormDefaults]]:
    """The tabs' forms, and the defaults over them."""
    with gr.Blocks(analytics_enabled=False):
        shared = build_quicksettings().fields
        forms = [FormDefaults(mode.id, build_tab(app, mode, shared).form) for mode in MODES]
    defaults = TabDefaults(UiConfig(app.paths.ui_config), forms)
    defaults.lay_over()
    return defaults, {form.id: form for form in forms}


def write(app: App, content: dict[str, Any]) -> None:
    app.paths.ui_config.parent.mkdir(parents=True, exist_ok=True)
    app.paths.ui_config.write_text(json.dumps(content), encoding="utf-8")


def stored(app: App) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(app.paths.ui_config.read_text(encoding="utf-8"))
    return content


def test_values_are_those_of_the_file_by_labels_of_any_case(fake_app: App) -> None:
    write(fake_app, {
        "txt2img/Sampling Steps/value": 31, "txt2img/CFG Scale/value": 9.5, "txt2img/Hires. fix/value": True,
        "txt2img/Styles/value": ["ink"],
        "customscript/seed.py/txt2img/Seed/value": 7, "customscript/refiner.py/txt2img/Switch at/value": 0.6,
        "customscript/loopback.py/img2img/Loops/value": 3, "txt2img/Script/value": "Prompt matrix",
    })  # fmt: skip
    defaults, _ = laid_out(fake_app)
    assert defaults.values("txt2img") == {
        "steps": 31, "cfg_scale": 9.5, "enable_hr": True, "styles": ["ink"], "seed": "7", "refiner_switch_at": 0.6,
        "scripts": "Prompt matrix",
    }  # fmt: skip
    assert defaults.values("img2img") == {"scripts/Loopback/loops": 3}
    assert defaults.values("inpaint") is None


def test_ends_steps_and_what_is_hidden_are_laid_over_the_controls(fake_app: App) -> None:
    write(fake_app, {
        "txt2img/Width/minimum": 256, "txt2img/Width/maximum": 1024, "txt2img/Width/step": 64, "txt2img/Batch count/visible": False,
        "txt2img/Sampling steps/maximum": 10**9, "txt2img/Height/step": 0, "txt2img/Prompt/maximum": 3,
    })  # fmt: skip
    _, forms = laid_out(fake_app)
    controls = forms["txt2img"].form.controls
    width: Any = controls["width"]
    assert (width.minimum, width.maximum, width.step) == (256, 1024, 64)
    assert controls["batch_count"].visible is False
    height: Any = controls["height"]
    assert height.step == 8
    steps: Any = controls["steps"]
    assert steps.maximum == 150, "more than is accepted is left out"
    other: Any = forms["img2img"].form.controls["width"]
    assert other.maximum == 2048


@pytest.mark.parametrize("value", [None, "many", -3, 10**9, [], {}, True])
def test_a_wrong_value_leaves_the_declared_one(fake_app: App, value: Any) -> None:
    write(fake_app, {"txt2img/Sampling steps/value": value, "txt2img/Width/value": 768})
    assert laid_out(fake_app)[0].values("txt2img") == {"width": 768}


@pytest.mark.parametrize("content", ["{", "[]", '{"txt2img/Width": {"value": 3}}', '{"": 1, "a": 2}'])
def test_a_file_of_another_kind_changes_nothing(fake_app: App, content: str) -> None:
    fake_app.paths.ui_config.write_text(content, encoding="utf-8")
    defaults, _ = laid_out(fake_app)
    assert defaults.values("txt2img") is None
    assert not defaults.has("txt2img")


def test_what_a_tab_is_made_to_begin_with_stands_in_the_file_as_a1111_writes_it(fake_app: App) -> None:
    others = {"txt2img/Width/maximum": 1024, "img2img/Width/value": 640, "extension/Thing/value": 1}
    write(fake_app, {"txt2img/Sampling steps/value": 5, **others})
    defaults, _ = laid_out(fake_app)
    defaults.save("txt2img", {"steps": 33, "prompt": "a mill", "styles": [], "overrides": {"settings": {"CLIP_stop_at_last_layers": 2}}})
    assert stored(fake_app) == {
        **others, "txt2img/Sampling steps/value": 33, "txt2img/Prompt/value": "a mill", "txt2img/Styles/value": [],
        "txt2img/overrides/value": {"settings": {"CLIP_stop_at_last_layers": 2}},
    }  # fmt: skip
    values = defaults.values("txt2img")
    assert values
    assert (values["steps"], values["prompt"]) == (33, "a mill")
    assert defaults.values("img2img") == {"width": 640}
    defaults.forget("txt2img")
    assert defaults.values("txt2img") is None
    assert stored(fake_app) == others


def test_what_cannot_be_a_default_is_told_by_its_label(fake_app: App) -> None:
    defaults, _ = laid_out(fake_app)
    with pytest.raises(InvalidRequest, match="Sampling steps"):
        defaults.save("txt2img", {"steps": 0})


def test_an_import_takes_what_differs_and_says_why_the_rest_is_not_taken(fake_app: App) -> None:
    defaults, forms = laid_out(fake_app)
    content = {
        "txt2img/Sampling steps/value": 25, "txt2img/Width/value": 512, "txt2img/Width/visible": True,
        "img2img/Denoising strength/value": 0.4,
        "img2img/Mask blur/value": 8, "txt2img/Height/value": 7, "txt2img/Nonsense/value": 1, "extras/Resize/value": 4,
    }  # fmt: skip
    report = take_over(fake_app, defaults, json.dumps(content))
    assert (report["kind"], report["taken"], report["same"]) == ("ui-config", 5, 2)
    assert sorted(report["refused"]) == ["extras/Resize/value", "txt2img/Height/value", "txt2img/Nonsense/value"]
    assert "no such control" in report["refused"]["txt2img/Nonsense/value"]
    assert stored(fake_app) == {
        "txt2img/Sampling steps/value": 25, "img2img/Denoising strength/value": 0.4, "inpaint/Denoising strength/value": 0.4,
        "depth2img/Denoising strength/value": 0.4, "inpaint/Mask blur/value": 8,
    }  # fmt: skip
    assert defaults.values("inpaint") == {"denoising_strength": 0.4, "mask_blur_x": 8}
    assert set(forms) == {"txt2img", "img2img", "inpaint", "depth2img"}


def test_styles_are_taken_beside_those_that_are_there(fake_app: App) -> None:
    fake_app.paths.styles.write_text("name,prompt,negative_prompt\nink,in ink,\noil,in oil,\n", encoding="utf-8")
    defaults, _ = laid_out(fake_app)
    report = take_over(fake_app, defaults, "name,prompt,negative_prompt\nink,in ink,\noil,oil on canvas,\nchalk,in chalk,dark\n")
    assert (report["kind"], report["taken"], report["same"], list(report["refused"])) == ("styles", 1, 1, ["oil"])
    assert {style.name: style.prompt for style in fake_app.styles.styles()} == {"ink": "in ink", "oil": "in oil", "chalk": "in chalk"}


def test_of_an_a1111_config_what_is_known_is_taken_and_the_rest_is_told(fake_app: App) -> None:
    defaults, _ = laid_out(fake_app)
    config = {"CLIP_stop_at_last_layers": 2, "samples_save": True, "live_previews_enable": "perhaps", "outdir_samples": "x", "theme": 1}
    report = take_over(fake_app, defaults, json.dumps(config))
    assert (report["kind"], report["changes"], report["same"]) == ("config", {"CLIP_stop_at_last_layers": 2}, 1)
    assert sorted(report["refused"]) == ["live_previews_enable", "outdir_samples", "theme"]
    assert "no such setting" in report["refused"]["theme"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10_000, "x" * 2_000_001, "just words\n", "\x00"])
def test_what_is_none_of_the_files_is_told(fake_app: App, text: str) -> None:
    defaults, _ = laid_out(fake_app)
    with pytest.raises(InvalidRequest):
        take_over(fake_app, defaults, text)
