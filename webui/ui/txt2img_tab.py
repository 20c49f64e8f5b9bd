"""The txt2img tab: prompts and buttons on top, parameters on the left, results on the right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui.fields import field
from webui.ui.form import Form, read_form
from webui.ui.generate import Followed, act, look, submit
from webui.ui.hires_section import build_hires, connect_hires
from webui.ui.paste import build_paste
from webui.ui.prompt_box import build_prompt_box
from webui.ui.quicksettings import icon_button
from webui.ui.styles_bar import StylesBar, build_styles, connect_styles

QUIET: Mapping[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Txt2imgTab:
    """The tab's components.  buttons: those that only change the form, by what they do."""

    fields: Mapping[str, Component]
    extra: gr.Checkbox
    hires: gr.Accordion
    guidance: gr.Accordion
    styles: StylesBar
    overrides: gr.HTML
    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    paste: gr.Button
    buttons: Mapping[str, gr.Button]
    results: gr.HTML


def build_txt2img(app: App) -> Txt2imgTab:
    """Lay the tab out, inside a gr.Tab."""
    fields: dict[str, Component] = {}
    buttons: dict[str, gr.Button] = {}
    with gr.Row(elem_id="txt2img_toprow"):
        with gr.Column(elem_id="txt2img_prompts", scale=6):
            fields["prompt"] = build_prompt_box(
                app, "prompt", counter_id="txt2img_token_counter", problems_id="txt2img_prompt_problems",
                placeholder="What should the picture show?",
            )  # fmt: skip
            fields["negative_prompt"] = build_prompt_box(
                app, "negative_prompt", counter_id="txt2img_negative_token_counter", problems_id="txt2img_negative_prompt_problems",
                placeholder="What should it not show?",
            )  # fmt: skip
            with gr.Row(elem_id="txt2img_tools", elem_classes="with-button"):
                styles = build_styles(app)
                paste = icon_button("Take parameters over from the text in the prompt, or else from the selected picture", "paste", "paste")
            overrides = _overrides()
            build_paste(app)
        with gr.Column(elem_id="txt2img_actions", scale=1, min_width=160):
            generate = gr.Button("Generate", elem_id="txt2img_generate", variant="primary", size="lg")
            with gr.Row(elem_id="txt2img_running_buttons"):
                interrupt = gr.Button("Interrupt", elem_id="txt2img_interrupt")
                skip = gr.Button("Skip", elem_id="txt2img_skip")
    with gr.Row(elem_id="txt2img_columns"):
        with gr.Column(elem_id="txt2img_settings", scale=1, min_width=320):
            _sampling(app, fields, buttons)
            extra = _seed(fields, buttons)
            hires = build_hires(app, fields)
            guidance = _guidance(fields)
        with gr.Column(elem_id="txt2img_results_column", scale=1, min_width=320):
            results = _results(app)
    return Txt2imgTab(fields, extra, hires, guidance, styles, overrides, generate, interrupt, skip, paste, buttons, results)


def connect_txt2img(app: App, tab: Txt2imgTab, form: Form) -> None:
    """Make the buttons act.

    Nothing here waits for a picture, so nothing needs gradio's queue: a job is followed by the panel itself.
    """

    def on_generate(values: dict[Component, Any]) -> Followed:
        named = {name: values[control] for name, control in form.controls.items()}
        return submit(app, lambda: read_form(named), values[tab.results])

    tab.generate.click(on_generate, {*form.controls.values(), tab.results}, tab.results, preprocess=False, trigger_mode="multiple", **QUIET)
    for button, action in ((tab.interrupt, app.queue.cancel), (tab.skip, app.queue.skip)):
        button.click(lambda current, action=action: act(action, current), tab.results, None, **QUIET)
    _connect_small_buttons(tab, form.fields)
    connect_hires(tab.hires, form.fields)
    connect_styles(app, tab.styles, [form.fields["prompt"], form.fields["negative_prompt"]], tab.results)
    for name in ("prompt", "negative_prompt"):
        gr.on(
            [form.fields[name].change, form.styles.change], None, [form.fields[name], form.styles], None,
            js=f"(text, styles) => window.webui.promptChanged({name!r}, text, styles)",
        )  # fmt: skip
    _connect_pasting(tab, form)


def _connect_small_buttons(tab: Txt2imgTab, fields: Mapping[str, Component]) -> None:
    sizes = [fields["width"], fields["height"]]
    tab.buttons["swap"].click(None, sizes, sizes, js="(width, height) => [height, width]")
    for name in ("seed", "subseed"):
        tab.buttons[f"random_{name}"].click(None, None, fields[name], js="() => '-1'")
        reuse = f"(current) => window.webui.selectedPicture()?.{name} ?? current"
        tab.buttons[f"reuse_{name}"].click(None, fields[name], fields[name], js=reuse)


def _connect_pasting(tab: Txt2imgTab, form: Form) -> None:
    """The page's scripts read and change the form through the overrides' panel: gradio alone knows its controls' values."""
    names, controls = json.dumps(list(form.controls)), list(form.controls.values())
    overrides = tab.overrides
    overrides.read_form(None, controls, None, trigger_mode="multiple", js=f"(...values) => window.webui.formRead({names}, values)")
    overrides.change_form(None, controls, controls, trigger_mode="multiple", js=f"(...values) => window.webui.formChanged({names}, values)")
    folded = "(value) => ({__type__: 'update', label: value ? `Guidance: CFG rescale ${value}` : 'Guidance'})"
    form.fields["cfg_rescale"].change(None, form.fields["cfg_rescale"], tab.guidance, js=folded)
    tab.paste.click(None, None, None, js="() => window.webui.paste()")


def _overrides() -> gr.HTML:
    """What is set beside the form; and the events by which the page's scripts reach the controls."""
    events = ", ".join(f"{name}: () => trigger({name!r})" for name in ("read_form", "change_form", "show_tab"))
    return gr.HTML(
        value=None, html_template='<div class="chips" role="group" aria-label="Override settings"></div>',
        elem_id="txt2img_override_settings", elem_classes="no-room",
        js_on_load=f"window.webui.addOverrides(element, props, watch, {{{events}}})", apply_default_css=False,
    )  # fmt: skip


def _sampling(app: App, fields: dict[str, Component], buttons: dict[str, gr.Button]) -> None:
    samplers = [sampler.label for sampler in app.samplers]
    schedules = [schedule.label for schedule in app.schedules]
    with gr.Row(elem_classes="pair"):
        fields["sampler"] = field("sampler", choices=samplers, min_width=130)
        fields["schedule"] = field("schedule", choices=schedules, min_width=130)
    fields["steps"] = field("steps")
    with gr.Row(elem_id="txt2img_size", elem_classes="with-button"):
        with gr.Column(min_width=200):
            fields["width"] = field("width")
            fields["height"] = field("height")
        buttons["swap"] = icon_button("Swap width and height", "swap", "txt2img_res_switch_btn")
    with gr.Row(elem_classes="pair"):
        fields["batch_count"] = field("batch_count", min_width=130)
        fields["batch_size"] = field("batch_size", min_width=130)
    fields["cfg_scale"] = field("cfg_scale")


def _seed(fields: dict[str, Component], buttons: dict[str, gr.Button]) -> gr.Checkbox:
    """The seed, and behind a tick its variation and the noise of another size."""
    with gr.Row(elem_id="txt2img_seed_row", elem_classes="with-button"):
        fields["seed"] = field("seed", min_width=110)
        buttons["random_seed"] = icon_button("Draw a new seed each time", "dice", "txt2img_random_seed")
        buttons["reuse_seed"] = icon_button("Reuse the selected picture's seed", "reuse", "txt2img_reuse_seed")
        extra = gr.Checkbox(False, label="Extra", elem_id="txt2img_subseed_show", container=False, min_width=70, scale=0)
    with gr.Column(elem_id="txt2img_seed_extras"):
        with gr.Row(elem_id="txt2img_subseed_row", elem_classes="pair"):
            with gr.Row(elem_classes="with-button"):
                fields["subseed"] = field("subseed", min_width=110)
                buttons["random_subseed"] = icon_button("Draw a new variation seed each time", "dice", "txt2img_random_subseed")
                buttons["reuse_subseed"] = icon_button("Reuse the selected picture's variation seed", "reuse", "txt2img_reuse_subseed")
            fields["subseed_strength"] = field("subseed_strength", min_width=130)
        with gr.Row(elem_classes="pair"):
            fields["seed_resize_from_w"] = field("seed_resize_from_w", min_width=130)
            fields["seed_resize_from_h"] = field("seed_resize_from_h", min_width=130)
    return extra


def _guidance(fields: dict[str, Component]) -> gr.Accordion:
    with gr.Accordion("Guidance", open=False, elem_id="txt2img_guidance") as guidance:
        fields["cfg_rescale"] = field("cfg_rescale")
    return guidance


def _results(app: App) -> gr.HTML:
    def follow(query: dict[str, Any]) -> dict[str, Any]:
        return look(
            app, str(query["job"]), known=frozenset(query["known"]), preview_seen=query["preview"], watching=bool(query["watching"])
        )

    return gr.HTML(
        value=None, html_template='<section class="results" aria-label="Results"></section>', elem_id="txt2img_results",
        server_functions=[follow], js_on_load="window.webui.addResults(element, props, server, watch)", apply_default_css=False,
    )  # fmt: skip
