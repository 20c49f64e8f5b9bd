"""Always-on scripts of extensions: their controls, in a folded part of the form for each, or beside other controls where they want them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.parameters import parameters_of
from webui.core.scripts import Script
from webui.ui.scripts_section import argument_control, slug_of
from webui.ui.tab_parts import Parts

PREFIX = "always on"


@dataclass(frozen=True)
class AlwaysOnSection:
    """All of one tab; a `Section` of its form.  scripts: each with its controls by argument."""

    scripts: tuple[tuple[Script[Any], Mapping[str, Component]], ...]

    @property
    def controls(self) -> Mapping[str, Component]:
        """Every argument of every script."""
        return {control_name(script.title, name): control for script, controls in self.scripts for name, control in controls.items()}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The scripts that are asked for something else than is declared, with all they are asked."""
        asked: dict[str, Any] = {}
        for script, controls in self.scripts:
            given = {name: values.get(control_name(script.title, name)) for name in controls}
            given = {name: value for name, value in given.items() if value is not None}
            declared = {name: one.default for name, one in parameters_of(script.arguments).items()}
            if any(_plain(declared[name]) != _plain(value) for name, value in given.items()):
                asked[script.title] = given
        return {"always_on": asked} if asked else {}


class ScriptPlaces:
    """The always-on scripts of one tab while it is laid out; they are told of each control, and may lay theirs out beside it."""

    def __init__(self, app: App, tab: str) -> None:
        self._app = app
        self._tab = tab
        self._scripts = [one for one in app.host.always_on() if one.tabs[tab != "txt2img"]]
        self._built: dict[str, dict[str, Component]] = {one.title: {} for one in self._scripts}

    def around(self, elem_id: str, build: Callable[[], Component]) -> Component:
        """Build a control, telling scripts before and after it.  elem_id: its own."""
        self._tell("before_component", None, elem_id)
        component = build()
        self._tell("after_component", component, elem_id)
        return component

    def rest(self) -> AlwaysOnSection | None:
        """Lay out what has found no place yet; all of it, as a section. None where no script of this tab asks anything."""
        for one in self._scripts:
            script, built = one.as_core(), self._built[one.title]
            left = [name for name in parameters_of(script.arguments) if name not in built]
            if left:
                with gr.Accordion(script.title, open=False, elem_id=self._element(script)):
                    for name in left:
                        self._add(script, name)
        scripts = tuple((one.as_core(), self._built[one.title]) for one in self._scripts if self._built[one.title])
        return AlwaysOnSection(scripts) if scripts else None

    def _tell(self, method: str, component: Component | None, elem_id: str) -> None:
        for one in self._scripts:
            if one.overrides(method):
                script = one.as_core()
                given = {"component": component, "elem_id": elem_id, "is_img2img": self._tab != "txt2img"}
                self._app.host.at_component(one, method, {**given, "add": lambda name, script=script: self._add(script, name)})

    def _add(self, script: Script[Any], name: str) -> Component:
        """Lay a declared control of a script out, here.  Raises ValueError for one that it has not, or that has its place."""
        declared, built = parameters_of(script.arguments), self._built[script.title]
        if name not in declared or name in built:
            raise ValueError(f"add({name!r}): {script.title} has {', '.join(declared) or 'no controls'}; each is added once")
        built[name] = argument_control(declared[name], None, f"{self._element(script)}_{name}")
        return built[name]

    def _element(self, script: Script[Any]) -> str:
        return f"{self._tab}_script_{slug_of(script)}"


def build_always_on(app: App, parts: Parts) -> AlwaysOnSection | None:
    """Lay the folded parts out; none where no script of this tab asks anything."""
    return parts.places.rest() if parts.places else None


def control_name(title: str, argument: str) -> str:
    """What a form calls the control of a script's argument."""
    return f"{PREFIX}/{title}/{argument}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
