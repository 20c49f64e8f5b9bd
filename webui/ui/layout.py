"""The whole page: quicksettings, tabs, and what happens when it opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui.fields import shown
from webui.ui.generate import followed, job_to_show
from webui.ui.queue_tab import build_queue
from webui.ui.quicksettings import (
    FITTED,
    Quicksettings,
    build_quicksettings,
    connect_refreshing,
    fitting_values,
    offer_checkpoints,
    offer_vaes,
    refit,
)
from webui.ui.theme import TITLE
from webui.ui.txt2img_tab import Txt2imgTab, build_txt2img, connect_txt2img


def build_page(app: App) -> gr.Blocks:
    """The page as gradio serves it."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        quicksettings = build_quicksettings()
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img"):
                tab = build_txt2img(app)
            with gr.Tab("Queue", id="queue", elem_id="tab_queue"):
                build_queue(app)
        fields = {**quicksettings.fields, **tab.fields}
        connect_txt2img(app, tab, fields)
        _connect_quicksettings(app, quicksettings, fields, _connect_opening(app, page, quicksettings, tab, fields))
    return page


def _browser_memory(name: str) -> gr.BrowserState:
    """Something the browser keeps. The key is no secret; it is fixed so that a restarted server can still be told."""
    return gr.BrowserState(storage_key=f"webui.{name}", secret="webui")  # noqa: S106  the browser's own storage, not a password


def _connect_opening(
    app: App, page: gr.Blocks, quicksettings: Quicksettings, tab: Txt2imgTab, fields: Mapping[str, Component]
) -> gr.BrowserState:
    """Restore this browser's form and follow its job when the page opens, and keep both from then on."""
    form, fitted = _browser_memory("form"), _browser_memory("fitted")

    def on_open(stored: Any, stored_fitted: Any) -> dict[Component, Any]:
        values, preferred = _read_form(stored)
        fitted_values = stored_fitted if isinstance(stored_fitted, dict) else {}
        checkpoints = offer_checkpoints(app, values.get("checkpoint"))
        changes: dict[Component, Any] = {fields[name]: value for name, value in values.items() if name in fields}
        if values.get("checkpoint") != checkpoints.value or not values:
            fitting = fitting_values(app, checkpoints.value)
            current = values or dict(fitted_values)
            changes |= {fields[name]: value for name, value in refit(current, fitted_values, fitting).items()}
            changes[fitted] = fitting
        changes[quicksettings.checkpoint] = checkpoints.update()
        changes[quicksettings.vae] = offer_vaes(app, values.get("vae")).update()
        changes[tab.results] = followed(job_to_show(app, preferred))
        return changes

    opened = page.load(
        on_open, [form, fitted], [*fields.values(), fitted, tab.results],
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    opened.then(None, None, None, js="() => window.webui.opened()")
    gr.on(
        [component.change for component in (*fields.values(), tab.results)], None, [form, tab.results, *fields.values()], form,
        js=f"(stored, job, ...values) => window.webui.pack({json.dumps(list(fields))}, stored, job, values)",
        show_progress="hidden",
    )  # fmt: skip
    return fitted


def _read_form(stored: Any) -> tuple[dict[str, Any], str | None]:
    """What a browser kept: the form's values and the job it followed. Anything of another shape counts as nothing."""
    if not isinstance(stored, dict) or not isinstance(stored.get("fields"), dict):
        return {}, None
    values = {name: shown(name, value) for name, value in stored["fields"].items() if isinstance(value, str | int | float)}
    return values, stored.get("job")


def _connect_quicksettings(app: App, bar: Quicksettings, fields: Mapping[str, Component], fitted: gr.BrowserState) -> None:
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    targets = [fields[name] for name in FITTED]

    def on_checkpoint(checkpoint: str | None, fitted_values: Any, *current: Any) -> list[Any]:
        fitting = fitting_values(app, checkpoint)
        values = refit(dict(zip(FITTED, current, strict=True)), fitted_values or {}, fitting)
        return [fitting, *(values[name] for name in FITTED)]

    bar.checkpoint.input(on_checkpoint, [bar.checkpoint, fitted, *targets], [fitted, *targets], **quiet)
    connect_refreshing(app, bar)
