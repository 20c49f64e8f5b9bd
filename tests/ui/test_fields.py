"""From declarations to controls, without a browser."""

from __future__ import annotations

import gradio as gr
import pytest

from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.ui.fields import component_for, element_id, field, shown

REQUEST = parameters_of(GenerationRequest)


@pytest.mark.parametrize(
    "name", [name for name, parameter in REQUEST.items() if parameter.slider and parameter.step and parameter.default is not None]
)
def test_a_declared_range_becomes_a_slider_of_that_range(name: str) -> None:
    slider, declaration = field(name), REQUEST[name]
    assert isinstance(slider, gr.Slider)
    assert (slider.minimum, slider.maximum, slider.step, slider.value, slider.label) == (
        *declaration.slider, declaration.step, declaration.default, declaration.title,
    )  # fmt: skip


def test_choices_become_a_dropdown() -> None:
    dropdown = field("sampler", choices=["Euler", "DPM++ 2M"])
    assert isinstance(dropdown, gr.Dropdown)
    assert dropdown.choices == [("Euler", "Euler"), ("DPM++ 2M", "DPM++ 2M")]
    assert dropdown.value == "DPM++ 2M"


def test_declared_choices_need_not_be_given_again() -> None:
    dropdown = component_for(parameters_of(Settings)["randn_source"], elem_id="randn_source")
    assert [value for _, value in dropdown.choices] == ["GPU", "CPU", "NV"]


@pytest.mark.parametrize("name", [name for name, parameter in REQUEST.items() if parameter.default is None])
def test_a_number_that_may_stay_empty_is_an_empty_box(name: str) -> None:
    number = field(name)
    assert isinstance(number, gr.Textbox)
    assert (number.value, shown(name, None), shown(name, 0.5)) == ("", "", "0.5")


def test_yes_or_no_becomes_a_checkbox() -> None:
    assert isinstance(component_for(parameters_of(Settings)["samples_save"], elem_id="samples_save"), gr.Checkbox)


def test_a_number_beyond_what_browsers_count_is_text() -> None:
    assert isinstance(field("seed"), gr.Textbox)
    assert shown("seed", 2**63 - 1) == str(2**63 - 1)
    assert shown("steps", 20) == 20


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("negative_prompt", "txt2img_neg_prompt"), ("sampler", "txt2img_sampling"), ("schedule", "txt2img_scheduler")],
)
def test_elements_have_a1111s_ids(name: str, wanted: str) -> None:
    assert field(name).elem_id == element_id(name) == wanted
