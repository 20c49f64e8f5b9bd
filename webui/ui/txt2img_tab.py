"""The txt2img tab: prompts and buttons on top, parameters on the left, results on the right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui.fields import field, read_fields
from webui.ui.generate import Followed, act, look, submit
from webui.ui.quicksettings import icon_button


@dataclass(frozen=True)
class Txt2imgTab:
    """The tab's components."""

    fields: Mapping[str, Component]
    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    swap: gr.Button
    random_seed: gr.Button
    reuse_seed: gr.Button
    results: gr.HTML


def build_txt2img(app: App) -> Txt2imgTab:
    """Lay the tab out, inside a gr.Tab."""
    fields: dict[str, Component] = {}
    with gr.Row(elem_id="txt2img_toprow"):
        with gr.Column(elem_id="txt2img_prompts", scale=6):
            fields["prompt"] = _prompt_box(app, "prompt", "txt2img_token_counter", "What should the picture show?")
            fields["negative_prompt"] = _prompt_box(app, "negative_prompt", "txt2img_negative_token_counter", "What should it not show?")
        with gr.Column(elem_id="txt2img_actions", scale=1, min_width=160):
            generate = gr.Button("Generate", elem_id="txt2img_generate", variant="primary", size="lg")
            with gr.Row(elem_id="txt2img_running_buttons"):
                interrupt = gr.Button("Interrupt", elem_id="txt2img_interrupt")
                skip = gr.Button("Skip", elem_id="txt2img_skip")
    with gr.Row(elem_id="txt2img_columns"):
        with gr.Column(elem_id="txt2img_settings", scale=1, min_width=320):
            swap, random_seed, reuse_seed = _parameters(app, fields)
        with gr.Column(elem_id="txt2img_results_column", scale=1, min_width=320):
            results = _results(app)
    return Txt2imgTab(fields, generate, interrupt, skip, swap, random_seed, reuse_seed, results)


def connect_txt2img(app: App, tab: Txt2imgTab, fields: Mapping[str, Component]) -> None:
    """Make the buttons act.  fields: all that make up a request, those outside the tab too.

    Nothing here waits for a picture, so nothing needs gradio's queue: a job is followed by the panel itself.
    """

    def on_generate(values: dict[Component, Any]) -> Followed:
        return submit(app, lambda: read_fields(fields, values), values[tab.results])

    tab.generate.click(
        on_generate, {*fields.values(), tab.results}, tab.results,
        preprocess=False, queue=False, trigger_mode="multiple", show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    for button, action in ((tab.interrupt, app.queue.cancel), (tab.skip, app.queue.skip)):
        button.click(
            lambda current, action=action: act(action, current), tab.results, None,
            queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip
    sizes = [fields["width"], fields["height"]]
    tab.swap.click(None, sizes, sizes, js="(width, height) => [height, width]")
    tab.random_seed.click(None, None, fields["seed"], js="() => '-1'")
    tab.reuse_seed.click(None, fields["seed"], fields["seed"], js="(seed) => window.webui.selectedSeed() ?? seed")
    for name in ("prompt", "negative_prompt"):
        fields[name].change(None, fields[name], None, js=f"(text) => window.webui.countTokens({name!r}, text)")


def _prompt_box(app: App, name: str, counter_id: str, placeholder: str) -> Component:
    with gr.Column(elem_classes="prompt-box"):
        box = field(name, lines=3, max_lines=12, placeholder=placeholder, elem_classes="prompt", container=True)
        _token_counter(app, name, counter_id)
    return box


def _token_counter(app: App, name: str, elem_id: str) -> gr.HTML:
    def count(text: str) -> list[int] | None:
        return list(app.engine.count_tokens(text)) if app.engine_ready else None

    return gr.HTML(
        value="", html_template='<span class="token-counter" aria-live="off">0/75</span>', elem_id=elem_id, server_functions=[count],
        js_on_load=f"window.webui.addTokenCounter({name!r}, element, server)", apply_default_css=False,
    )  # fmt: skip


def _parameters(app: App, fields: dict[str, Component]) -> tuple[gr.Button, gr.Button, gr.Button]:
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
        swap = icon_button("Swap width and height", "swap", "txt2img_res_switch_btn")
    with gr.Row(elem_classes="pair"):
        fields["batch_count"] = field("batch_count", min_width=130)
        fields["batch_size"] = field("batch_size", min_width=130)
    fields["cfg_scale"] = field("cfg_scale")
    with gr.Row(elem_id="txt2img_seed_row", elem_classes="with-button"):
        fields["seed"] = field("seed", min_width=140)
        random_seed = icon_button("Draw a new seed each time", "dice", "txt2img_random_seed")
        reuse_seed = icon_button("Reuse the selected picture's seed", "reuse", "txt2img_reuse_seed")
    return swap, random_seed, reuse_seed


def _results(app: App) -> gr.HTML:
    def follow(query: dict[str, Any]) -> dict[str, Any]:
        return look(
            app, str(query["job"]), known=frozenset(query["known"]), preview_seen=query["preview"], watching=bool(query["watching"])
        )

    return gr.HTML(
        value=None, html_template='<section class="results" aria-label="Results"></section>', elem_id="txt2img_results",
        server_functions=[follow], js_on_load="window.webui.addResults(element, props, server, watch)", apply_default_css=False,
    )  # fmt: skip
