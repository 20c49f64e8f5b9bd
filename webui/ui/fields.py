"""From a declaration to a control: the one place that decides which gradio component shows which parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from webui.core.parameters import Parameter, parameters_of
from webui.core.request import GenerationRequest

EXACT_IN_BROWSERS = 2**53
MANY = 8
ELEMENT_NAMES: Mapping[str, str] = {
    "negative_prompt": "neg_prompt", "sampler": "sampling", "schedule": "scheduler", "mask_blur_x": "mask_blur",
    "masked_content": "inpainting_fill", "inpaint_area": "inpaint_full_res", "masked_padding": "inpaint_full_res_padding",
}  # fmt: skip
"""A1111's names of elements where they differ from the request's."""

Choices = Sequence[str | tuple[str, str]]


def element_id(name: str, tab: str = "txt2img") -> str:
    """A1111's id of a parameter's element, which extensions and users' style sheets know."""
    return f"{tab}_{ELEMENT_NAMES.get(name, name)}"


def declared(name: str) -> Parameter:
    """The request's declaration of that parameter."""
    return parameters_of(GenerationRequest)[name]


def field(name: str, *, tab: str = "txt2img", choices: Choices | None = None, as_radio: bool = False, **looks: Any) -> Component:
    """The control for a parameter of the request.

    choices: what a name may be, for those whose names are found at run time.   as_radio: show all choices at once.
    looks: passed on to the component.
    """
    return component_for(declared(name), elem_id=element_id(name, tab), choices=choices, as_radio=as_radio, **looks)


def component_for(
    parameter: Parameter, *, elem_id: str, choices: Choices | None = None, as_radio: bool = False, **looks: Any
) -> Component:  # fmt: skip
    """A dropdown where there are choices, a slider where a range is declared, else a box.

    What may stay empty is a text box: gradio's box for numbers would make 0 of nothing. A whole number beyond what a browser counts
    exactly (a seed) is one too, or its last digits would be rounded.
    """
    common = {"label": parameter.title, "elem_id": elem_id, "interactive": True, **looks}
    if choices is None and parameter.choices:
        choices = parameter.choices
    if choices is not None:
        offered = [choice if isinstance(choice, str) else choice[1] for choice in choices]
        value = parameter.default if parameter.default in offered else None
        if as_radio:
            return gr.Radio(choices=list(choices), value=value, **common)
        return gr.Dropdown(choices=list(choices), value=value, filterable=len(choices) > MANY, **common)
    if parameter.type is bool:
        return gr.Checkbox(value=parameter.default, **common)
    if parameter.type is str:
        return gr.Textbox(value=parameter.default, max_length=None, **common)
    if parameter.type is int and (parameter.maximum or 0) > EXACT_IN_BROWSERS:
        return gr.Textbox(value=str(parameter.default), max_lines=1, **common)
    if parameter.default is None:
        return gr.Textbox(value="", max_lines=1, **common)
    if parameter.slider and parameter.step:
        minimum, maximum = parameter.slider
        return gr.Slider(minimum, maximum, value=parameter.default, step=parameter.step, buttons=[], **common)
    return gr.Number(value=parameter.default, precision=0 if parameter.type is int else None, **common)


def shown(name: str, value: Any) -> Any:
    """A request's value as its control takes it."""
    if isinstance(value, tuple):
        return [one.model_dump() if isinstance(one, BaseModel) else one for one in value]
    one = declared(name)
    if one.default is None:
        return "" if value is None else str(value)
    return str(value) if (one.maximum or 0) > EXACT_IN_BROWSERS else value
