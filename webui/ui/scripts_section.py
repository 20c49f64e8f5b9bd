"""The scripts' part of a form: a list of them, what the chosen one asks, and how many pictures it would draw."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.parameters import Parameter, parameters_of
from webui.core.scripts import Script
from webui.ui.fields import component_for
from webui.ui.form import Form, read_form

NONE = "None"
# The control of the list itself; those of a script's arguments have its name before theirs.
CHOSEN = "scripts"
# An argument of this ending stands in the place of the one without it, where it has choices to offer.
INSTEAD = "_dropdown"
# Arguments of these endings decide what there is to offer. Each is listened to, in every tab, which the page pays for when it opens.
DECIDING = ("_type", "_mode")
MAX_FILE_BYTES = 500_000
QUIET: Mapping[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}


@dataclass(frozen=True)
class ScriptControls:
    """One script's part.  arguments: the controls by argument."""

    script: Script[Any]
    group: gr.Column
    arguments: Mapping[str, Component]


@dataclass(frozen=True)
class ScriptsSection:
    """All scripts of one tab; a `Section` of its form.  chosen: the list.   plan: where the announcement stands."""

    tab: str
    chosen: gr.Dropdown
    plan: gr.HTML
    scripts: tuple[ScriptControls, ...]

    @property
    def controls(self) -> Mapping[str, Component]:
        """The list, and every argument of every script."""
        of_scripts = {
            _control(part.script, name): control for part in self.scripts for name, control in part.arguments.items()
        }  # fmt: skip
        return {CHOSEN: self.chosen, **of_scripts}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The chosen script with its arguments; nothing when there is none.  Raises InvalidRequest."""
        title = values.get(CHOSEN) or NONE
        if title == NONE:
            return {}
        part = next((part for part in self.scripts if part.script.title == title), None)
        if part is None:
            raise InvalidRequest(f"Script: got {title!r}, which this tab does not have. Choose one of the list.")
        return {"script": title, "script_args": self.arguments(part, values)}

    def arguments(self, part: ScriptControls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What one script is asked, raw."""
        given = {name: values.get(_control(part.script, name)) for name in part.arguments}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def needs_picture(self) -> bool:
        """Whether the tab begins with a picture."""
        return self.tab != "txt2img"


def build_scripts(app: App, tab: str) -> ScriptsSection:
    """Lay the section out. `connect_scripts` makes it announce, once the form is whole.  tab: "txt2img", ...; only it has no picture."""
    offered = [script for script in app.scripts if tab != "txt2img" or not script.needs_picture]
    with gr.Column(elem_id=f"{tab}_script_container"):
        titles = [NONE, *(script.title for script in offered)]
        element = "script_list" if tab == "txt2img" else f"{tab}_script_list"
        chosen = gr.Dropdown(titles, value=NONE, label="Script", elem_id=element, filterable=False)
        plan = gr.HTML(value="", elem_id=f"{tab}_script_plan", elem_classes="script-plan", visible=False)
        section = ScriptsSection(tab, chosen, plan, tuple(_build_script(app, tab, script) for script in offered))
    groups = [part.group for part in section.scripts]

    def show(title: str | None) -> list[Any]:
        return [gr.update(visible=part.script.title == title) for part in section.scripts]

    chosen.change(show, chosen, groups, **QUIET)
    return section


def connect_scripts(app: App, form: Form, changed: Callable[..., Any]) -> None:
    """Say live what the chosen script would draw with the rest of the form as it is.

    changed: the event by which the page tells that the form changed while a script was chosen.
    """
    for section in form.sections:
        if isinstance(section, ScriptsSection):
            names, controls = list(form.controls), list(form.controls.values())
            announce = partial(_announce, app, section, form, names)
            changed(announce, controls, section.plan, trigger_mode="always_last", **QUIET)


def _announce(app: App, section: ScriptsSection, form: Form, names: list[str], *values: Any) -> dict[str, Any]:
    named = dict(zip(names, values, strict=True))
    if (named.get(CHOSEN) or NONE) == NONE:
        hidden: dict[str, Any] = gr.update(visible=False, value="")
        return hidden
    try:
        wish = read_form(named, form.sections)
        text, kind = app.plan_script(wish.request, wish.overrides).in_words(), "said"
    except WebuiError as error:
        text, kind = str(error), "refused"
    shown: dict[str, Any] = gr.update(visible=True, value=f'<p class="{kind}" role="status">{html.escape(text)}</p>')
    return shown


def _build_script(app: App, tab: str, script: Script[Any]) -> ScriptControls:
    arguments: dict[str, Component] = {}
    values = {"needs_picture": tab != "txt2img"}
    slug = slug_of(script)
    with gr.Column(visible=False, elem_id=f"{tab}_script_{slug}") as group:
        for name, parameter in parameters_of(script.arguments).items():
            if parameter.choices and len(parameter.choices) == 1:
                continue  # nothing to choose
            found = script.choices(name, {**_defaults(script), **values}, app.script_desk)
            arguments[name] = argument_control(parameter, found, f"{tab}_script_{slug}_{name}")
        if script.file_argument:
            _build_upload(arguments[script.file_argument], f"{tab}_script_{slug}_file")
    part = ScriptControls(script, group, arguments)
    _connect_choices(app, part, values)
    return part


def slug_of(script: Script[Any]) -> str:
    """What its elements are called by."""
    return "".join(letter if letter.isalnum() else "_" for letter in script.title.lower())


def argument_control(parameter: Parameter, choices: tuple[str, ...] | None, element: str) -> Component:
    """The control for one argument of a script.  choices: what it may be, where that is found at run time."""
    if not isinstance(parameter.default, tuple):
        looks: dict[str, Any] = {"lines": 4} if parameter.name.endswith("_txt") else {}
        return component_for(parameter, elem_id=element, choices=choices, info=parameter.help or None, **looks)
    return gr.Dropdown(
        list(choices or ()), value=list(parameter.default), multiselect=True, label=parameter.title, info=parameter.help or None,
        elem_id=element, visible=bool(choices), interactive=True,
    )  # fmt: skip


def _build_upload(target: Component, element: str) -> None:
    """A text file whose lines go into a box."""
    upload = gr.UploadButton("Take the lines of a file", type="binary", elem_id=element, size="sm")

    def fill(data: bytes | None) -> Any:
        if not data:
            return gr.skip()
        return data[:MAX_FILE_BYTES].decode("utf-8-sig", errors="replace")

    upload.upload(fill, upload, target, **{**QUIET, "preprocess": True})


def _connect_choices(app: App, part: ScriptControls, values: Mapping[str, Any]) -> None:
    """Where one argument decides what another offers: the offer is made anew, and stands in the place of the box it replaces."""
    script = part.script
    targets = [name for name in part.arguments if name.endswith(INSTEAD)]
    deciding = [name for name in part.arguments if name.endswith(DECIDING)]
    if not targets:
        return
    names = list(part.arguments)

    def offer(*given: Any) -> dict[Component, Any]:
        now = {**dict(zip(names, given, strict=True)), **values}
        updates: dict[Component, Any] = {}
        for target in targets:
            choices = script.choices(target, now, app.script_desk) or ()
            is_offered = bool(choices) and not now.get("csv_mode")
            kept = [value for value in now.get(target) or () if value in choices]
            updates[part.arguments[target]] = gr.update(choices=list(choices), value=kept, visible=is_offered)
            updates[part.arguments[target.removesuffix(INSTEAD)]] = gr.update(visible=not is_offered)
        return updates

    outputs = [part.arguments[name] for target in targets for name in (target, target.removesuffix(INSTEAD))]
    gr.on([part.arguments[name].change for name in deciding], offer, list(part.arguments.values()), outputs, **QUIET)


def _defaults(script: Script[Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in parameters_of(script.arguments).items()}


def _control(script: Script[Any], argument: str) -> str:
    return f"{CHOSEN}/{script.title}/{argument}"
