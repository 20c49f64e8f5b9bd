"""10,000 LoRA files, a fifth with a preview: how long the catalog takes to know them, the Models tab to show them.

    venv/bin/python -m benchmarks.models

The catalog's figures are of this process, with the operating system's cache warm: the first look (every header is read), a look of a new
catalog on the same index (what a start adds), all cards, and a search among them. In Chromium: from a click on "LoRA" to the first
cards with their pictures, from the last key of a search to its cards, and how many previews were loaded. Targets: a start 0.5 s more,
first paint 1 s, a search 0.1 s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.program import running
from benchmarks.start import CHROMIUM, CHROMIUM_FLAGS
from tests.catalog.model_files import LORA, write_model
from webui.catalog.cards import ModelCards
from webui.catalog.catalog import Catalog
from webui.core.model_cards import Query
from webui.core.paths import standard_paths

FILES, FOLDERS, PREVIEW_EVERY = 10_000, 100, 5
TIMES = 5
PANEL = "#models_panel"
# The search box waits this long for the next key.
PAUSE = 0.12


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_files(data)
        measure_catalog(data)
    with running("--no-hashing", prepare=write_files) as program, sync_playwright() as playwright:
        program.wait_for_first_byte()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        measure_page(browser.new_page(viewport={"width": 1440, "height": 900}), program.url)
        browser.close()


def write_files(data: Path) -> None:
    """In folders of 100, as small as they can be."""
    for number in range(FILES):
        path = data / "models" / "Lora" / f"group {number % FOLDERS:02}" / f"lora {number:05}.safetensors"
        write_model(path, LORA, {"ss_output_name": f"word{number}"})
        if number % PREVIEW_EVERY == 0:
            Image.new("RGB", (256, 256), (number % 256, number // 256, 90)).save(path.with_suffix(".png"))


def measure_catalog(data: Path) -> None:
    """Without a server."""
    paths = standard_paths(data)
    for name in ("first look", "look on a warm index"):
        catalog = Catalog(paths, hashing=False)
        print(f"{name}: {seconds(catalog.refresh):.2f} s")
        cards = ModelCards(catalog, paths)
        made = seconds(partial(cards.find, Query(kind="lora")))
        found = median(seconds(partial(cards.find, Query(kind="lora", text=f"group 7 lora {number}"))) for number in range(TIMES))
        print(f"  all cards {made:.2f} s; a search {found:.4f} s")
        catalog.close()


def measure_page(page: Page, url: str) -> None:
    """As a person opens the tab and types."""
    loaded: list[str] = []
    page.on("response", lambda response: loaded.append(response.url) if "model-preview" in response.url else None)
    page.goto(url)
    page.wait_for_function("document.getElementById('txt2img_prompt')?.title")
    page.get_by_role("tab", name="Models", exact=True).click()
    page.wait_for_selector(f"{PANEL} .models-kinds button")
    pictures = f"[...document.querySelectorAll('{PANEL} .card img')]"
    painted = f"{pictures}.length && {pictures}.slice(0, 4).every(one => one.complete)"
    started = time.perf_counter()
    page.click(f"{PANEL} [data-kind=lora]")
    page.wait_for_function(painted)
    first = time.perf_counter() - started
    searches = []
    for number in range(TIMES):
        word = f"word{number + 1}777"
        page.fill(f"{PANEL} input[type=search]", word)
        is_found = f"document.querySelector('{PANEL} .card-title')?.textContent === '{word}'"
        searches.append(seconds(partial(page.wait_for_function, is_found)))
    print(f"page: first paint {first:.2f} s; a search {median(searches):.3f} s, {PAUSE} s of which waits for the next key;")
    print(f"  {len(loaded)} previews loaded")


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
