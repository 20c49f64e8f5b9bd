"""A generation tab: prompts and buttons on top, parameters on the left, results on the right. What a mode adds, its own file says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui.always_on_section import ScriptPlaces
from webui.ui.form import Form, Section, Wish, read_form
from webui.ui.generate import Followed, act, draw_again, submit, submit_all
from webui.ui.sections import FOLDED
from webui.ui.styles_bar import connect_styles
from webui.ui.tab_parts import (
    Parts,
    TopRow,
    build_counts,
    build_results,
    build_sampling,
    build_seed,
    build_size,
    build_top_row,
)

QUIET: Mapping[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
Spread = Callable[[Mapping[str, Any], Wish], tuple[Sequence[Wish], Sequence[str]]]


@dataclass(frozen=True)
class Mode:
    """What one tab has that others have not. Each function lays its part out in the settings column.

    build_first: what stands above the sampler; the sections that it makes.
    build_size: width and height, in the place of the usual ones.
    spread: makes of one wish as many as the controls' values ask for, with remarks for the user.
    """

    id: str
    build_first: Callable[[App, Parts], tuple[Section, ...]] = lambda app, parts: ()
    build_size: Callable[[Parts], tuple[Section, ...]] | None = None
    spread: Callable[[App], Spread] | None = None


@dataclass(frozen=True)
class Tab:
    """A tab's components.  canvases: see Parts.   spread: see Mode."""

    id: str
    form: Form
    top: TopRow
    canvases: Mapping[str, str]
    results: gr.HTML
    spread: Spread | None = None


def build_tab(app: App, mode: Mode, shared: Mapping[str, Component]) -> Tab:
    """Lay a tab out, inside a gr.Tab.  shared: the controls above the tabs, by the request's parameter."""
    parts = Parts(mode.id, places=ScriptPlaces(app, mode.id))
    top = build_top_row(app, parts)
    with gr.Row(elem_id=parts.id("columns"), elem_classes="tab-columns"):
        with gr.Column(elem_id=parts.id("settings"), elem_classes="settings-column", scale=1, min_width=320):
            sections = list(mode.build_first(app, parts))
            build_sampling(app, parts)
            if mode.build_size:
                sections += mode.build_size(parts)
            else:
                build_size(parts)
            build_counts(parts)
            extra = build_seed(parts)
            sections += [section for build in FOLDED[mode.id] if (section := build(app, parts))]
        with gr.Column(elem_id=parts.id("results_column"), elem_classes="results-column", scale=1, min_width=320):
            results = build_results(app, mode.id)
    form = Form({**shared, **parts.fields}, extra, top.styles.styles, top.overrides, tuple(sections))
    return Tab(mode.id, form, top, parts.canvases, results, mode.spread(app) if mode.spread else None)


def connect_tab(app: App, tab: Tab) -> None:
    """Make the buttons act.

    Nothing here waits for a picture, so nothing needs gradio's queue: a job is followed by the panel itself.
    """
    names, controls = list(tab.form.controls), list(tab.form.controls.values())

    def on_generate(current: Followed | None, *values: Any) -> Followed:
        named = dict(zip(names, values, strict=True))

        def read() -> tuple[Sequence[Wish], Sequence[str]]:
            wish = read_form(named, tab.form.sections)
            return tab.spread(named, wish) if tab.spread else ([wish], ())

        return submit_all(app, read, current, tab=tab.id)

    # What is drawn in the tab's picture editors is stored first, and their values are then those that the job gets.
    stored = f"(...values) => window.webui.storeDrawn({json.dumps(tab.canvases)}, {json.dumps(['', *names])}, values)"
    tab.results.redraw(
        lambda current: submit(app, lambda: draw_again(app, current.get("picture"), vary=bool(current.get("vary"))), current, tab=tab.id),
        tab.results, tab.results, preprocess=False, trigger_mode="multiple",
        js="(followed) => window.webui.pictureToRedraw(followed)", **QUIET,
    )  # fmt: skip
    tab.top.generate.click(
        on_generate, [tab.results, *controls], tab.results, preprocess=False, trigger_mode="multiple",
        js=stored if tab.canvases else None, **QUIET,
    )  # fmt: skip
    for button, action in ((tab.top.interrupt, app.queue.cancel), (tab.top.skip, app.queue.skip)):
        button.click(lambda current, action=action: act(action, current), tab.results, None, **QUIET)
    prompts = {name: tab.form.fields[name] for name in ("prompt", "negative_prompt")}
    connect_styles(app, tab.id, tab.top.styles, list(prompts.values()), tab.results)
    for name, box in prompts.items():
        gr.on(
            [box.change, tab.form.styles.change], None, [box, tab.form.styles], None,
            js=f"(text, styles) => window.webui.promptChanged({tab.id!r}, {name!r}, text, styles)",
        )  # fmt: skip
    _connect_form(tab, names, controls)


def _connect_form(tab: Tab, names: list[str], controls: list[Component]) -> None:
    """The page's scripts read and change the form through the overrides' panel: gradio alone knows its controls' values."""
    arguments = f"{tab.id!r}, {json.dumps(names)}, values"
    overrides = tab.form.overrides
    overrides.read_form(None, controls, None, trigger_mode="multiple", js=f"(...values) => window.webui.formRead({arguments})")
    overrides.change_form(None, controls, controls, trigger_mode="multiple", js=f"(...values) => window.webui.formChanged({arguments})")
