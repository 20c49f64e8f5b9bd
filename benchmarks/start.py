"""From the start of the process to the first byte, to a page one can type into, to the first picture.

    venv/bin/python -m benchmarks.start

The first byte is compared with `python -c "import gradio"` in the same run. Target: at most twice that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from statistics import median

from playwright.sync_api import sync_playwright

from benchmarks.program import running

RUNS = 5
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def main() -> None:
    """Measure and print."""
    imports, bytes_, pages, pictures = [], [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        for _ in range(RUNS):
            imports.append(import_gradio())
            page = browser.new_page()
            with running("--api") as program:
                bytes_.append(program.wait_for_first_byte())
                page.goto(program.url)
                page.locator("#txt2img_prompt textarea").fill("a red apple")
                pages.append(time.perf_counter() - program.started)
                program.txt2img(prompt="a red apple", steps=20, width=128, height=128)
                pictures.append(time.perf_counter() - program.started)
            page.close()
        browser.close()
    ratios = [byte / alone for byte, alone in zip(bytes_, imports, strict=True)]
    print(f"import gradio {median(imports):.2f} s; first byte {median(bytes_):.2f} s, ratio {median(ratios):.2f}; ", end="")
    print(f"usable page {median(pages):.2f} s; first picture {median(pictures):.2f} s")


def import_gradio() -> float:
    """Seconds that a bare interpreter needs to import gradio."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True, env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"})
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
