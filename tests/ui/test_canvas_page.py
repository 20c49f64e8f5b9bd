"""The picture editor in a real Chromium: what a hand draws is, pixel for pixel, what the server stores."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.ui.canvas_person import (
    HEIGHT,
    KINDS,
    LEAVE_FULL_SCREEN,
    LISTEN,
    RESET,
    VIEWPORT,
    WIDTH,
    Mask,
    Person,
    Point,
    near_lines,
    opened,
    photo,
    same,
    scratch_page,
)
from tests.ui.conftest import running
from tests.ui.person import Site, drop, touch
from webui.core.images import encode_png
from webui.core.paths import standard_paths
from webui.ui import mount


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose page holds nothing but editors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mount, "build_page", scratch_page)
        with running(standard_paths(tmp_path_factory.mktemp("data"))) as site:
            yield site


@pytest.fixture(scope="module")
def somebody(browser: Browser, site: Site) -> Iterator[Person]:
    """One visit for most of the tests: opening the page takes longer than what they do on it."""
    with opened(browser, site) as person:
        yield person


@pytest.fixture
def person(somebody: Person) -> Person:
    """Somebody before the editor of masks, as it was when the page was opened."""
    ids = [f"{name}_canvas" for name, _ in KINDS]
    somebody.page.unroute_all()
    somebody.page.evaluate(LEAVE_FULL_SCREEN, ids)
    somebody.page.set_viewport_size(VIEWPORT)
    somebody.open("inpaint")  # after a reload its editor is only there, with what the browser remembers, when its tab is opened
    somebody.page.evaluate(RESET, ids)
    expect(somebody.root.locator(".canvas-hint")).to_be_visible()
    return somebody


@pytest.fixture
def masker(person: Person) -> Person:
    """Somebody with a picture in the editor of masks."""
    person.take(photo())
    return person


@pytest.mark.parametrize("size", [1, 2, 24, 57])
def test_a_stroke_marks_exactly_the_pixels_under_it(masker: Person, size: int) -> None:
    masker.set_size(size)
    way = masker.draw((60, 50), (250, 50), (180, 150))
    assert len(way) > 10
    assert same(masker.mask(), near_lines(way, size))


def lone_pixel(x: int, y: int) -> Image.Image:
    """A black picture with one white pixel."""
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    picture.putpixel((x, y), (255, 255, 255))
    return picture


def seen_pixel(person: Person, ratio: float) -> Point:
    """Where on the page the lone white pixel is seen, by a screenshot and nothing that the editor says."""
    person.page.mouse.move(5, 5)
    person.place(0, 0)
    shot = np.asarray(Image.open(io.BytesIO(person.page.screenshot())).convert("L")).astype(int)
    box = person.stage.bounding_box()
    assert box
    left, top, right, bottom = (
        round(side * ratio) for side in (box["x"] + 9, box["y"] + 9, box["x"] + box["width"] - 9, box["y"] + box["height"] - 9)
    )
    stage = shot[top:bottom, left:right]
    black = stage < 12
    # The stage's own ground is light too, but only the pixel has black on all sides of it.
    around = [np.maximum.accumulate(black, axis) for axis in (0, 1)]
    around += [np.flip(np.maximum.accumulate(np.flip(black, axis), axis), axis) for axis in (0, 1)]
    rows, columns = np.nonzero(np.logical_and.reduce(around) & (stage > 100))
    return (left + columns.mean() + 0.5) / ratio, (top + rows.mean() + 0.5) / ratio


@pytest.mark.parametrize("ratio", [1, 1.5, 3])
def test_a_dot_marks_the_pixel_that_is_seen_there(browser: Browser, site: Site, ratio: float) -> None:
    with opened(browser, site, device_scale_factor=ratio) as person:
        x, y = 251, 67
        person.take(lone_pixel(x, y))
        person.set_size(1)
        zoom, move = (lambda: zoom_at(person, x + 9, y - 4)), (lambda: pan(person, (x + 3, y), (x - 5, y + 1)))
        for arrange in (lambda: None, zoom, move, person.tool("Full screen").click):
            arrange()
            person.page.wait_for_timeout(300)
            person.page.mouse.click(*seen_pixel(person, ratio))
            assert list(zip(*np.nonzero(person.mask()), strict=True)) == [(y, x)]
            person.stage.press("Delete")


def zoom_at(person: Person, x: float, y: float) -> None:
    person.page.mouse.move(*person.place(x, y))
    for _ in range(6):
        person.page.mouse.wheel(0, -170)


def pan(person: Person, start: Point, end: Point) -> None:
    """Drag the picture with the middle button."""
    ways = person.place(*start), person.place(*end)
    person.page.mouse.move(*ways[0])
    person.page.mouse.down(button="middle")
    person.page.mouse.move(*ways[1], steps=3)
    person.page.mouse.up(button="middle")


def test_a_stroke_is_exact_after_zooming_panning_and_scrolling(masker: Person) -> None:
    masker.set_size(13)
    masker.page.set_viewport_size({"width": 900, "height": 500})
    masker.page.mouse.move(*masker.place(200, 90))
    for _ in range(4):
        masker.page.mouse.wheel(0, -240)
    masker.stage.focus()
    masker.page.keyboard.down(" ")
    masker.page.mouse.down()
    masker.page.mouse.move(*masker.place(185, 99), steps=4)
    masker.page.mouse.up()
    masker.page.keyboard.up(" ")
    masker.page.evaluate("scrollBy(0, 61)")
    assert not masker.ready()["mask"]
    way = masker.draw((190, 80), (215, 104))
    assert same(masker.mask(), near_lines(way, 13))


def test_the_wheel_keeps_the_point_under_the_pointer_where_it_is(masker: Person) -> None:
    before, scale = masker.place(111.5, 42.5), masker.asked("editor.view.scale")
    masker.page.mouse.move(*before)
    masker.page.mouse.wheel(0, -500)
    masker.page.wait_for_function("(scale) => window.webui.canvas('inpaint_canvas').editor.view.scale > 2 * scale", arg=scale)
    after = masker.place(111.5, 42.5)
    assert np.hypot(after[0] - before[0], after[1] - before[1]) < 1.5


def test_shift_draws_straight_lines_from_one_end_to_the_next(masker: Person) -> None:
    masker.set_size(8)
    masker.draw((40, 40))
    masker.page.keyboard.down("Shift")
    masker.draw((240, 60))
    # Dragged with Shift, only the line to where the pointer was last counts.
    masker.draw((240, 150), (100, 20), (100, 150))
    masker.page.keyboard.up("Shift")
    ends = [(40.0, 40.0), (240.0, 60.0), (100.0, 150.0)]
    assert same(masker.mask(), near_lines(ends, 8))


def test_undo_and_redo_bring_the_bytes_back(masker: Person) -> None:
    masker.draw((60, 60), (100, 90))
    first = masker.ready()["mask"]
    masker.draw((200, 60), (150, 120))
    second = masker.ready()["mask"]
    assert first != second
    masker.tool("Undo").click()
    assert masker.ready()["mask"] == first
    masker.stage.press("Control+z")
    assert masker.ready()["mask"] == ""
    expect(masker.tool("Undo")).to_be_disabled()
    masker.stage.press("Control+Shift+Z")
    assert masker.ready()["mask"] == first
    masker.stage.press("Control+y")
    assert masker.ready()["mask"] == second
    masker.tool("Undo").click()
    masker.draw((20, 20))
    expect(masker.tool("Redo")).to_be_disabled()


def test_the_eraser_takes_away_exactly_what_it_passes(masker: Person) -> None:
    masker.set_size(40)
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 40)
    masker.tool("Eraser").click()
    masker.set_size(11)
    erased = near_lines(masker.draw((160, 20), (160, 180)), 11)
    assert same(masker.mask(), drawn & ~erased)


def test_all_can_be_marked_inverted_and_cleared_and_each_undone(masker: Person) -> None:
    masker.set_size(30)
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 30)
    masker.tool("Invert mask").click()
    assert same(masker.mask(), ~drawn)
    masker.tool("Mask all").click()
    assert masker.mask().all()
    masker.tool("Undo").click()
    masker.tool("Undo").click()
    assert same(masker.mask(), drawn)
    masker.tool("Clear mask").click()
    assert masker.ready()["mask"] == ""
    masker.tool("Undo").click()
    assert same(masker.mask(), drawn)


def test_a_downloaded_mask_can_be_uploaded_again(masker: Person) -> None:
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 32)
    with masker.page.expect_download() as download:
        masker.tool("Download the mask").click()
    file = download.value.path()
    levels = np.asarray(Image.open(file).convert("L"))
    assert np.array_equal(levels, np.where(drawn, 255, 0))
    before = masker.ready()["mask"]
    masker.tool("Clear mask").click()
    masker.root.locator(".mask-file").set_input_files(file)
    assert masker.ready()["mask"] == before


def upload_mask(person: Person, mask: Image.Image) -> None:
    person.root.locator(".mask-file").set_input_files({"name": "mask.png", "mimeType": "image/png", "buffer": encode_png(mask, {})})


def test_a_mask_of_another_size_is_scaled_to_the_picture(masker: Person) -> None:
    small = np.zeros((50, 80), np.uint8)
    small[10:20, 30:70] = 200
    upload_mask(masker, Image.fromarray(small))
    assert same(masker.mask(), np.kron(small > 128, np.ones((4, 4), bool)))
    masker.tool("Undo").click()
    assert not masker.mask().any()


def test_a_mask_without_white_is_told_and_marks_nothing(masker: Person) -> None:
    masker.draw((60, 100))
    upload_mask(masker, Image.new("L", (WIDTH, HEIGHT), 40))
    expect(masker.notice).to_contain_text("marks nothing")
    assert masker.ready()["mask"] == ""


def test_a_reload_keeps_picture_and_mask(masker: Person, site: Site) -> None:
    way = masker.draw((60, 50), (250, 120))
    before = masker.ready()
    parameters = {"init_images": [before["picture"]], "mask": before["mask"]}
    expect(masker.page.locator("#inpaint_heard textarea")).to_have_value(json.dumps(parameters))
    masker.page.reload()
    masker.open("inpaint")
    expect(masker.root.locator(".canvas-facts")).to_have_text(f"{WIDTH} × {HEIGHT}")
    assert masker.ready() == before
    # What is shown again can be drawn on.
    masker.tool("Eraser").click()
    erased = masker.draw((150, 20), (150, 180))
    assert same(masker.mask(), near_lines(way, 32) & ~near_lines(erased, 32))


def test_a_value_set_by_python_is_shown(masker: Person) -> None:
    inputs = masker.app.queue.inputs
    marked = np.zeros((40, 60), np.uint8)
    marked[5:9, 7:30] = 255
    value = {"picture": inputs.add(photo(60, 40)), "mask": inputs.add(Image.fromarray(marked)), "width": 60, "height": 40}
    masker.page.fill("#inpaint_given textarea", json.dumps(value))
    masker.page.press("#inpaint_given textarea", "Enter")
    expect(masker.root.locator(".canvas-facts")).to_have_text("60 × 40")
    assert masker.ready() == value
    masker.set_size(3)
    dot = near_lines(masker.draw((50, 30)), 3, 60, 40)
    assert same(masker.mask(), (marked > 0) | dot)
    masker.page.fill("#inpaint_given textarea", "null")
    masker.page.press("#inpaint_given textarea", "Enter")
    expect(masker.root.locator(".canvas-hint")).to_be_visible()
    assert masker.ready() is None


def test_a_picture_that_is_gone_is_told_and_what_was_there_stays(masker: Person) -> None:
    before = masker.ready()
    # With status 200, for Chromium reports any other one as an error of the page.
    masker.page.route("**/inputs/" + "0" * 64, lambda route: route.fulfill(status=200, content_type="text/plain", body="gone"))
    masker.page.fill("#inpaint_given textarea", json.dumps({**before, "picture": "0" * 64}))
    masker.page.press("#inpaint_given textarea", "Enter")
    expect(masker.notice).to_contain_text("not kept on the server any more")
    assert masker.ready() == before
    expect(masker.page.locator("#inpaint_heard textarea")).to_have_value(json.dumps({"init_images": [before["picture"]], "mask": ""}))


def test_a_bad_file_is_told_in_a_sentence_and_what_was_there_stays(masker: Person) -> None:
    before = masker.ready()
    masker.choose(b"<svg onload=alert(1)>", "cat.svg")
    expect(masker.notice).to_contain_text("cannot be read")
    masker.choose(encode_png(photo(), {})[:3000])
    expect(masker.notice).to_contain_text("damaged")
    assert masker.ready() == before
    masker.take(photo(seed=8))
    expect(masker.notice).to_be_hidden()
    assert masker.ready()["picture"] != before["picture"]


def test_a_hundred_megapixels_are_refused_in_a_sentence(masker: Person) -> None:
    masker.choose(encode_png(Image.new("1", (10_000, 10_000)), {}))
    expect(masker.notice).to_contain_text("10000x10000")
    expect(masker.notice).to_contain_text("Send a smaller one")


def test_a_photograph_stands_upright_and_is_masked_so(masker: Person) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (90, 40), "red").save(buffer, "JPEG", exif=exif)
    masker.choose(buffer.getvalue(), "photo.jpg")
    expect(masker.root.locator(".canvas-facts")).to_have_text("40 × 90")
    masker.set_size(9)
    way = masker.draw((20, 15), (20, 70))
    assert same(masker.mask(), near_lines(way, 9, 40, 90))


def test_a_picture_can_be_dropped_pasted_and_removed(person: Person) -> None:
    drop(person.page, "#inpaint_canvas .canvas-hint", "cat.png", encode_png(photo(48, 32), {}))
    expect(person.root.locator(".canvas-facts")).to_have_text("48 × 32")
    person.draw((20, 15))
    person.ready()
    person.page.evaluate(PASTE, list(encode_png(photo(72, 24), {})))
    expect(person.root.locator(".canvas-facts")).to_have_text("72 × 24")
    value = person.ready()
    assert (value["mask"], value["width"], value["height"]) == ("", 72, 24)
    assert np.array_equal(np.asarray(person.stored("picture")), np.asarray(photo(72, 24)))
    person.tool("Remove the picture").click()
    expect(person.root.locator(".canvas-hint")).to_be_visible()
    assert person.ready() is None
    expect(person.page.locator("#inpaint_heard textarea")).to_have_value("{}")


PASTE = """(bytes) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([Uint8Array.from(bytes)], "image.png", { type: "image/png" }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData }));
}"""


def load(person: Person, picture: Image.Image, *, keep_mask: bool) -> None:
    """What a page's "send to inpaint" does."""
    person.page.evaluate(
        """([id, encoded, keepMask]) => {
            const bytes = Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0));
            return window.webui.canvas(id).load(new Blob([bytes]), { keepMask });
        }""",
        [f"{person.name}_canvas", b64encode(encode_png(picture, {})).decode(), keep_mask],
    )


def test_a_new_picture_takes_the_mask_over_only_when_asked_to(masker: Person) -> None:
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 32)
    before = masker.ready()
    load(masker, photo(seed=9), keep_mask=True)
    after = masker.ready()
    assert (after["picture"] != before["picture"], after["mask"]) == (True, before["mask"])
    load(masker, photo(WIDTH * 2, HEIGHT * 2), keep_mask=True)
    assert same(masker.mask(), np.kron(drawn, np.ones((2, 2), bool)))
    load(masker, photo(seed=10), keep_mask=False)
    assert masker.ready()["mask"] == ""


def test_what_one_editor_holds_can_be_shown_in_another_before_its_tab_was_opened(masker: Person) -> None:
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 32)
    value = masker.ready()
    masker.page.evaluate("(value) => { window.sent = window.webui.canvas('both_canvas').loadHash(value); }", value)
    both = masker.open("both")
    expect(both.root.locator(".canvas-facts")).to_have_text(f"{WIDTH} × {HEIGHT}")
    assert both.ready() == value
    assert same(both.mask(), drawn)


def test_whoever_listens_hears_of_a_change_once(masker: Person) -> None:
    masker.page.evaluate("""() => {
        window.heard = [];
        window.webui.canvas("inpaint_canvas").addEventListener("change", (event) => window.heard.push(event.detail?.mask));
    }""")
    masker.draw((60, 100), (260, 100))
    mask = masker.ready()["mask"]
    masker.ready()
    assert masker.page.evaluate("window.heard") == [mask]


def test_what_could_not_be_sent_is_told_and_sent_with_the_next_asking(masker: Person) -> None:
    server = re.compile("/component_server")
    masker.page.route(server, lambda route: route.fulfill(status=200, json={"error": "No room on the disk."}))
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 32)
    told = masker.page.evaluate("window.webui.canvas('inpaint_canvas').ready().then(() => 'sent', (error) => error.message)")
    assert told == "No room on the disk."
    expect(masker.notice).to_have_text(told)
    assert masker.asked("value")["mask"] == ""
    masker.page.unroute(server)
    assert same(masker.mask(), drawn)
    expect(masker.notice).to_be_hidden()


def test_a_mask_outlives_a_bad_file_that_comes_before_it_was_sent(masker: Person) -> None:
    drawn = near_lines(masker.draw((60, 100), (260, 100)), 32)
    masker.choose(b"no picture")
    assert same(masker.mask(), drawn)
    expect(masker.notice).to_contain_text("cannot be read")


def test_the_keyboard_alone_draws_a_mask(masker: Person) -> None:
    page = masker.page
    masker.stage.focus()
    for key in ("e", "b", "0", "1"):
        page.keyboard.press(key)
    masker.set_size(6)
    masker.root.get_by_label("Brush size").press("ArrowRight")
    page.keyboard.press("]")
    page.keyboard.press("[")
    assert masker.asked("editor.size") == 7
    masker.stage.focus()
    page.keyboard.press("ArrowRight")
    start = masker.page.evaluate("Object.values(window.webui.canvas('inpaint_canvas').editor.gestures.at)")
    page.keyboard.press("Enter")
    for _ in range(10):
        page.keyboard.press("Shift+ArrowRight")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    x, y = start
    assert same(masker.mask(), near_lines([(x, y), (x + 20, y)], 7) | near_lines([(x + 20, y + 8)], 7))
    page.keyboard.press("Delete")
    assert masker.ready()["mask"] == ""
    page.keyboard.press("f")
    expect(masker.root).to_have_class("canvas full")


def test_every_control_has_a_name_and_is_reached_by_tab(masker: Person) -> None:
    masker.draw((60, 100))
    controls = masker.root.locator("button:visible, input:visible:not(.canvas-file), .canvas-stage")
    names = controls.evaluate_all("(all) => all.map((one) => one.ariaLabel || one.textContent)")
    assert all(names)
    assert len(names) == len(set(names)) > 15
    masker.tool("Choose another picture").focus()
    reached = set()
    for _ in range(len(names) + 2):
        reached.add(masker.page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent"))
        masker.page.keyboard.press("Tab")
    assert {name for name in names if name != "Redo"} <= reached  # there is nothing to redo


def test_typing_elsewhere_draws_nothing(masker: Person) -> None:
    masker.draw((60, 100))
    before = masker.ready()
    masker.page.mouse.move(*masker.place(200, 100))
    masker.page.click("#inpaint_given textarea")
    masker.page.keyboard.type("e[1 ] b")
    masker.page.keyboard.press("Control+z")
    masker.page.mouse.move(*masker.place(200, 100))
    masker.page.keyboard.press("Delete")
    assert masker.ready() == before
    assert masker.asked("editor.tool") == "brush"


def test_alt_and_ctrl_with_the_wheel_change_the_brush(masker: Person) -> None:
    masker.page.mouse.move(*masker.place(160, 100))
    for key in ("Alt", "Control"):
        masker.set_size(30)
        scale = masker.asked("editor.view.scale")
        masker.page.keyboard.down(key)
        masker.page.mouse.wheel(0, -100)
        masker.page.keyboard.up(key)
        masker.page.wait_for_function("window.webui.canvas('inpaint_canvas').editor.size === 34")
        assert masker.asked("editor.view.scale") == scale


def test_the_ring_is_as_large_as_the_brush(masker: Person) -> None:
    masker.set_size(40)
    masker.page.mouse.move(*masker.place(160, 100))
    masker.page.mouse.wheel(0, -300)
    corner, other = masker.place(140, 80), masker.place(180, 120)
    ring = masker.stage.locator(".canvas-ring").bounding_box()
    assert ring
    assert np.allclose([ring["x"], ring["y"], ring["x"] + ring["width"], ring["y"] + ring["height"]], [*corner, *other], atol=1.5)


def painted_with(original: Image.Image, strokes: Mask, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.where(strokes[..., None], np.array(colour, np.uint8), np.asarray(original))


def set_colour(person: Person, colour: str) -> None:
    person.root.get_by_label("Colour", exact=True).fill(colour)


def test_strokes_are_painted_into_the_picture_and_only_there(person: Person) -> None:
    sketcher, original = person.open("sketch"), photo()
    sketcher.take(original)
    before = sketcher.ready()
    set_colour(sketcher, "#1e90ff")
    strokes = near_lines(sketcher.draw((60, 50), (250, 120)), 32)
    value = sketcher.ready()
    assert np.array_equal(np.asarray(sketcher.stored("picture")), painted_with(original, strokes, (0x1E, 0x90, 0xFF)))
    assert (value["mask"], value["original"]) == ("", before["picture"])
    sketcher.tool("Undo").click()
    assert sketcher.ready() == before
    sketcher.tool("Redo").click()
    assert sketcher.ready() == value
    sketcher.tool("Remove all paint").click()
    assert sketcher.ready() == before


def test_after_a_reload_paint_can_still_be_taken_away(person: Person) -> None:
    sketcher, original = person.open("sketch"), photo()
    sketcher.take(original)
    set_colour(sketcher, "#ff00aa")
    strokes = near_lines(sketcher.draw((60, 50), (250, 120)), 32)
    before = sketcher.ready()
    expect(sketcher.page.locator("#sketch_heard textarea")).to_have_value(json.dumps({"init_images": [before["picture"]], "mask": ""}))
    sketcher.page.reload()
    sketcher.open("sketch")
    expect(sketcher.root.locator(".canvas-facts")).to_have_text(f"{WIDTH} × {HEIGHT}")
    assert sketcher.ready() == before
    sketcher.tool("Eraser").click()
    erased = near_lines(sketcher.draw((150, 20), (150, 180)), 32)
    assert np.array_equal(np.asarray(sketcher.stored("picture")), painted_with(original, strokes & ~erased, (0xFF, 0, 0xAA)))


def test_a_colour_can_be_picked_from_picture_and_paint(person: Person) -> None:
    sketcher = person.open("sketch")
    sketcher.take(Image.new("RGB", (WIDTH, HEIGHT), "#0a7bc4"))
    set_colour(sketcher, "#ffffff")
    sketcher.draw((60, 50))
    sketcher.stage.press("i")
    sketcher.page.mouse.click(*sketcher.place(200, 100))
    colour = sketcher.root.get_by_label("Colour", exact=True)
    expect(colour).to_have_value("#0a7bc4")
    sketcher.stage.press("b")
    sketcher.page.keyboard.down("Alt")
    sketcher.page.mouse.click(*sketcher.place(60, 50))
    sketcher.page.keyboard.up("Alt")
    expect(colour).to_have_value("#ffffff")


def test_where_both_are_wanted_paint_is_marked_too(person: Person) -> None:
    both, original = person.open("both"), photo()
    both.take(original)
    set_colour(both, "#00ff00")
    strokes = near_lines(both.draw((60, 50), (250, 120)), 32)
    assert same(both.mask(), strokes)
    assert np.array_equal(np.asarray(both.stored("picture")), painted_with(original, strokes, (0, 255, 0)))
    both.tool("Invert mask").click()
    assert same(both.mask(), ~strokes)
    assert np.array_equal(np.asarray(both.stored("picture")), painted_with(original, strokes, (0, 255, 0)))


def test_an_editor_without_tools_only_shows(person: Person) -> None:
    plain = person.open("plain")
    plain.take(photo())
    plain.page.mouse.move(*plain.place(60, 50))
    plain.page.mouse.down()
    plain.page.mouse.move(*plain.place(90, 70))
    plain.page.mouse.up()
    value = plain.ready()
    assert (value["mask"], value["picture"]) == ("", plain.app.queue.inputs.add(photo()))
    assert plain.root.get_by_role("button", name="Brush").count() == 0


PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 700}, "has_touch": True, "is_mobile": True, "device_scale_factor": 3}


def test_one_finger_draws_without_scrolling_and_two_zoom_without_drawing(browser: Browser, site: Site) -> None:
    with opened(browser, site, **PHONE) as masker:
        masker.take(photo())
        masker.page.evaluate("document.body.style.minHeight = '3000px'")
        masker.set_size(9)
        fingers = masker.page.context.new_cdp_session(masker.page)
        masker.page.evaluate(LISTEN, "inpaint_canvas")
        touch(fingers, "touchStart", masker.place(60, 150))
        for y in (120, 90, 60, 30):
            touch(fingers, "touchMove", masker.place(60, y))
        touch(fingers, "touchEnd")
        drawn = near_lines([(x, y) for x, y in masker.page.evaluate("window.passed")], 9)
        assert drawn.sum() > 9 * 100
        assert same(masker.mask(), drawn)
        assert masker.page.evaluate("scrollY") == 0
        scale, before = masker.asked("editor.view.scale"), masker.ready()["mask"]
        one, two = masker.place(100, 100), masker.place(200, 100)
        touch(fingers, "touchStart", one)
        touch(fingers, "touchStart", one, two)
        for step in range(1, 6):
            touch(fingers, "touchMove", (one[0] - 10 * step, one[1]), (two[0] + 10 * step, two[1]))
        touch(fingers, "touchEnd")
        assert masker.asked("editor.view.scale") > scale * 1.5
        assert masker.ready()["mask"] == before
        masker.tool("Undo").click()
        assert masker.ready()["mask"] == ""


def test_nothing_sticks_out_of_a_phone(browser: Browser, site: Site) -> None:
    with opened(browser, site, **PHONE) as person:
        for name, _ in KINDS:
            editor = person.open(name)
            editor.take(photo())
            assert editor.page.evaluate("document.documentElement.scrollWidth") <= 390
            sides = editor.root.locator("button:visible, input:visible:not(.canvas-file)").evaluate_all(
                "(all) => all.map((one) => one.getBoundingClientRect()).map(({ left, right, height }) => [left, right, height])"
            )
            assert all(left >= 0 and right <= 390 for left, right, _ in sides)
            assert all(height >= 28 for _, _, height in sides)
