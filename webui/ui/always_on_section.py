"""Always-on scripts of extensions: for each that asks something a folded part of the form."""

from __future__ import annotations

from collections.abc import Mapping
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
        return {_control(script, name): control for script, controls in self.scripts for name, control in controls.items()}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The scripts that are asked for something else than is declared, with all they are asked."""
        asked: dict[str, Any] = {}
        for script, controls in self.scripts:
            given = {name: values.get(_control(script, name)) for name in controls}
            given = {name: value for name, value in given.items() if value is not None}
            declared = {name: one.default for name, one in parameters_of(script.arguments).items()}
            if any(_plain(declared[name]) != _plain(value) for name, value in given.items()):
                asked[script.title] = given
        return {"always_on": asked} if asked else {}


def build_always_on(app: App, parts: Parts) -> AlwaysOnSection | None:
    """Lay the parts out; none where no script of this tab asks anything."""
    built: list[tuple[Script[Any], Mapping[str, Component]]] = []
    for one in app.host.always_on():
        script = one.as_core()
        declared = parameters_of(script.arguments)
        if not one.tabs[parts.tab != "txt2img"] or not declared:
            continue
        element = parts.id(f"script_{slug_of(script)}")
        with gr.Accordion(script.title, open=False, elem_id=element):
            built.append((script, {name: argument_control(each, None, f"{element}_{name}") for name, each in declared.items()}))
    return AlwaysOnSection(tuple(built)) if built else None


def _control(script: Script[Any], argument: str) -> str:
    return f"{PREFIX}/{script.title}/{argument}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
