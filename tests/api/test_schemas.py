from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from webui.api.schemas import Txt2ImgRequest

GOLDEN = json.loads((Path(__file__).parent / "golden" / "txt2img_request.json").read_text())


def test_the_defaults_are_a1111s_in_its_order() -> None:
    assert json.dumps(Txt2ImgRequest().model_dump()) == json.dumps(GOLDEN)


def test_null_means_the_default_for_every_field() -> None:
    assert Txt2ImgRequest.model_validate(dict.fromkeys(GOLDEN)).model_dump() == GOLDEN


def test_unknown_keys_are_ignored() -> None:
    assert Txt2ImgRequest.model_validate({"prompt": "a", "hr_second_guess": 1, "model": "clip"}).model_dump() == {**GOLDEN, "prompt": "a"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", "many"),
        ("seed", 1.5),
        ("steps", []),
        ("width", {}),
        ("cfg_scale", "nan"),
        ("cfg_scale", float("inf")),
        ("prompt", 5),
        ("alwayson_scripts", []),
    ],
)
def test_values_of_another_type_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Txt2ImgRequest.model_validate({field: value})
