"""The hires fix's part of the form, folded away until it is used; and drawing a finished picture again with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.extras import as_drawing
from webui.core.metadata import read as read_metadata
from webui.core.request_parts.hires import HiresParameters
from webui.core.upscalers import LATENT_UPSCALERS
from webui.ui.form import Wish
from webui.ui.refiner_section import add_checkpoints
from webui.ui.tab_parts import NARROW, Parts

# Says on the folded section how large the picture becomes, as App's engine will reckon it.
SIZE_IN_LABEL = """(use, width, height, scale, x, y) => {
    let to = [Math.trunc(width * scale), Math.trunc(height * scale)];
    if (x && y) to = [x, y];
    else if (x) to = [x, Math.trunc(x * height / width)];
    else if (y) to = [Math.trunc(y * width / height), y];
    const label = use ? `Hires. fix: from ${width}x${height} to ${to[0]}x${to[1]}` : 'Hires. fix';
    return {__type__: 'update', label};
}"""


def build_hires(app: App, parts: Parts) -> None:
    """Lay the section out; its title says what it will do."""
    samplers = [("Use same sampler", ""), *((sampler.label, sampler.label) for sampler in app.samplers)]
    schedules = [("Use same scheduler", ""), *((schedule.label, schedule.label) for schedule in app.schedules)]
    with gr.Accordion("Hires. fix", open=False, elem_id=parts.id("hr")) as section:
        parts.add("enable_hr", info="Draw small first, then larger from that.")
        with gr.Row(elem_classes="pair"):
            parts.add("hr_upscaler", choices=_upscalers(app), min_width=NARROW)
            parts.add("denoising_strength", min_width=NARROW)
        upscaler = parts.fields["hr_upscaler"]
        upscaler.focus(  # files may have come since the page was built
            lambda: gr.update(choices=_upscalers(app)), None, upscaler, queue=False, show_progress="hidden", api_visibility="private"
        )
        parts.add_pair("hr_scale", "hr_second_pass_steps")
        parts.add_pair("hr_resize_x", "hr_resize_y")
        with gr.Row(elem_classes="pair"):
            add_checkpoints(app, parts, "hr_checkpoint", "Use same checkpoint")
        with gr.Row(elem_classes="pair"):
            parts.add("hr_sampler", choices=samplers, min_width=NARROW)
            parts.add("hr_schedule", choices=schedules, min_width=NARROW)
        parts.add_pair("hr_cfg")
        parts.add_pair("hr_prompt", "hr_negative_prompt", lines=2, placeholder="As above")
    watched = [parts.fields[name] for name in ("enable_hr", "width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")]
    gr.on([control.change for control in watched], None, watched, section, js=SIZE_IN_LABEL)


def _upscalers(app: App) -> list[str]:
    return [*LATENT_UPSCALERS, *(one.name for one in app.catalog.upscalers.all)]


def hires_names() -> tuple[str, ...]:
    """The parameters of the section, beside the tick."""
    return tuple(name for name in (*HiresParameters.model_fields, "denoising_strength") if name != "enable_hr")


def draw_again_with_hires(app: App, picture_id: Any, values: Mapping[str, Any]) -> Wish:
    """The picture's own request and settings with a second pass.  values: of the section, by parameter.

    Raises InvalidRequest for a picture that began with another one, NotFound for one that is gone.
    """
    if not picture_id:
        raise InvalidRequest("There is no picture to draw again. Choose one first.")
    picture = app.outputs.picture(str(picture_id))
    request = as_drawing(picture.request)
    if request.init_images:
        raise InvalidRequest("This picture began with another one; a hires fix begins with noise. Send it to img2img instead.")
    drawn_with = app.read_paste(read_metadata(picture.path.read_bytes())).settings_changes
    return Wish(request.changed(**values, enable_hr=True), drawn_with, ())
