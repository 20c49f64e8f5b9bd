"""The img2img tab: a picture from another, single or a whole batch."""

from __future__ import annotations

import gradio as gr

from webui.app import App
from webui.ui.batch_section import build_batch, spread_over_batch
from webui.ui.form import Section, SettingSection
from webui.ui.picture_section import build_picture, build_picture_size
from webui.ui.tab import Mode
from webui.ui.tab_parts import NARROW, Parts


def build_first(app: App, parts: Parts) -> tuple[Section, ...]:
    """The editor, the batch, and how much of a picture is drawn anew."""
    picture = build_picture(app, parts, colours=True)
    batch = build_batch(app, parts)
    parts.add("resize_mode", as_radio=True)
    parts.add("denoising_strength")
    with gr.Row(elem_classes="pair"):
        parts.add("noise_multiplier", min_width=NARROW, placeholder="As the settings say")
        extra_noise = gr.Textbox(
            "", label="Extra noise", placeholder="As the settings say", max_lines=1, elem_id=parts.id("extra_noise"), interactive=True,
            min_width=NARROW,
        )  # fmt: skip
    return (picture, batch, SettingSection("img2img_extra_noise", extra_noise))


IMG2IMG = Mode("img2img", build_first, build_picture_size, spread_over_batch)
