"""What a person does on the page, for the browser tests."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from playwright.sync_api import CDPSession, Page, expect

from tests.fake_engine import FakeEngine
from webui.app import App
from webui.core.images import encode_png
from webui.core.request import GenerationRequest

PROMPT = "#txt2img_prompt textarea"
INFOTEXT = "#html_info_txt2img"
LOG = "#html_log_txt2img"
STAGE_PICTURE = "#txt2img_gallery .picture"
PICTURES = "#txt2img_gallery .thumb[data-id]"
PROGRESS = "#txt2img_results .progress"
NOTICE = "#txt2img_results .notice"
FAST, SLOW = 0.01, 1.0
FOLLOWED = "(tab) => window.webui.tab(tab).results?.jobs?.[0] ?? null"  # the job that a tab's panel shows
PATIENCE = 60_000  # milliseconds: other work on the machine must fail no test


@dataclass
class Site:
    """A running server, and the app behind it."""

    address: str
    app: App
    engine: FakeEngine

    def open(self, page: Page) -> None:
        """Open the page and wait until it is restored, as a person would before typing."""
        page.goto(self.address)
        page.wait_for_selector("#txt2img_generate[title], #txt2img_generate")
        page.wait_for_function("document.getElementById('txt2img_prompt')?.title")

    def settle(self) -> None:
        """End all jobs and let the queue run fast again."""
        self.engine.step_seconds = FAST
        self.app.queue.resume()
        self.app.queue.cancel_all()
        for job in self.app.queue.jobs():
            job.wait(60)


def set_number(page: Page, name: str, value: object) -> None:
    """Type into the number box of a slider."""
    page.fill(f"#txt2img_{name} input[type=number]", str(value))


def number(page: Page, name: str) -> str:
    return page.input_value(f"#txt2img_{name} input[type=number]")


def generate(page: Page, prompt: str, *, batch_count: int = 1) -> None:
    """Type a prompt and press Ctrl+Enter in it."""
    if batch_count > 1:
        set_number(page, "batch_count", batch_count)
    page.fill(PROMPT, prompt)
    page.press(PROMPT, "Control+Enter")


def draw(page: Page, prompt: str, *, batch_count: int = 1) -> str:
    """Generate and wait for the end; the infotext shown."""
    generate(page, prompt, batch_count=batch_count)
    expect(page.locator(INFOTEXT)).to_contain_text(prompt)
    expect(page.locator(PROGRESS)).to_be_hidden()
    return page.inner_text(INFOTEXT)


def drop(page: Page, selector: str, name: str, data: bytes) -> None:
    """Drop a file on an element, as from the desktop."""
    page.eval_on_selector(
        selector,
        """(target, [name, encoded]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0))], name));
            for (const type of ["dragenter", "dragover", "drop"]) {
                target.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
            }
        }""",
        [name, b64encode(data).decode()],
    )


def picture_file(site: Site, prompt: str, **changes: Any) -> bytes:
    """The file of a picture that the server has drawn for somebody else."""
    request = GenerationRequest(**{"prompt": prompt, "width": 64, "height": 64, "steps": 3, **changes})
    job = site.app.submit(request, source="api")
    job.wait(60)
    return job.pictures[0].path.read_bytes()


def open_tab(page: Page, tab: str) -> None:
    """Go to a generation tab, and wait until it is made."""
    page.get_by_role("tab", name=tab, exact=True).click()
    expect(page.locator(f"#{tab}_generate")).to_be_visible()
    page.wait_for_function("(tab) => window.webui.tab(tab).overrides && window.webui.tab(tab).results", arg=tab)


def choose_picture(page: Page, tab: str, picture: Image, *, element: str = "image") -> None:
    """Choose a picture in a tab's editor, and wait until it is there."""
    file = {"name": "picture.png", "mimeType": "image/png", "buffer": encode_png(picture, {})}
    page.locator(f"#{tab}_{element} .picture-file").set_input_files(file)
    expect(page.locator(f"#{tab}_{element} .canvas-facts")).to_have_text(f"{picture.width} × {picture.height}")


@contextmanager
def result(page: Page, tab: str, says: str = "1 picture ·", *, seconds: float = 60) -> Iterator[None]:
    """Wait until a tab's panel tells the end of what is asked for inside the block; what it followed before does not count."""
    before = page.evaluate(FOLLOWED, tab)
    yield
    page.wait_for_function(f"([tab, before]) => ({FOLLOWED})(tab) !== before", arg=[tab, before], timeout=seconds * 1000)
    expect(page.locator(f"#html_log_{tab}")).to_contain_text(says, timeout=seconds * 1000)


def touch(session: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    """Fingers at these points of the page.  kind: touchStart, touchMove or touchEnd."""
    fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
