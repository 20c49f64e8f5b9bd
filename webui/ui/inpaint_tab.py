"""The inpaint tab: what is masked is drawn anew, and pictures grow at their sides."""

from __future__ import annotations

import gradio as gr

from webui.app import App
from webui.ui.fields import declared
from webui.ui.form import Section
from webui.ui.picture_section import OUTPAINT, build_picture, build_picture_size
from webui.ui.tab import Mode
from webui.ui.tab_parts import Parts

SOFT = (
    "soft_schedule_bias", "soft_preservation_strength", "soft_transition_contrast", "soft_mask_influence", "soft_difference_threshold",
    "soft_difference_contrast",
)  # fmt: skip
SIDES_IN_LABEL = """(...sides) => {
    const by = sides.map((side) => side ?? 0);
    return {__type__: 'update', label: by.some(Boolean) ? `Outpainting: ${by.join(', ')} px` : 'Outpainting'};
}"""
NOTHING_MASKED = "Nothing is masked. Paint over what is to be drawn anew, or load a mask."


def build_first(app: App, parts: Parts) -> tuple[Section, ...]:
    """The editor, and what becomes of its mask."""
    picture = build_picture(app, parts, mask=True, wants_mask=NOTHING_MASKED)
    parts.add("resize_mode", as_radio=True)
    parts.add_pair("mask_blur_x", "mask_blur_y")
    parts.add("mask_mode", "masked_content", as_radio=True)
    with gr.Row(elem_classes="pair"):
        parts.add("inpaint_area", as_radio=True, min_width=130)
        parts.add("masked_padding", min_width=130)
    parts.add("mask_round")
    parts.add("denoising_strength")
    build_soft_inpainting(parts)
    build_outpainting(parts)
    return (picture,)


def build_soft_inpainting(parts: Parts) -> None:
    """The folded section of soft inpainting."""
    with gr.Accordion(declared("soft_inpainting").title, open=False, elem_id=parts.id("soft")):
        parts.add("soft_inpainting")
        parts.add(*SOFT)


def build_outpainting(parts: Parts) -> None:
    """The folded section of outpainting, whose title says when it acts."""
    with gr.Accordion("Outpainting", open=False, elem_id=parts.id("outpainting")) as section:
        parts.add_pair(*OUTPAINT[:2])
        parts.add_pair(*OUTPAINT[2:])
    controls = [parts.fields[side] for side in OUTPAINT]
    gr.on([control.change for control in controls], None, controls, section, js=SIDES_IN_LABEL)


INPAINT = Mode("inpaint", build_first, build_picture_size)
