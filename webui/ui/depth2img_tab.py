"""The depth2img tab: the picture's depth stays while what it shows changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.images import decode_image
from webui.core.request import read_request
from webui.ui.canvas import build_canvas, read_canvas
from webui.ui.form import Section
from webui.ui.generate import data_url
from webui.ui.picture_section import build_picture, build_picture_size, stored_picture
from webui.ui.tab import QUIET, Mode
from webui.ui.tab_parts import Parts

DEPTH_PICTURE = "depth_picture"


@dataclass(frozen=True)
class DepthSection:
    """That the depth counts, and the map that may be given in the place of an estimate.  canvas: the map's editor."""

    canvas: Component

    @property
    def controls(self) -> Mapping[str, Component]:
        """The map's editor."""
        return {DEPTH_PICTURE: self.canvas}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """use_depth, and depth_map where one is given.  Raises InvalidRequest."""
        asked: dict[str, Any] = {"use_depth": True}
        value = values.get(DEPTH_PICTURE)
        if isinstance(value, dict) and value.get("error"):
            raise InvalidRequest(f"The depth map could not be sent: {str(value['error'])[:500]}")
        given = read_canvas(value).get("init_images")
        return asked | ({"depth_map": given[0]} if given else {})


def build_first(app: App, parts: Parts) -> tuple[Section, ...]:
    """The editor and the depth's part."""
    picture = build_picture(app, parts)
    parts.add("resize_mode", as_radio=True)
    parts.add("denoising_strength")
    with gr.Accordion("Depth", open=True, elem_id=parts.id("depth")):
        with gr.Accordion("Depth map of your own", open=False, elem_id=parts.id("own_depth")):
            canvas = build_canvas(app, parts.id("depth_map"), label="Depth map")
            parts.canvases[DEPTH_PICTURE] = parts.id("depth_map")
        parts.add("depth_invert")
        parts.add_pair("depth_near", "depth_far")
        _build_view(app, parts, picture.canvas)
    return (picture, DepthSection(canvas))


def _build_view(app: App, parts: Parts, canvas: Component) -> None:
    """The button that estimates the depth, and the map beside the picture."""
    show = gr.Button("Show depth", elem_id=parts.id("show_depth"), size="sm")
    view = gr.HTML(
        value=None, html_template='<section class="depth-view" aria-label="Depth"></section>', elem_id=parts.id("depth_view"),
        js_on_load="window.webui.addDepthView(element, props, watch)", apply_default_css=False,
    )  # fmt: skip
    names = ["picture", "depth_invert", "depth_near", "depth_far"]
    inputs = [canvas, *(parts.fields[name] for name in names[1:])]
    show.click(
        partial(_show_depth, app, tuple(names)),
        inputs,
        view,
        preprocess=False,
        js="(...values) => window.webui.readyForDepth(values)",
        **QUIET,
    )


def _show_depth(app: App, names: tuple[str, ...], *values: Any) -> dict[str, Any]:
    """What the view shows: the picture and its depth side by side, or why there is none."""
    named = dict(zip(names, values, strict=True))
    try:
        picture = decode_image(app.queue.inputs.read(stored_picture(named)["init_images"][0]))
        depth = app.estimate_depth(picture, read_request({name: named[name] for name in names[1:]}))
    except WebuiError as error:
        return {"message": str(error)}
    return {"picture": data_url(picture), "depth": data_url(depth)}


DEPTH2IMG = Mode("depth2img", build_first, build_picture_size)
