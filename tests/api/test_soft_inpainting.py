"""Soft inpainting's arguments as A1111's clients send them."""

from __future__ import annotations

from typing import Any

import pytest

from webui.api.soft_inpainting import ARGUMENTS, read_soft_inpainting
from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest


@pytest.mark.parametrize("name", ["Soft Inpainting", "soft inpainting"])
def test_arguments_come_in_a1111s_order_and_the_rest_keeps_its_defaults(name: str) -> None:
    asked = read_soft_inpainting({name: {"args": [True, 1.5, 0.25]}})
    assert asked == {"soft_inpainting": True, "soft_schedule_bias": 1.5, "soft_preservation_strength": 0.25}
    assert read_soft_inpainting({name: {}}) == {}
    assert read_soft_inpainting({"ControlNet": {"args": [{}]}}) == {}


def test_every_argument_is_a_parameter_of_the_request() -> None:
    assert set(ARGUMENTS) <= set(GenerationRequest.model_fields)


@pytest.mark.parametrize("args", ["x", 7, {"a": 1}])
def test_what_is_no_list_is_refused(args: Any) -> None:
    with pytest.raises(InvalidRequest, match="send a list"):
        read_soft_inpainting({"Soft inpainting": {"args": args}})
