"""ControlNet units as plain data: what is accepted, what is made concrete, and what the infotext says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webui.core.control import control_pairs, read_control_pairs, settle
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.infotext import read_infotext, write_infotext
from webui.core.infotext_apply import read_paste
from webui.core.metadata import PictureMetadata
from webui.core.paths import PROGRAM
from webui.core.preprocessors import PREPROCESSORS, find_preprocessor
from webui.core.record import read_record, write_record
from webui.core.request import GenerationRequest, read_request
from webui.core.request_parts.control import ControlUnit
from webui.core.settings import Settings

PICTURE = "ab" * 32
CANNY = {"enabled": True, "module": "canny", "model": "control_v11p_sd15_canny [d14c016b]", "image": PICTURE}


def request_with(*units: dict[str, Any]) -> GenerationRequest:
    return read_request({"prompt": "a cat", "control_units": list(units)})


def infotext_of(request: GenerationRequest) -> str:
    facts = {"model_name": "tiny", "model_hash": None, "vae_name": None, "vae_hash": None, "used": {}, "version": "v1"}
    return write_infotext(request, Settings(), **facts)


def test_the_infotext_says_of_a_unit_what_sd_webui_controlnet_says() -> None:
    unit, _ = settle(ControlUnit(**CANNY, weight=0.7, guidance_end=0.8), 0)
    said = infotext_of(request_with(unit.model_dump()))
    assert (
        'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.7, Resize Mode: Crop and Resize, '
        "Processor Res: 512, Threshold A: 100.0, Threshold B: 200.0, Guidance Start: 0.0, Guidance End: 0.8, Pixel Perfect: False, "
        'Control Mode: Balanced"'
    ) in said


def test_numbers_that_a_preprocessor_does_not_take_are_written_as_that_extension_does() -> None:
    unit, remarks = settle(ControlUnit(**{**CANNY, "module": "none"}, processor_res=512), 0)
    assert "Processor Res: 512, Threshold A: 0.5, Threshold B: 0.5" in control_pairs(request_with(unit.model_dump()))["ControlNet 0"]
    assert remarks == ()


def test_idle_units_are_not_written_and_the_others_keep_their_number() -> None:
    assert list(control_pairs(request_with({"module": "canny"}, CANNY))) == ["ControlNet 1"]


def test_a_pasted_infotext_gives_the_units_back_without_their_pictures() -> None:
    unit, _ = settle(ControlUnit(**CANNY, weight=1.35, control_mode="ControlNet is more important", pixel_perfect=True), 0)
    pasted = read_paste(infotext_of(request_with({}, unit.model_dump())))
    idle, again = pasted.request_changes["control_units"]
    assert not idle.enabled
    assert again == unit.model_copy(update={"image": ""})
    assert not pasted.unknown
    assert not pasted.remarks


@pytest.mark.parametrize(
    "text",
    [
        "Module: depth_midas, Model: x [12345678], Weight: 1, Resize Mode: Crop and Resize, Low Vram: False, Processor Res: 512, "
        "Guidance Start: 0, Guidance End: 1, Pixel Perfect: True, Control Mode: Balanced, Save Detected Map: True",
        "Module: depth, Model: x [12345678], Weight: 1.0, Processor Res: 0.5, Threshold A: 0.5, Pixel Perfect: True, Hr Option: Both",
    ],
)
def test_what_older_versions_wrote_is_read(text: str) -> None:
    units, refused = read_control_pairs({"ControlNet 0": text})
    unit = request_with(*units).control_units[0]
    assert (unit.enabled, unit.module, unit.model, unit.weight, unit.pixel_perfect) == (True, "depth_midas", "x [12345678]", 1.0, True)
    assert refused == {}


@pytest.mark.parametrize(
    "text", ["", "Module", "Weight: 9, Module: canny", "Module: nonsense, Weight: 1", "Processor Res: inf, Weight: 1", "::,,"]
)
def test_hostile_units_of_an_infotext_do_no_harm(text: str) -> None:
    pasted = read_paste(f"a\nSteps: 2, Sampler: Euler, CFG scale: 7, ControlNet 0: {json.dumps(text)}")
    assert GenerationRequest().changed(**pasted.request_changes).steps == 2


def test_a_text_with_an_endless_number_of_units_does_not() -> None:
    pasted = read_paste('a\nSteps: 2, Sampler: Euler, CFG scale: 7, ControlNet 99: "Module: canny", ControlNet 999999999: "Module: canny"')
    assert "control_units" not in pasted.request_changes
    assert any("32" in remark for remark in pasted.remarks)


def test_the_record_carries_the_units_with_their_pictures() -> None:
    request = request_with(CANNY)
    text = infotext_of(request)
    record = read_record(write_record(request, {}, infotext=text, version="v1")).record
    assert record is not None
    assert record.request.control_units == request.control_units
    assert read_paste(PictureMetadata(infotext=text, record=record)).request_changes["control_units"] == request.control_units


def test_a_models_name_cannot_pass_for_a_field() -> None:
    said = read_infotext(infotext_of(request_with({**CANNY, "model": "x, Weight: 2.0"})))["ControlNet 0"]
    assert "Weight: 1.0" in said
    assert "Weight: 2.0" not in said


@pytest.mark.parametrize("name", ["canny", "CANNY", "", "none", "hed", "softedge_hed", "invert (from white bg & black line)"])
def test_preprocessors_are_known_by_key_and_label(name: str) -> None:
    assert request_with({"module": name}).control_units[0].module == find_preprocessor(name).label


def test_the_documentation_names_every_preprocessor_and_its_files() -> None:
    text = (PROGRAM / "docs" / "controlnet.md").read_text(encoding="utf-8")
    for one in PREPROCESSORS:
        assert f"| `{one.name}` | {one.label} |" in text
        assert all(f"`{one.folder}/{name}`" in text for name in one.files)


def test_names_and_labels_mean_one_preprocessor_each() -> None:
    for preprocessor in PREPROCESSORS:
        assert find_preprocessor(preprocessor.name) is find_preprocessor(preprocessor.label) is preprocessor


@pytest.mark.parametrize(
    ("module", "given", "settled", "remarked"),
    [
        ("canny", {}, (512, 100, 200), 0),
        ("canny", {"processor_res": 768, "threshold_a": 1, "threshold_b": 256}, (768, 1, 256), 0),
        ("mlsd", {"processor_res": 512, "threshold_a": 64, "threshold_b": 64}, (512, 0.1, 0.1), 2),
        ("none", {"processor_res": 512, "threshold_a": 64, "threshold_b": 64}, (512, -1, -1), 0),
        ("invert", {"processor_res": 512}, (-1, -1, -1), 0),
        ("canny", {"processor_res": 8, "pixel_perfect": True}, (512, 100, 200), 0),
        ("canny", {"processor_res": 8}, (512, 100, 200), 1),
    ],
)
def test_a_number_that_a_preprocessor_cannot_take_is_its_default_and_that_is_said(
    module: str, given: dict[str, Any], settled: tuple[float, ...], remarked: int
) -> None:
    unit, remarks = settle(ControlUnit(module=module, **given), 3)
    assert (unit.processor_res, unit.threshold_a, unit.threshold_b) == settled
    assert len(remarks) == remarked
    assert all(remark.startswith("ControlNet 3: ") for remark in remarks)
    assert settle(unit, 3) == (unit, ())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"weight": 3}, "weight"), ({"weight": float("nan")}, "weight"), ({"guidance_start": 0.6, "guidance_end": 0.5}, "guidance_start"),
        ({"image": "../../etc/passwd"}, "hash"), ({"mask": PICTURE}, "without a picture"), ({"threshold_a": float("inf")}, "threshold_a"),
        ({"resize_mode": "Stretch"}, "resize_mode"), ({"control_mode": "x"}, "control_mode"), ({"colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_name(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        request_with(wrong)


def test_an_unknown_preprocessor_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="softedge_hed"):
        request_with({"module": "softedge_hedd"})


def test_no_more_units_than_a_drawing_could_follow() -> None:
    with pytest.raises(InvalidRequest, match="32"):
        request_with(*[{}] * 33)
