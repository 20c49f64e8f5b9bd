"""The folded sections below the seed, in the order in which each tab shows them. A further one is listed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import gradio as gr

from webui.app import App
from webui.ui.always_on_section import build_always_on
from webui.ui.controlnet_section import build_controlnet
from webui.ui.form import Section
from webui.ui.hires_section import build_hires
from webui.ui.refiner_section import build_refiner
from webui.ui.scripts_section import build_scripts
from webui.ui.tab_parts import Parts

# Lays a section out and connects it. Its controls are either the request's own parameters, which it puts into the parts, or those
# of the Section that it returns.
BuildSection = Callable[[App, Parts], Section | None]


def build_guidance(app: App, parts: Parts) -> None:
    """How guidance is changed."""
    with gr.Accordion("Guidance", open=False, elem_id=parts.id("guidance")) as section:
        parts.add("cfg_rescale")
    folded = "(value) => ({__type__: 'update', label: value ? `Guidance: CFG rescale ${value}` : 'Guidance'})"
    rescale = parts.fields["cfg_rescale"]
    rescale.change(None, rescale, section, js=folded)


def build_script_list(app: App, parts: Parts) -> Section:
    """The scripts that this tab can run."""
    return build_scripts(app, parts.tab)


def build_controls(app: App, parts: Parts) -> Section:
    """ControlNet units."""
    return build_controlnet(app, parts.tab)


FOLDED: Mapping[str, tuple[BuildSection, ...]] = {
    "txt2img": (build_hires, build_refiner, build_controls, build_guidance, build_always_on, build_script_list),
    "img2img": (build_refiner, build_controls, build_guidance, build_always_on, build_script_list),
    "inpaint": (build_controls, build_guidance, build_always_on, build_script_list),
    "depth2img": (build_controls, build_guidance, build_always_on, build_script_list),
}
