"""What can be asked of the Extras tab, and what is said of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from webui.core.errors import InvalidRequest
from webui.core.extras import ExtrasRequest, SourcePicture, TargetSize, read_extras

HASH = "ab" * 32


def request(**values: Any) -> ExtrasRequest:
    return read_extras({"pictures": [{"image": HASH, "width": 100, "height": 60}], "upscaler_1": "Lanczos", **values})


@pytest.mark.parametrize(
    ("wishes", "size"),
    [
        ({"scale": 2}, TargetSize(200, 120)),
        ({"scale": 1.55}, TargetSize(155, 93)),
        ({"scale": 0.01}, TargetSize(1, 1)),
        ({"scale": 4, "max_side": 256}, TargetSize(256, 153)),
        ({"scale": 2, "max_side": 256}, TargetSize(200, 120)),
        ({"scale": 2, "upscaler_1": "None"}, TargetSize(100, 60)),
        ({"resize_mode": "Scale to", "width": 200, "height": 200}, TargetSize(333, 200, (200, 200))),
        ({"resize_mode": "Scale to", "width": 200, "height": 200, "crop": False}, TargetSize(333, 200)),
        ({"resize_mode": "Scale to", "width": 50, "height": 20}, TargetSize(50, 30, (50, 20))),
        ({"resize_mode": "Scale to", "width": 50, "height": 20, "max_side": 8}, TargetSize(50, 30, (50, 20))),
    ],
)
def test_a_picture_becomes_as_large_as_asked(wishes: dict[str, Any], size: TargetSize) -> None:
    asked = request(**wishes)
    assert asked.target(asked.pictures[0]) == size


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"scale": 2}, "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos"),
        ({"upscaler_1": "None"}, ""),
        (
            {"scale": 4, "max_side": 200, "upscaler_2": "Nearest", "upscaler_2_visibility": 0.5},
            "Postprocess upscale by: 4.0, Max side length: 200, Postprocess upscaler: Lanczos, Postprocess upscaler 2: Nearest",
        ),
        (
            {"resize_mode": "Scale to", "width": 64, "height": 32},
            "Postprocess upscale to: 64x32, Postprocess crop to: 64x32, Postprocess upscaler: Lanczos",
        ),
        ({"upscaler_1": "None", "gfpgan_visibility": 0.5004}, "GFPGAN visibility: 0.5"),
        (
            {"upscaler_1": "None", "codeformer_visibility": 1, "codeformer_weight": 0.25},
            "CodeFormer visibility: 1.0, CodeFormer weight: 0.25",
        ),
        ({"upscaler_1": "a, b: c"}, 'Postprocess upscale by: 2.0, Postprocess upscaler: "a, b: c"'),
    ],
)
def test_what_was_done_is_told_in_a1111s_words(wishes: dict[str, Any], said: str) -> None:
    assert request(**wishes).describe(0) == said


def test_an_upscaler_that_is_not_seen_does_not_take_part() -> None:
    assert request(upscaler_2="Nearest").upscalers == ("Lanczos",)
    assert request(upscaler_1="None", upscaler_2="Nearest", upscaler_2_visibility=1).upscalers == ()
    assert request(upscaler_2="Nearest", upscaler_2_visibility=0.1).upscalers == ("Lanczos", "Nearest")


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"scale": 0}, "scale: got 0"),
        ({"scale": float("nan")}, "scale: got nan"),
        ({"pictures": []}, "pictures"),
        ({"pictures": [{"image": "../etc/passwd", "width": 1, "height": 1}]}, "image"),
        ({"width": 9000, "height": 9000, "resize_mode": "Scale to"}, "at most 67108864 pixels"),
        ({"gfpgan_visibility": 1.5}, "gfpgan_visibility: got 1.5"),
        ({"resize_mode": "larger"}, "resize_mode"),
        ({"upscale": 3}, "upscale"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        request(**wishes)


def test_one_picture_of_many_is_asked_for_alone() -> None:
    pictures = [SourcePicture(image=HASH, width=8, height=8, name=name) for name in ("a.png", "b.png")]
    asked = read_extras({"pictures": pictures})
    assert asked.images == 2
    assert [one.name for one in asked.of_image(1).pictures] == ["b.png"]
    assert ExtrasRequest.model_validate_json(asked.model_dump_json()) == asked
