"""The hires fix's part of the form, folded away until it is used."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.ui.fields import field

# Says on the folded section how large the picture becomes, as App's engine will reckon it.
SIZE_IN_LABEL = """(use, width, height, scale, x, y) => {
    let to = [Math.trunc(width * scale), Math.trunc(height * scale)];
    if (x && y) to = [x, y];
    else if (x) to = [x, Math.trunc(x * height / width)];
    else if (y) to = [Math.trunc(y * width / height), y];
    const label = use ? `Hires. fix: from ${width}x${height} to ${to[0]}x${to[1]}` : 'Hires. fix';
    return {__type__: 'update', label};
}"""


def build_hires(app: App, fields: dict[str, Component]) -> gr.Accordion:
    """Lay the section out; its controls go into `fields`."""
    samplers = [("Use same sampler", ""), *((sampler.label, sampler.label) for sampler in app.samplers)]
    schedules = [("Use same scheduler", ""), *((schedule.label, schedule.label) for schedule in app.schedules)]
    with gr.Accordion("Hires. fix", open=False, elem_id="txt2img_hr") as section:
        fields["enable_hr"] = field("enable_hr", info="Draw small first, then larger from that.")
        with gr.Row(elem_classes="pair"):
            fields["hr_upscaler"] = field("hr_upscaler", min_width=130)
            fields["denoising_strength"] = field("denoising_strength", min_width=130)
        with gr.Row(elem_classes="pair"):
            fields["hr_scale"] = field("hr_scale", min_width=130)
            fields["hr_second_pass_steps"] = field("hr_second_pass_steps", min_width=130)
        with gr.Row(elem_classes="pair"):
            fields["hr_resize_x"] = field("hr_resize_x", min_width=130)
            fields["hr_resize_y"] = field("hr_resize_y", min_width=130)
        with gr.Row(elem_classes="pair"):
            fields["hr_sampler"] = field("hr_sampler", choices=samplers, min_width=130)
            fields["hr_schedule"] = field("hr_schedule", choices=schedules, min_width=130)
        with gr.Row(elem_classes="pair"):
            fields["hr_prompt"] = field("hr_prompt", lines=2, placeholder="As above", min_width=130)
            fields["hr_negative_prompt"] = field("hr_negative_prompt", lines=2, placeholder="As above", min_width=130)
    return section


def connect_hires(section: gr.Accordion, fields: Mapping[str, Component]) -> None:
    """Let the section's title say what it will do."""
    watched = [fields[name] for name in ("enable_hr", "width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")]
    gr.on([control.change for control in watched], None, watched, section, js=SIZE_IN_LABEL)
