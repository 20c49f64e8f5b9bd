"""A picture drawn again is held against the one it was made from."""

from __future__ import annotations

import math

import pytest
from PIL import Image

from webui.core.verdict import Difference, facts_of, judge

GREY = Image.new("RGB", (8, 4), (100, 100, 100))
TEXT = "a cat\nSteps: 5, Sampler: Euler, CFG scale: 7.0, Seed: 1, Size: 8x4, Model hash: aaaa, Model: one"


def other(pixel: tuple[int, int, int], image: Image.Image = GREY) -> Image.Image:
    changed = image.copy()
    changed.putpixel((0, 0), pixel)
    return changed


def test_the_same_pixels_are_identical_whatever_was_said() -> None:
    verdict = judge(GREY, {"Model": "one"}, GREY.copy(), {"Model": "two"})
    assert (verdict.identical, verdict.psnr, verdict.largest, verdict.share) == (True, None, 0, 0.0)
    assert verdict.differences == (Difference("Model", "one", "two"),)


def test_one_value_off_by_ten_is_measured() -> None:
    verdict = judge(GREY, {}, other((110, 100, 100)), {})
    assert not verdict.identical
    assert (verdict.largest, verdict.share) == (10, pytest.approx(1 / 96))
    assert verdict.psnr == pytest.approx(10 * math.log10(255**2 / (100 / 96)))


def test_darker_and_brighter_count_alike() -> None:
    assert judge(GREY, {}, other((0, 100, 100)), {}).largest == judge(other((0, 100, 100)), {}, GREY, {}).largest == 100


def test_another_size_cannot_be_identical() -> None:
    verdict = judge(GREY, {}, Image.new("RGB", (4, 8)), {})
    assert (verdict.identical, verdict.psnr, verdict.share) == (False, None, 1.0)


def test_transparency_does_not_matter() -> None:
    assert judge(GREY.convert("RGBA"), {}, GREY, {}).identical


def test_what_is_missing_on_one_side_is_a_difference() -> None:
    now = facts_of(TEXT.replace("aaaa", "bbbb") + ", RNG: CPU", "cpu, float32")
    assert judge(GREY, facts_of(TEXT, ""), GREY, now).differences == (
        Difference("Model hash", "aaaa", "bbbb"),
        Difference("RNG", "", "CPU"),
        Difference("Device", "", "cpu, float32"),
    )
