"""Pictures and masks around drawing: sizes, edges, and what is kept bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from webui.core.request_parts.picture import RESIZE_MODES
from webui.engine.masking import CROP, FILL, Overlay, blur, crop_around, doubled, fill_masked, flatten, overlay_of, read_mask, resize


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels)


def box_mask(width: int, height: int, *box: int) -> Image.Image:
    """box: left, top, right, bottom of what is white; right and bottom are the first black again."""
    mask = Image.new("L", (width, height))
    if box:
        mask.paste(255, box)
    return mask


def test_a_mask_is_its_transparency_where_it_has_any() -> None:
    given = Image.new("RGBA", (4, 1), (255, 255, 255, 0))
    for x, alpha in enumerate((0, 128, 129, 255)):
        given.putpixel((x, 0), (0, 0, 0, alpha))
    assert list(read_mask(given, rounded=True).tobytes()) == [0, 0, 255, 255]
    assert list(read_mask(given, rounded=False).tobytes()) == [0, 128, 129, 255]


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1"])
def test_a_mask_without_transparency_is_its_brightness(mode: str) -> None:
    given = Image.new("RGB", (2, 1), "black")
    given.putpixel((1, 0), (255, 255, 255))
    mask = read_mask(given.convert(mode), rounded=True)
    assert (mask.mode, list(mask.tobytes())) == ("L", [0, 255])


def test_blur_softens_each_direction_on_its_own() -> None:
    mask = box_mask(33, 33, 16, 0, 17, 33)
    across, down = np.asarray(blur(mask, 3, 0)), np.asarray(blur(mask, 0, 3))
    assert (across > 0).any(axis=0).sum() > 5
    assert np.array_equal(down, np.asarray(mask))
    assert np.array_equal(np.asarray(blur(mask.transpose(Image.Transpose.ROTATE_90), 0, 3)), across.T)


def test_blur_reaches_as_far_as_a1111s() -> None:
    spread = np.asarray(blur(box_mask(101, 3, 50, 0, 51, 3), 4, 0))[1]
    kernel = 2 * int(2.5 * 4 + 0.5) + 1
    assert np.flatnonzero(spread).max() - np.flatnonzero(spread).min() < kernel
    assert spread[50] == pytest.approx(255 / (4 * np.sqrt(2 * np.pi)), abs=1)


@pytest.mark.parametrize("blurs", [(0, 0), (512, 512)])
def test_blur_of_one_pixel_is_that_pixel(blurs: tuple[int, int]) -> None:
    assert blur(Image.new("L", (1, 1), 255), *blurs).getpixel((0, 0)) == 255


def test_what_is_transparent_lies_on_white() -> None:
    given = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    given.putpixel((1, 0), (10, 20, 30, 0))
    flat = flatten(given)
    assert (flat.mode, flat.getpixel((0, 0)), flat.getpixel((1, 0))) == ("RGB", (10, 20, 30), (255, 255, 255))


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2, 3), (100, 60), (63, 65)])
@pytest.mark.parametrize("wanted", [(64, 64), (64, 128), (128, 64)])
@pytest.mark.parametrize("kind", ["L", "RGB"])
def test_every_picture_comes_to_every_size_in_every_mode(mode: str, size: tuple[int, int], wanted: tuple[int, int], kind: str) -> None:
    result = np.asarray(resize(Image.new(kind, size, "white"), mode, *wanted))
    assert result.shape[:2] == wanted[::-1]
    assert result.min() == 255  # nothing is left black


@pytest.mark.parametrize("size", [(1, 300_001), (300_001, 1)])
def test_a_strip_is_cut_without_growing_beyond_memory(size: tuple[int, int]) -> None:
    strip = Image.new("RGB", size, "white")
    strip.putpixel((size[0] // 2, size[1] // 2), (255, 0, 0))
    assert np.array_equal(np.asarray(resize(strip, CROP, 64, 64)), np.asarray(Image.new("RGB", (64, 64), (255, 0, 0))))


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_picture_of_the_right_size_stays_as_it_is(mode: str) -> None:
    given = noise(72, 64)
    assert np.array_equal(np.asarray(resize(given, mode, 72, 64)), np.asarray(given))


def striped() -> Image.Image:
    """Twice as wide as high: red, then green and green, then blue."""
    picture = Image.new("RGB", (128, 64), (0, 255, 0))
    picture.paste((255, 0, 0), (0, 0, 32, 64))
    picture.paste((0, 0, 255), (96, 0, 128, 64))
    return picture


def test_cropping_cuts_both_sides_alike() -> None:
    assert np.array_equal(np.asarray(resize(striped(), CROP, 64, 64)), np.asarray(Image.new("RGB", (64, 64), (0, 255, 0))))


def test_filling_shows_all_and_goes_on_at_the_edge() -> None:
    filled = resize(striped(), FILL, 128, 128)
    assert np.array_equal(np.asarray(filled)[32:96], np.asarray(striped()))
    for y in (0, 31, 96, 127):
        assert [filled.getpixel((x, y)) for x in (0, 64, 127)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_filling_goes_on_at_the_sides_too() -> None:
    turned = striped().transpose(Image.Transpose.ROTATE_90)
    assert np.array_equal(
        np.asarray(resize(turned, FILL, 128, 128)), np.asarray(resize(striped(), FILL, 128, 128).transpose(Image.Transpose.ROTATE_90))
    )


@pytest.mark.parametrize(
    ("white", "padding", "shape", "box"),
    [
        ((40, 40, 60, 60), 0, (64, 64), (40, 40, 60, 60)),
        ((40, 40, 60, 60), 10, (64, 64), (30, 30, 70, 70)),
        ((40, 40, 60, 60), 0, (128, 64), (30, 40, 70, 60)),
        ((40, 40, 60, 60), 0, (64, 128), (40, 30, 60, 70)),
        ((0, 0, 10, 10), 4, (64, 64), (0, 0, 14, 14)),
        ((0, 40, 4, 60), 0, (64, 64), (0, 40, 20, 60)),  # moved inside at an edge
        ((90, 90, 100, 100), 4, (64, 64), (86, 86, 100, 100)),
        ((96, 40, 100, 60), 0, (64, 64), (80, 40, 100, 60)),
        ((0, 0, 100, 100), 32, (64, 64), (0, 0, 100, 100)),
        ((0, 45, 100, 55), 0, (64, 128), (0, 0, 100, 100)),  # no room for that shape
        ((50, 50, 51, 51), 0, (64, 64), (50, 50, 51, 51)),
        ((50, 50, 51, 51), 9000, (64, 64), (0, 0, 100, 100)),
    ],
)
def test_the_part_around_a_mask(white: tuple[int, ...], padding: int, shape: tuple[int, int], box: tuple[int, ...]) -> None:
    assert crop_around(box_mask(100, 100, *white), padding, *shape) == box


def test_an_empty_mask_has_no_part() -> None:
    assert crop_around(box_mask(100, 100), 32, 64, 64) is None


def test_the_part_around_a_mask_is_inside_the_picture_and_shows_all_of_it() -> None:
    random = np.random.default_rng(5)
    for _ in range(100):
        width, height = (int(side) for side in random.integers(1, 300, 2))
        x, y = int(random.integers(width)), int(random.integers(height))
        white = (x, y, int(random.integers(x, width)) + 1, int(random.integers(y, height)) + 1)
        shape = [int(side) * 8 for side in random.integers(8, 1024, 2)]
        box = crop_around(box_mask(width, height, *white), int(random.integers(0, 64)), shape[0], shape[1])
        assert box is not None
        left, top, right, bottom = box
        assert 0 <= left <= white[0] < white[2] <= right <= width
        assert 0 <= top <= white[1] < white[3] <= bottom <= height


def test_what_is_masked_takes_the_colours_around_it() -> None:
    picture = Image.new("RGB", (96, 96), (200, 100, 50))
    picture.paste((0, 0, 255), (40, 40, 56, 56))
    filled = np.asarray(fill_masked(picture, box_mask(96, 96, 40, 40, 56, 56))).astype(int)
    assert abs(filled - (200, 100, 50)).max() <= 6


def test_a_picture_with_an_empty_mask_is_not_filled() -> None:
    picture = noise(64, 64)
    assert np.array_equal(np.asarray(fill_masked(picture, box_mask(64, 64))), np.asarray(picture))


def test_a_picture_masked_as_a_whole_can_be_filled() -> None:
    assert fill_masked(noise(64, 64), box_mask(64, 64, 0, 0, 64, 64)).size == (64, 64)


def disc(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse((width // 3, height // 3, 2 * width // 3, 2 * height // 3), fill=255)
    return blur(mask, 3, 3)


def test_outside_the_mask_the_picture_is_the_original_bit_for_bit() -> None:
    original, drawn, mask = noise(64, 72), Image.new("RGB", (64, 72), (1, 2, 3)), disc(64, 72)
    result = np.asarray(overlay_of(original, mask).over(drawn))
    black, white = np.asarray(mask) == 0, np.asarray(mask) == 255
    assert black.any()
    assert white.any()
    assert np.array_equal(result[black], np.asarray(original)[black])
    assert (result[white] == (1, 2, 3)).all()


def test_only_masked_is_put_back_where_it_was_cut_out() -> None:
    original, mask = noise(301, 203), disc(301, 203)
    box = crop_around(mask, 5, 64, 64)
    assert box is not None
    result = np.asarray(overlay_of(original, mask, box).over(Image.new("RGB", (64, 64), (1, 2, 3))))
    black, white = np.asarray(mask) == 0, np.asarray(mask) == 255
    assert result.shape == (203, 301, 3)
    assert np.array_equal(result[black], np.asarray(original)[black])
    assert (result[white] == (1, 2, 3)).all()


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0, 0, 33, 32), (5, 0, 6, 40), (0, 39, 40, 40)])
def test_a_part_of_any_shape_is_covered_by_what_was_drawn(box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    overlay = Overlay(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), box)
    result = np.asarray(overlay.over(Image.new("RGB", (64, 128), (9, 9, 9))))
    assert (result[top:bottom, left:right] == 9).all()


def test_a_soft_edge_is_moved_outwards() -> None:
    mask = Image.fromarray(np.array([[0, 1, 100, 128, 255]], dtype=np.uint8))
    assert list(doubled(mask).tobytes()) == [0, 2, 200, 255, 255]
