"""The parts that generation tabs are built from. Each lays itself out where it is called and puts its controls into `Parts`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui import fields
from webui.ui.generate import look_at_all, show_folder_of, throw_picture_away
from webui.ui.prompt_box import build_prompt_box
from webui.ui.quicksettings import icon_button
from webui.ui.styles_bar import StylesBar, build_styles

NARROW = 130


class Places(Protocol):
    """Whoever is told of components."""

    def around(self, elem_id: str, build: Callable[[], Component]) -> Component:
        """Build it, telling before and after."""
        ...

    def rest(self) -> Any:
        """Lay out what has found no place; the section of the form that it makes."""
        ...


@dataclass
class Parts:
    """A tab while it is laid out.  tab: its id.   fields: controls by the request's parameter.

    canvases: the element of each picture editor, by its control's name; what is drawn there is stored before a job is queued.
    picture: the editor of the picture that jobs start from.   places: who is told of each control while it is laid out.
    """

    tab: str
    fields: dict[str, Component] = field(default_factory=dict)
    canvases: dict[str, str] = field(default_factory=dict)
    picture: Component | None = None
    places: Places | None = None

    def add(self, *names: str, **looks: Any) -> None:
        """Lay the controls of these parameters out."""
        for name in names:
            self.fields[name] = self.placed(fields.element_id(name, self.tab), partial(fields.field, name, tab=self.tab, **looks))

    def add_pair(self, *names: str, **looks: Any) -> None:
        """The same, beside each other."""
        with gr.Row(elem_classes="pair"):
            self.add(*names, min_width=NARROW, **looks)

    def placed(self, elem_id: str, build: Callable[[], Component]) -> Any:
        """Build a component, with what extensions lay out before and after it."""
        return self.places.around(elem_id, build) if self.places else build()

    def id(self, name: str) -> str:
        """The id of an element of this tab."""
        return f"{self.tab}_{name}"


@dataclass(frozen=True)
class TopRow:
    """What stands above the columns."""

    styles: StylesBar
    overrides: gr.HTML
    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button


def build_top_row(app: App, parts: Parts) -> TopRow:
    """Prompts, styles, and the buttons that begin and end a job."""
    tab = parts.tab
    with gr.Row(elem_id=parts.id("toprow"), elem_classes="toprow"):
        with gr.Column(elem_id=parts.id("prompts"), elem_classes="prompts", scale=6):
            for name, asks in (("prompt", "What should the picture show?"), ("negative_prompt", "What should it not show?")):
                box = partial(build_prompt_box, app, name, tab=tab, placeholder=asks)
                parts.fields[name] = parts.placed(fields.element_id(name, tab), box)
            with gr.Row(elem_id=parts.id("tools"), elem_classes=["with-button", "prompt-tools"]):
                styles = build_styles(tab)
                # A1111's id of the first tab's button; further ones need one of their own.
                paste_id = "paste" if tab == "txt2img" else parts.id("paste")
                icon_button("Take parameters over from the text in the prompt, or else from the selected picture", "paste", paste_id)
                icon_button("Presets of this tab", "preset", parts.id("presets"))
                icon_button("Prompts used before", "history", parts.id("prompt_history"))
                icon_button("Clear the prompts", "clear", parts.id("clear_prompt"))
                icon_button("Models under the prompts", "cards", parts.id("extra_networks_button"))
            overrides = _build_overrides(tab)
        with gr.Column(elem_id=parts.id("actions"), elem_classes="actions", scale=1, min_width=160):
            button = partial(gr.Button, "Generate", elem_id=parts.id("generate"), elem_classes="generate", variant="primary", size="lg")
            generate = parts.placed(parts.id("generate"), button)
            with gr.Row(elem_classes="running-buttons"):
                interrupt = gr.Button("Interrupt", elem_id=parts.id("interrupt"))
                skip = gr.Button("Skip", elem_id=parts.id("skip"), elem_classes="skip")
    return TopRow(styles, overrides, generate, interrupt, skip)


def _build_overrides(tab: str) -> gr.HTML:
    """What is set beside the form; and the events by which the page's scripts reach the controls."""
    events = ", ".join(f"{name}: () => trigger({name!r})" for name in ("read_form", "change_form"))
    return gr.HTML(
        value=None, html_template='<div class="chips" role="group" aria-label="Override settings"></div>',
        elem_id=f"{tab}_override_settings", elem_classes="no-room",
        js_on_load=f"window.webui.addOverrides({tab!r}, element, props, watch, {{{events}}})", apply_default_css=False,
    )  # fmt: skip


def build_sampling(app: App, parts: Parts) -> None:
    """Sampler, schedule, steps."""
    with gr.Row(elem_classes="pair"):
        parts.add("sampler", choices=[sampler.label for sampler in app.samplers], min_width=NARROW)
        parts.add("schedule", choices=[schedule.label for schedule in app.schedules], min_width=NARROW)
    parts.add("steps")


def build_size(parts: Parts) -> None:
    """Width and height, and the button that swaps them."""
    with gr.Row(elem_id=parts.id("size"), elem_classes=["with-button", "size-row"]):
        with gr.Column(min_width=200):
            parts.add("width", "height")
        with gr.Column(scale=0, min_width=40, elem_classes="size-buttons"):
            icon_button("Swap width and height", "swap", parts.id("res_switch_btn"))


def build_counts(parts: Parts) -> None:
    """How many pictures, and how strictly they follow the prompt."""
    parts.add_pair("batch_count", "batch_size")
    parts.add("cfg_scale")


def build_seed(parts: Parts) -> gr.Checkbox:
    """The seed, and behind a tick its variation and the noise of another size; the tick."""
    with gr.Row(elem_id=parts.id("seed_row"), elem_classes="with-button"):
        parts.add("seed", min_width=110)
        icon_button("Draw a new seed each time", "dice", parts.id("random_seed"))
        icon_button("Reuse the selected picture's seed", "reuse", parts.id("reuse_seed"))
        extra = gr.Checkbox(
            False, label="Extra", elem_id=parts.id("subseed_show"), elem_classes="subseed-show", container=False, min_width=70, scale=0
        )
    with gr.Column(elem_id=parts.id("seed_extras"), elem_classes="seed-extras"):
        with gr.Row(elem_id=parts.id("subseed_row"), elem_classes=["pair", "subseed-row"]):
            with gr.Row(elem_classes="with-button"):
                parts.add("subseed", min_width=110)
                icon_button("Draw a new variation seed each time", "dice", parts.id("random_subseed"))
                icon_button("Reuse the selected picture's variation seed", "reuse", parts.id("reuse_subseed"))
            parts.add("subseed_strength", min_width=NARROW)
        parts.add_pair("seed_resize_from_w", "seed_resize_from_h")
    return extra


def build_results(app: App, tab: str) -> gr.HTML:
    """The panel that follows a job and shows its pictures."""

    def follow(query: dict[str, Any]) -> dict[str, Any]:
        known, jobs = frozenset(query["known"]), [str(job) for job in query["jobs"]]
        return look_at_all(app, jobs, known=known, preview_seen=query["preview"], watching=bool(query["watching"]))

    def throw_away(query: dict[str, Any]) -> dict[str, Any]:
        return throw_picture_away(app, str(query.get("picture")))

    def show_folder(query: dict[str, Any]) -> dict[str, Any]:
        return show_folder_of(app, str(query.get("picture")))

    events = ", ".join(f"{name}: () => trigger({name!r})" for name in ("hires", "redraw"))
    return gr.HTML(
        value=None, html_template='<section class="results" aria-label="Results"></section>', elem_id=f"{tab}_results",
        server_functions=[follow, throw_away, show_folder], apply_default_css=False,
        js_on_load=f"window.webui.addResults({tab!r}, element, props, server, watch, {{{events}}})",
    )  # fmt: skip
