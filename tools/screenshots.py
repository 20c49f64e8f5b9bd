"""Pictures of every tab for docs/tour.md, in the light, in the dark and as wide as a phone.

    venv/bin/python -m tools.screenshots [names of tabs, all if none is given] [--look light|dark|phone] [--png FOLDER]

Starts the real program with the demo models and a data folder of its own, and drives it in Chromium as a person would: pictures are drawn,
jobs wait in the queue, models have previews, a mask is painted. The pictures go to docs/images/tabs as WebP; with --png, as PNG to FOLDER
too. It takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.program import ROOT, Program, running
from benchmarks.start import CHROMIUM_FLAGS
from tests.chromium import find_chromium

FOLDER = ROOT / "docs" / "images" / "tabs"
QUALITY = 70
PATIENCE = 180_000  # milliseconds; drawing is slow where much else runs
DRAWN = (
    "a red apple on a white background", "a blue car in the snow", "a yellow star at night", "a green frog in a meadow",
    "a purple butterfly on the beach", "an orange cat at sunset",
)  # fmt: skip
EXTENSIONS = (
    ("bright-mornings", "Bright mornings", "1.2.0", "Lifts the shadows of finished pictures."),
    ("paper-frames", "Paper frames", "0.9.1", "Puts a frame of torn paper around what is drawn."),
)
CHECKPOINTS = 3  # ship
STYLES = ("evening-glow", "paper-cut", "winter-light")
PREVIEWS = ("demo-poster.jpg", "demo-blueprint.jpg", "demo-neapolitan.jpg")  # in docs/images


@dataclass(frozen=True)
class Look:
    """How the page is seen."""

    name: str
    width: int
    height: int
    scheme: str

    @property
    def is_phone(self) -> bool:
        return self.name == "phone"


LOOKS = (Look("light", 1360, 1200, "light"), Look("dark", 1360, 1200, "dark"), Look("phone", 390, 844, "light"))


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tabs", nargs="*", choices=[[], *TABS], help="names of tabs")
    parser.add_argument("--look", choices=[look.name for look in LOOKS], help="this one alone")
    parser.add_argument("--png", type=Path, help="a folder for PNG files as well")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with running("--api", prepare=_prepare) as program, sync_playwright() as playwright:
        program.wait_for_first_byte()
        _fill(program)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(CHROMIUM_FLAGS))
        for look in [one for one in LOOKS if arguments.look in (None, one.name)]:
            _take_all(browser, program, look, arguments.tabs or list(TABS), arguments.png)
        browser.close()


def _take_all(browser: Browser, program: Program, look: Look, tabs: list[str], png: Path | None) -> None:
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height}, is_mobile=look.is_phone, has_touch=look.is_phone, reduced_motion="reduce",
        device_scale_factor=1.5 if look.is_phone else 1,
    )  # fmt: skip
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{program.url}/?__theme={look.scheme}")
    page.wait_for_function("document.getElementById('txt2img_prompt')?.title")
    for tab in tabs:
        show(page, tab)
        TABS[tab](page, program)
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
        counter = f"#{tab}_token_counter"
        if page.locator(counter).count():
            expect(page.locator(counter)).not_to_have_text(re.compile(r"^0/"), timeout=PATIENCE)
        page.wait_for_function("[...document.images].filter((one) => one.checkVisibility()).every((one) => one.complete)")
        taken = page.screenshot()
        Image.open(io.BytesIO(taken)).convert("RGB").save(FOLDER / f"{tab}-{look.name}.webp", quality=QUALITY, method=6)
        if png:
            png.mkdir(parents=True, exist_ok=True)
            (png / f"{tab}-{look.name}.png").write_bytes(taken)
        print(f"{tab}-{look.name}", flush=True)
        if tab == "queue":
            page.click("#queue_pause")  # what follows shall be drawn
    context.close()


def show(page: Page, tab: str) -> None:
    """Open a tab, as the page's scripts do."""
    page.evaluate("(tab) => window.webui.showTab(tab)", tab)
    expect(page.locator(f"#tab_{tab}")).to_be_visible(timeout=PATIENCE)


def _prepare(data: Path) -> None:
    """What lies in the data folder before the program starts."""
    for folder_name, title, version, summary in EXTENSIONS:
        folder = data / "extensions" / folder_name
        folder.mkdir(parents=True)
        (folder / "extension.py").write_text(f'"""{summary}"""\n', encoding="utf-8")
        facts = {"name": title, "version": version, "description": summary}
        (folder / "extension.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in facts.items()), encoding="utf-8")
    (data / "models" / "Lora").mkdir(parents=True)
    for name, preview in zip(STYLES, PREVIEWS, strict=True):
        shutil.copy(ROOT / "models" / "Lora" / "demo-blueprint.safetensors", data / "models" / "Lora" / f"{name}.safetensors")
        shutil.copy(ROOT / "docs" / "images" / preview, data / "models" / "Lora" / f"{name}.preview.jpg")


def _fill(program: Program) -> None:
    """Pictures that were drawn before, once the models have been looked at."""
    while len(json.loads(program.get("/sdapi/v1/sd-models"))) < CHECKPOINTS:
        time.sleep(0.2)
    for seed, prompt in enumerate(DRAWN):
        program.txt2img(prompt=prompt, steps=12, width=128, height=128, seed=seed, save_images=True)


@functools.cache
def _picture_file(program: Program, prompt: str, seed: int) -> dict[str, Any]:
    """A picture that a person would choose."""
    data = program.txt2img(prompt=prompt, steps=12, width=128, height=128, seed=seed)
    return {"name": "apple.png", "mimeType": "image/png", "buffer": data}


def _drawn(page: Page, tab: str, prompt: str, *, batch: int = 1) -> None:
    """Draw in a tab and wait for the end; a page that opens shows its tabs' last pictures, and they need not be drawn again."""
    page.fill(f"#{tab}_prompt textarea", prompt)
    if batch > 1:
        page.fill(f"#{tab}_batch_count input[type=number]", str(batch))
    known = page.locator(f"#html_info_{tab} .words, #html_info_{tab} .values")
    if not known.count():
        page.click(f"#{tab}_generate")
    expect(known.first).not_to_be_empty(timeout=PATIENCE)
    expect(page.locator(f"#{tab}_results .progress")).to_be_hidden(timeout=PATIENCE)


def _given(page: Page, tab: str, file: Mapping[str, Any]) -> None:
    """Choose a picture in a tab's editor."""
    page.wait_for_function("(tab) => window.webui.tab(tab).overrides && window.webui.tab(tab).results", arg=tab)
    page.locator(f"#{tab}_image .picture-file").set_input_files(file)  # type: ignore[arg-type]
    expect(page.locator(f"#{tab}_image .canvas-facts")).to_contain_text("128", timeout=PATIENCE)


def _choose_checkpoint(page: Page, name: str) -> None:
    page.click("#setting_sd_model_checkpoint input")
    page.get_by_role("option", name=re.compile(rf"^{name}\.safetensors")).click()


def _txt2img(page: Page, program: Program) -> None:
    _drawn(page, "txt2img", "a (red:1.2) apple on a {white|pink} background", batch=4)
    page.locator("#txt2img_gallery .thumb[data-id]").nth(1).click()


def _img2img(page: Page, program: Program) -> None:
    _given(page, "img2img", _picture_file(program, DRAWN[0], 0))
    _drawn(page, "img2img", "a green apple on a white background")


def _inpaint(page: Page, program: Program) -> None:
    _given(page, "inpaint", _picture_file(program, DRAWN[1], 1))
    stage = page.locator("#inpaint_image .canvas-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 50, y)
    page.mouse.down()
    for by in range(0, 101, 10):
        page.mouse.move(x - 50 + by, y - by / 3)
    page.mouse.up()
    _drawn(page, "inpaint", "a red star in the snow")


def _depth2img(page: Page, program: Program) -> None:
    _choose_checkpoint(page, "demo-depth")
    _given(page, "depth2img", _picture_file(program, DRAWN[0], 0))
    _drawn(page, "depth2img", "a yellow star at night")
    _choose_checkpoint(page, "demo")


def _extras(page: Page, program: Program) -> None:
    page.locator("#extras_image").set_input_files(_picture_file(program, DRAWN[5], 5))  # type: ignore[arg-type]
    page.select_option("#extras_upscaler_1 select", "R-ESRGAN AnimeVideo")
    page.click("#extras_generate")
    expect(page.locator("#html_info_extras")).to_contain_text("AnimeVideo", timeout=PATIENCE)
    expect(page.locator("#extras_interrupt")).to_be_hidden(timeout=PATIENCE)


def _pnginfo(page: Page, program: Program) -> None:
    page.locator("#pnginfo_image").set_input_files(_picture_file(program, DRAWN[3], 3))  # type: ignore[arg-type]
    expect(page.locator("#tab_pnginfo")).to_contain_text(DRAWN[3], timeout=PATIENCE)


def _models(page: Page, program: Program) -> None:
    page.click("#tab_models [data-kind=Lora], #tab_models [data-kind=lora]")
    expect(page.locator("#tab_models .card", has_text=STYLES[0])).to_be_visible(timeout=PATIENCE)


def _gallery(page: Page, program: Program) -> None:
    expect(page.locator("#gallery_panel .gallery-tile").first).to_be_visible(timeout=PATIENCE)


def _queue(page: Page, program: Program) -> None:
    page.evaluate(
        "document.getElementById('queue_pause').classList.contains('icon-pause') && document.getElementById('queue_pause').click()"
    )
    expect(page.locator("#queue_pause")).to_contain_text("Resume", timeout=PATIENCE)
    if not page.locator("#queue_list .job[data-state=queued]").count():
        for seed, prompt in enumerate(DRAWN[:3]):
            program.post("/api/v1/jobs", {"request": {"prompt": prompt, "steps": 20, "width": 128, "height": 128, "seed": seed}})
    expect(page.locator("#queue_list .job[data-state=queued]").nth(2)).to_be_visible(timeout=PATIENCE)


def _extensions(page: Page, program: Program) -> None:
    expect(page.locator("#tab_extensions")).to_contain_text("Bright mornings", timeout=PATIENCE)


def _settings(page: Page, program: Program) -> None:
    expect(page.locator("#tab_settings input").first).to_be_visible(timeout=PATIENCE)


TABS: Mapping[str, Callable[[Page, Program], None]] = {
    "txt2img": _txt2img, "img2img": _img2img, "inpaint": _inpaint, "depth2img": _depth2img, "extras": _extras, "pnginfo": _pnginfo,
    "models": _models, "gallery": _gallery, "extensions": _extensions, "settings": _settings, "queue": _queue,
}  # fmt: skip


if __name__ == "__main__":
    main()
