"""ControlNet's part of the form: units, each with a picture, what its preprocessor makes of it, and how the drawing follows that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from webui.app import App
from webui.core.control import pixel_perfect, settle
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.images import decode_image
from webui.core.parameters import Parameter, parameters_of
from webui.core.ports import AnnotationOptions
from webui.core.preprocessors import CONTROL_TYPES, Preprocessor
from webui.core.request import read_request
from webui.core.request_parts.control import NO_MODEL, ControlUnit
from webui.ui.form import Section
from webui.ui.generate import data_url
from webui.ui.paste import uploaded_picture

NAME = "control_units"


@dataclass(frozen=True)
class ControlNetSection:
    """One panel, whose value is a list of units under the names of their parameters."""

    panel: gr.HTML

    @property
    def controls(self) -> Mapping[str, Component]:
        """The panel, by the request's parameter that it stands for."""
        return {NAME: self.panel}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The units up to the last that is on; of those that are off, nothing."""
        return {NAME: read_units(values.get(NAME))}


def build_controlnet(app: App, tab: str) -> Section:
    """Lay the section out; it is folded until it is used.  tab: the tab's id, with which its elements' ids begin."""

    def offer(query: Any) -> dict[str, Any]:
        if isinstance(query, dict) and query.get("refresh"):
            app.catalog.refresh()
        return choices(app)

    def add_picture(upload: Any) -> dict[str, Any]:
        try:
            picture = decode_image(uploaded_picture(upload))
            return {"picture": app.queue.inputs.add(picture), "shown": data_url(picture)}
        except WebuiError as error:
            return {"error": str(error)}

    def show_picture(query: Any) -> dict[str, Any]:
        try:
            return {"shown": data_url(decode_image(app.queue.inputs.read(str(query.get("picture")))))}
        except WebuiError as error:
            return {"error": str(error)}

    def annotate(query: Any) -> dict[str, Any]:
        try:
            return preview(app, query)
        except WebuiError as error:
            return {"error": str(error)}

    panel = gr.HTML(
        value=None, html_template='<details class="controlnet"></details>', elem_id=f"{tab}_controlnet", elem_classes="no-room",
        server_functions=[offer, add_picture, show_picture, annotate],
        js_on_load=f"window.webui.addControlNet(element, props, watch, server, {tab!r})", apply_default_css=False,
    )  # fmt: skip
    return ControlNetSection(panel)


def read_units(value: Any) -> list[Any]:
    """A panel's value as a request takes it."""
    units = value if isinstance(value, list) else []
    active = [number for number, unit in enumerate(units) if isinstance(unit, dict) and unit.get("enabled")]
    return [unit if number in active else {} for number, unit in enumerate(units[: active[-1] + 1])] if active else []


def preview(app: App, query: Any) -> dict[str, Any]:
    """What a unit's preprocessor makes of its picture.

    query: the unit, and the size that is drawn (width, height).  Raises WebuiError, for a unit without a picture too.
    """
    wanted = query if isinstance(query, dict) else {}
    (unit,) = read_request({NAME: [wanted.get("unit")]}).control_units
    if not unit.image:
        raise InvalidRequest(
            "There is no picture to look at. Choose one; without one, a unit follows the picture that the job starts from."
        )
    size = read_request({name: wanted[name] for name in ("width", "height") if name in wanted})
    unit, remarks = settle(unit, 0)
    picture = decode_image(app.queue.inputs.read(unit.image))
    resolution = unit.processor_res
    if unit.pixel_perfect:
        resolution = pixel_perfect(picture.size, (size.width, size.height), unit.resize_mode)
    made = app.engine.annotate(unit.module, picture, AnnotationOptions(resolution, unit.threshold_a, unit.threshold_b))
    return {"shown": data_url(made), "width": made.width, "height": made.height, "remarks": list(remarks)}


def choices(app: App) -> dict[str, Any]:
    """What a unit may be: the panel makes its controls of this."""
    controls = app.catalog.controls()
    return {
        "count": app.settings.snapshot().control_net_unit_count,
        "modules": [_module(one) for one in app.preprocessors],
        "types": list(CONTROL_TYPES),
        "models": [NO_MODEL, *(file.title for file in controls.files)],
        "broken": [f"{broken.name} {broken.reason}." for broken in controls.broken],
        "folder": str(controls.folder.name),
        "fields": {name: _field(one) for name, one in parameters_of(ControlUnit).items()},
        "blank": ControlUnit().model_dump(),
    }


def _module(one: Preprocessor) -> dict[str, Any]:
    numbers = [
        {"label": slider.label, "value": slider.value, "minimum": slider.minimum, "maximum": slider.maximum, "step": slider.step}
        if slider
        else None
        for slider in one.sliders
    ]
    return {"label": one.label, "types": list(one.types), "numbers": numbers, "mask": one.takes_mask}


def _field(one: Parameter) -> dict[str, Any]:
    return {
        "title": one.title, "help": one.help, "minimum": one.minimum, "maximum": one.maximum, "step": one.step,
        "choices": list(one.choices or ()),
    }  # fmt: skip
