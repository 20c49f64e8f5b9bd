"""A1111's ui-config.json as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webui.core.errors import InvalidRequest
from webui.core.ui_config import MAX_CHARACTERS, Entry, UiConfig, read_key


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("txt2img/Sampling steps/value", Entry("txt2img", "Sampling steps", "value")),
        ("txt2img/Width/maximum", Entry("txt2img", "Width", "maximum")),
        ("img2img/Only masked padding, pixels/step", Entry("img2img", "Only masked padding, pixels", "step")),
        ("customscript/xyz_grid.py/txt2img/X type/value", Entry("txt2img", "X type", "value", "xyz_grid.py")),
        ("txt2img/scripts/X/Y/Z plot/x_type/value", Entry("txt2img", "scripts/X/Y/Z plot/x_type", "value")),
        ("txt2img/Width/colour", None),
        ("txt2img//value", None),
        ("/Width/value", None),
        ("value", None),
        ("", None),
        ("samples_save", None),
    ],
)
def test_a_key_names_tab_label_and_field(key: str, entry: Entry | None) -> None:
    assert read_key(key) == entry


def test_what_is_for_others_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ui-config.json"
    path.write_text(json.dumps({"other/Thing/value": 1, "txt2img/Width/value": 512}), encoding="utf-8")
    UiConfig(path).change({"txt2img/Height/value": 640}, without=["txt2img/Width/value"])
    assert json.loads(path.read_text(encoding="utf-8")) == {"other/Thing/value": 1, "txt2img/Height/value": 640}


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, " " * (MAX_CHARACTERS + 1), "\xff\xfe"])
def test_a_file_that_cannot_be_read_is_never_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ui-config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidRequest, match=r"ui-config\.json"):
        UiConfig(path).change({"txt2img/Height/value": 640})
    assert path.read_bytes() == content.encode("latin-1")


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert UiConfig(tmp_path / "ui-config.json").entries() == {}
