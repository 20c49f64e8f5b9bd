"""The whole page: quicksettings, tabs, and what happens when it opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui.form import Form, read_stored
from webui.ui.generate import followed, job_to_show
from webui.ui.png_info_tab import build_png_info
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
from webui.ui.styles_bar import offer_styles
from webui.ui.theme import TITLE
from webui.ui.txt2img_tab import Txt2imgTab, build_txt2img, connect_txt2img


def build_page(app: App) -> gr.Blocks:
    """The page as gradio serves it."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        quicksettings = build_quicksettings()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img"):
                tab = build_txt2img(app)
            with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo"):
                build_png_info(app)
            with gr.Tab("Queue", id="queue", elem_id="tab_queue"):
                build_queue(app)
        form = Form({**quicksettings.fields, **tab.fields}, tab.extra, tab.styles.styles, tab.overrides)
        connect_txt2img(app, tab, form)
        tab.overrides.show_tab(None, None, tabs, trigger_mode="multiple", js="() => window.webui.tabWanted()")
        _connect_quicksettings(app, quicksettings, form.fields, _connect_opening(app, page, quicksettings, tab, form))
    return page


def _browser_memory(name: str) -> gr.BrowserState:
    """Something the browser keeps. The key is no secret; it is fixed so that a restarted server can still be told."""
    return gr.BrowserState(storage_key=f"webui.{name}", secret="webui")  # noqa: S106  the browser's own storage, not a password


def _connect_opening(app: App, page: gr.Blocks, quicksettings: Quicksettings, tab: Txt2imgTab, form: Form) -> gr.BrowserState:
    """Restore this browser's form and follow its job when the page opens, and keep both from then on."""
    memory, fitted = _browser_memory("form"), _browser_memory("fitted")
    fields, controls = form.fields, form.controls

    def on_open(stored: Any, stored_fitted: Any) -> dict[Component, Any]:
        values, preferred = read_stored(stored, list(fields))
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
        changes[form.extra] = values.get("extra", False)
        changes[form.overrides] = values.get("overrides")
        changes[form.styles] = offer_styles(app, values.get("styles"))
        changes[tab.results] = followed(job_to_show(app, preferred))
        return changes

    opened = page.load(
        on_open, [memory, fitted], [*controls.values(), fitted, tab.results],
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    opened.then(None, None, None, js="() => window.webui.opened()")
    gr.on(
        [control.change for control in (*controls.values(), tab.results)], None, [memory, tab.results, *controls.values()], memory,
        js=f"(stored, job, ...values) => window.webui.pack({json.dumps(list(controls))}, stored, job, values)",
        show_progress="hidden",
    )  # fmt: skip
    return fitted


def _connect_quicksettings(app: App, bar: Quicksettings, fields: Mapping[str, Component], fitted: gr.BrowserState) -> None:
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    targets = [fields[name] for name in FITTED]

    def on_checkpoint(checkpoint: str | None, fitted_values: Any, *current: Any) -> list[Any]:
        fitting = fitting_values(app, checkpoint)
        values = refit(dict(zip(FITTED, current, strict=True)), fitted_values or {}, fitting)
        return [fitting, *(values[name] for name in FITTED)]

    bar.checkpoint.input(on_checkpoint, [bar.checkpoint, fitted, *targets], [fitted, *targets], **quiet)
    connect_refreshing(app, bar)
