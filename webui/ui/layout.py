"""The whole page: quicksettings, tabs, and what happens when it opens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.ui_config import UiConfig
from webui.ui.defaults import FormDefaults, TabDefaults
from webui.ui.depth2img_tab import DEPTH2IMG
from webui.ui.extension_tabs import build_extension_tabs
from webui.ui.extensions_tab import build_extensions
from webui.ui.extras_tab import build_extras
from webui.ui.form import read_stored
from webui.ui.gallery_tab import build_gallery
from webui.ui.generate import FIRST_TAB, job_to_show
from webui.ui.img2img_tab import IMG2IMG
from webui.ui.inpaint_tab import INPAINT
from webui.ui.models_tab import build_models, build_models_server
from webui.ui.paste import build_paste
from webui.ui.png_info_tab import build_png_info
from webui.ui.presets import build_presets
from webui.ui.prompt_words import build_prompt_words
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
from webui.ui.scripts_section import connect_scripts
from webui.ui.settings_tab import build_settings
from webui.ui.styles_bar import build_styles_dialog, offer_styles
from webui.ui.tab import Tab, build_tab, connect_tab
from webui.ui.theme import TITLE
from webui.ui.txt2img_tab import TXT2IMG, connect_hires_this

MODES = (TXT2IMG, IMG2IMG, INPAINT, DEPTH2IMG)


def build_page(app: App) -> gr.Blocks:
    """The page as gradio serves it."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        quicksettings = build_quicksettings()
        drawing = []
        with gr.Tabs(elem_id="tabs") as tabs:
            for mode in MODES:
                with gr.Tab(mode.id, id=mode.id, elem_id=f"tab_{mode.id}"):
                    drawing.append(build_tab(app, mode, quicksettings.fields))
            defaults = TabDefaults(UiConfig(app.paths.ui_config), [FormDefaults(tab.id, tab.form) for tab in drawing])
            defaults.lay_over()
            with gr.Tab("Extras", id="extras", elem_id="tab_extras"):
                build_extras(app)
            with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo"):
                build_png_info(app)
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                build_models()
            with gr.Tab("Gallery", id="gallery", elem_id="tab_gallery"):
                build_gallery(app)
            with gr.Tab("Queue", id="queue", elem_id="tab_queue"):
                build_queue(app)
            build_extension_tabs(app)
            with gr.Tab("Extensions", id="extensions", elem_id="tab_extensions"):
                build_extensions(app)
            with gr.Tab("Settings", id="settings", elem_id="tab_settings"):
                build_settings(app, defaults)
        models = build_models_server(app)
        build_paste(app)
        build_prompt_words(app)
        build_presets(app, defaults)
        build_styles_dialog(app, [tab.form.styles for tab in drawing])
        events = _build_events(tabs)
        for tab in drawing:
            connect_tab(app, tab)
            connect_scripts(app, tab.form, getattr(events, f"plan_{tab.id}"))
        connect_hires_this(app, drawing[0])
        _connect_quicksettings(app, quicksettings, models, drawing, _connect_opening(app, page, quicksettings, drawing, events, defaults))
    return page


def _build_events(tabs: gr.Tabs) -> gr.HTML:
    """By which the page's scripts show a tab, keep a tab's form, and have its script's plan announced.

    A listener on each control instead would make gradio search its tree of components for each, when the page opens and at each key.
    """
    names = ["show_tab", *(f"{kind}_{mode.id}" for kind in ("keep", "plan") for mode in MODES)]
    triggers = ", ".join(f"{name}: () => trigger({name!r})" for name in names)
    events = gr.HTML(
        value=None, html_template="", elem_id="page_events", elem_classes="no-room", apply_default_css=False,
        js_on_load=f"window.webui.addPageEvents({{{triggers}}})",
    )  # fmt: skip
    events.show_tab(None, None, tabs, trigger_mode="multiple", js="() => window.webui.tabWanted()")
    return events


def _browser_memory(name: str) -> gr.BrowserState:
    """Something the browser keeps. The key is no secret; it is fixed so that a restarted server can still be told."""
    return gr.BrowserState(storage_key=f"webui.{name}", secret="webui")  # noqa: S106  the browser's own storage, not a password


def _connect_opening(
    app: App, page: gr.Blocks, quicksettings: Quicksettings, tabs: Sequence[Tab], events: gr.HTML, defaults: TabDefaults
) -> gr.BrowserState:  # fmt: skip
    """Restore this browser's forms and follow its jobs when the page opens, and keep both from then on; what was last fitted.

    The controls above the tabs are in every tab's memory; the first tab's counts.
    """
    fitted = _browser_memory("fitted")
    memories = [_browser_memory("form" if tab.id == FIRST_TAB else f"form.{tab.id}") for tab in tabs]

    def on_open(stored_fitted: Any, *remembered: Any) -> dict[Component, Any]:
        stored = [kept or {"fields": defaults.values(tab.id)} for tab, kept in zip(tabs, remembered, strict=True)]
        fitted_values = stored_fitted if isinstance(stored_fitted, dict) else {}
        chosen, _ = read_stored(stored[0], ["checkpoint", "vae"])
        checkpoints = offer_checkpoints(app, chosen.get("checkpoint"))
        changes: dict[Component, Any] = {}
        for tab, kept in zip(tabs, stored, strict=True):
            changes |= _restored(app, tab, kept)
        fitting = fitting_values(app, checkpoints.value)
        for fields in (tab.form.fields for tab in tabs):
            if chosen.get("checkpoint") != checkpoints.value or any(fields[name] not in changes for name in FITTED):
                current = {name: changes.get(fields[name], fitted_values.get(name)) for name in FITTED}
                changes |= {fields[name]: value for name, value in refit(current, fitted_values, fitting).items()}
        changes[fitted] = fitting
        changes[quicksettings.checkpoint] = checkpoints.update()
        changes[quicksettings.vae] = offer_vaes(app, chosen.get("vae")).update()
        return changes

    controls = dict.fromkeys(control for tab in tabs for control in (*tab.form.controls.values(), tab.results))
    opened = page.load(
        on_open, [fitted, *memories], [*controls, fitted], queue=False, show_progress="hidden", api_visibility="private",
        show_progress_on=tabs[0].results,  # even hidden progress is told to every component that is named
    )  # fmt: skip
    opened.then(None, None, None, js="() => window.webui.opened()")
    for tab, memory in zip(tabs, memories, strict=True):
        names, values = list(tab.form.controls), list(tab.form.controls.values())
        getattr(events, f"keep_{tab.id}")(
            None, [memory, tab.results, *values], memory, trigger_mode="multiple", show_progress="hidden",
            js=f"(stored, job, ...values) => window.webui.pack({tab.id!r}, {json.dumps(names)}, stored, job, values)",
        )  # fmt: skip
        # What the page's scripts change; what a hand changes they see by themselves.
        drawn = [control.change for control in (*values, tab.results) if isinstance(control, gr.HTML)]
        gr.on(drawn, None, None, None, trigger_mode="multiple", js=f"() => window.webui.touched({tab.id!r})")
    return fitted


def _restored(app: App, tab: Tab, stored: Any) -> dict[Component, Any]:
    """What a tab shows when its page opens.  stored: what this browser kept of it."""
    form = tab.form
    values, preferred = read_stored(stored, list(form.fields), form.sections)
    controls = form.controls
    changes = {controls[name]: value for name, value in values.items() if name not in ("extra", "overrides", "styles")}
    return changes | {
        form.extra: values.get("extra", False),
        form.overrides: values.get("overrides"),
        form.styles: offer_styles(app, values.get("styles")),
        tab.results: job_to_show(app, preferred, tab.id),
    }


def _connect_quicksettings(app: App, bar: Quicksettings, models: gr.HTML, tabs: Sequence[Tab], fitted: gr.BrowserState) -> None:
    quiet: Mapping[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    targets = [tab.form.fields[name] for tab in tabs for name in FITTED]

    def on_checkpoint(checkpoint: str | None, fitted_values: Any, *current: Any) -> list[Any]:
        fitting = fitting_values(app, checkpoint)
        changed = []
        for start in range(0, len(targets), len(FITTED)):
            values = refit(dict(zip(FITTED, current[start : start + len(FITTED)], strict=True)), fitted_values or {}, fitting)
            changed += [values[name] for name in FITTED]
        return [fitting, *changed]

    def on_card(checkpoint: str | None, fitted_values: Any, *current: Any) -> list[Any]:
        return [offer_checkpoints(app, checkpoint).update(), *on_checkpoint(checkpoint, fitted_values, *current)]

    bar.checkpoint.input(on_checkpoint, [bar.checkpoint, fitted, *targets], [fitted, *targets], **quiet)
    models.use_checkpoint(
        on_card, [bar.checkpoint, fitted, *targets], [bar.checkpoint, fitted, *targets], trigger_mode="multiple",
        js="(_, ...rest) => [window.webui.checkpointWanted(), ...rest]", **quiet,
    )  # fmt: skip
    connect_refreshing(app, bar)
