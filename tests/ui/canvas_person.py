"""Somebody before a picture editor, for the browser tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.ui.conftest import LOCAL
from tests.ui.person import PATIENCE, Site
from webui.app import App
from webui.core.images import decode_image, encode_png
from webui.ui.canvas import build_canvas, read_canvas

WIDTH, HEIGHT = 320, 200
VIEWPORT: Any = {"width": 1280, "height": 900}
KINDS: tuple[tuple[str, dict[str, bool]], ...] = (
    ("plain", {}), ("inpaint", {"mask": True}), ("sketch", {"colours": True}), ("both", {"mask": True, "colours": True}),
)  # fmt: skip
Point = tuple[float, float]
Mask = NDArray[np.bool_]


# An editor that has the whole screen covers the tabs.
LEAVE_FULL_SCREEN = """async (ids) => {
    const isFull = () => document.fullscreenElement || ids.some((id) => window.webui.canvas(id)?.editor?.isFull);
    while (isFull()) {
        ids.map((id) => window.webui.canvas(id)?.editor).find((editor) => editor?.isFull)?.toggleFull();
        await new Promise((done) => setTimeout(done, 50));
    }
}"""
RESET = """async (ids) => {
    for (const { editor } of ids.map((id) => window.webui.canvas(id))) {
        if (!editor) continue;
        await editor.ready().catch(() => null);
        editor.clear();
        editor.setTool("brush");
        editor.setSize(32);
    }
    document.activeElement?.blur();
    scrollTo(0, 0);
}"""
# Where the pointer went, by what the picture's frame says and not by the editor's own arithmetic.
LISTEN = """(id) => {
    window.passed = [];
    const editor = window.webui.canvas(id).editor, stage = editor.stage;
    const note = (event) => {
        const box = stage.querySelector("canvas").getBoundingClientRect(), { x, y, scale, ratio } = editor.view;
        for (const each of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
            window.passed.push([((each.clientX - box.left) * ratio - x) / scale, ((each.clientY - box.top) * ratio - y) / scale]);
        }
    };
    stage.addEventListener("pointerdown", (event) => {
        note(event);
        stage.addEventListener("pointermove", note);
        stage.addEventListener("pointerup", () => stage.removeEventListener("pointermove", note), { once: true });
    }, { once: true, capture: true });
}"""
PLACE = """([id, pictureX, pictureY]) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
    const { view } = window.webui.canvas(id).editor, box = view.stage.querySelector("canvas").getBoundingClientRect();
    done([box.left + (pictureX * view.scale + view.x) / view.ratio, box.top + (pictureY * view.scale + view.y) / view.ratio]);
})))"""


def scratch_page(app: App) -> gr.Blocks:
    """A tab for each kind of editor; the browser remembers their values, and Python hears of them."""
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    canvases: dict[str, gr.HTML] = {}
    with gr.Blocks(analytics_enabled=False, fill_width=True) as page:
        with gr.Tabs():
            for name, kind in KINDS:
                with gr.Tab(name, id=name):
                    canvas = build_canvas(app, f"{name}_canvas", label=f"The {name} picture", **kind)
                    heard = gr.Textbox(elem_id=f"{name}_heard", label="Heard")
                    given = gr.Textbox(elem_id=f"{name}_given", label="Given")
                canvases[name] = canvas
                canvas.change(lambda value: json.dumps(read_canvas(value)), canvas, heard, preprocess=False, **quiet)
                given.submit(json.loads, given, canvas, **quiet)
        # Outside the tabs: what is in a tab is made when that is first opened, and would not be read before.
        for name, canvas in canvases.items():
            memory = gr.BrowserState(storage_key=f"canvas.{name}", secret="canvas")
            page.load(lambda stored: stored, memory, canvas, **quiet)
            canvas.change(None, canvas, memory, js="(value) => value", **quiet)
    return page


class Person:
    """Somebody before one of the editors."""

    def __init__(self, page: Page, app: App, name: str) -> None:
        self.page, self.app, self.name = page, app, name
        self.root = page.locator(f"#{name}_canvas .canvas")
        self.stage = self.root.locator(".canvas-stage")
        self.notice = self.root.locator(".notice")

    def open(self, name: str) -> Person:
        """Go to the tab of another editor."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        other = Person(self.page, self.app, name)
        expect(other.stage).to_be_visible()
        return other

    def tool(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def choose(self, data: bytes, name: str = "cat.png") -> None:
        self.root.locator(".picture-file").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})

    def take(self, picture: Image.Image) -> None:
        """Choose a picture and wait until it is there."""
        self.choose(encode_png(picture, {}))
        expect(self.root.locator(".canvas-facts")).to_have_text(f"{picture.width} × {picture.height}")

    def asked(self, expression: str, *arguments: Any) -> Any:
        return self.page.evaluate(f"([id, ...given]) => window.webui.canvas(id).{expression}", [f"{self.name}_canvas", *arguments])

    def ready(self) -> Any:
        return self.asked("ready()")

    def stored(self, key: str) -> Image.Image:
        """A file of the value, from where jobs take it."""
        return decode_image(self.app.queue.inputs.read(self.ready()[key]))

    def mask(self) -> Mask:
        """The stored mask; nothing marked, without one."""
        value = self.ready()
        if not value["mask"]:
            return np.zeros((value["height"], value["width"]), bool)
        levels = np.asarray(self.stored("mask"))
        assert set(np.unique(levels)) <= {0, 255}
        return levels == 255

    def place(self, x: float, y: float) -> Point:
        """Where on the page a point of the picture is seen, once all that was asked for is drawn."""
        place: Point = self.page.evaluate(PLACE, [f"{self.name}_canvas", x, y])
        return place

    def draw(self, *points: Point, steps: int = 7) -> list[Point]:
        """Press, drag through these points of the picture, let go; where the pointer was, in the picture."""
        self.page.evaluate(LISTEN, f"{self.name}_canvas")
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=steps)
        self.page.mouse.up()
        return [(x, y) for x, y in self.page.evaluate("window.passed")]

    def set_size(self, size: int) -> None:
        self.root.get_by_label("Brush size").fill(str(round(np.log2(size), 2)))
        assert self.asked("editor.size") == size


def near_lines(points: list[Point], size: int, width: int = WIDTH, height: int = HEIGHT) -> Mask:
    """What a round brush leaves: pixels whose middle is within half its size of the way, a brush's middle standing on the grid."""

    def snapped(value: float) -> float:
        return np.floor(value) + 0.5 if size % 2 else np.floor(value + 0.5)

    way = [(snapped(x), snapped(y)) for x, y in points]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    marked = np.zeros((height, width), bool)
    for (ax, ay), (bx, by) in zip(way, [*way[1:], way[-1]], strict=True):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1) if length else 0.0
        marked |= np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= size / 2 + 1e-6
    return marked


def photo(width: int = WIDTH, height: int = HEIGHT, seed: int = 7) -> Image.Image:
    """A picture no two of which are alike."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@contextmanager
def opened(browser: Browser, site: Site, **options: Any) -> Iterator[Person]:
    """The page in a browser of this shape. It must ask no other machine for anything and report no error."""
    context = browser.new_context(**{"viewport": VIEWPORT, "accept_downloads": True, **options})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: troubles.append(request.url) if not request.url.startswith((site.address, *LOCAL)) else None)
    page.goto(site.address)
    expect(page.get_by_role("tab", name="inpaint")).to_be_visible()
    yield Person(page, site.app, "plain").open("inpaint")
    context.close()
    assert troubles == []


def same(one: Mask, other: Mask) -> bool:
    return bool(one.any() and np.array_equal(one, other))
