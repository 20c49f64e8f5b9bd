"""The scripts' part of a form: generated from what scripts declare, read into a request, and announced before it starts."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.ui.scripts_section import CHOSEN, ScriptsSection, build_scripts


def built(app: App, tab: str) -> ScriptsSection:
    with gr.Blocks():
        return build_scripts(app, tab)


def values(section: ScriptsSection, title: str, **arguments: Any) -> dict[str, Any]:
    """The controls' values as they are at first, with these changed."""
    found = {name: control.value for name, control in section.controls.items()}
    return {**found, CHOSEN: title, **{f"{CHOSEN}/{title}/{name}": value for name, value in arguments.items()}}


def test_scripts_that_begin_with_a_picture_are_not_offered_where_there_is_none(fake_app: App) -> None:
    txt2img = [part.script.title for part in built(fake_app, "txt2img").scripts]
    img2img = [part.script.title for part in built(fake_app, "img2img").scripts]
    assert txt2img == ["X/Y/Z plot", "Prompt matrix", "Prompts from file or textbox"]
    assert img2img == [script.title for script in fake_app.scripts]


def test_every_declared_argument_has_a_control_that_gives_its_default(fake_app: App) -> None:
    section = built(fake_app, "img2img")
    for script in fake_app.scripts:
        read = section.read(values(section, script.title))
        assert script.read(read["script_args"]) == script.arguments(), script.title


def test_no_script_asks_for_nothing_and_one_of_another_tab_is_refused(fake_app: App) -> None:
    section = built(fake_app, "txt2img")
    assert section.read(values(section, "None")) == {}
    assert section.read({}) == {}
    with pytest.raises(InvalidRequest, match="'Loopback'"):
        section.read({CHOSEN: "Loopback"})


def test_what_is_written_into_the_controls_goes_into_the_request(fake_app: App) -> None:
    section = built(fake_app, "txt2img")
    read = section.read(values(section, "X/Y/Z plot", x_type="Steps", x_values="1-3", margin_size=4))
    assert read["script"] == "X/Y/Z plot"
    assert (read["script_args"]["x_type"], read["script_args"]["x_values"], read["script_args"]["margin_size"]) == ("Steps", "1-3", 4)
