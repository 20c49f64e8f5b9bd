"""How soon an empty page can be used, in Chromium, with 1,000 model files: seconds until Generate works, bytes, requests.

    venv/bin/python -m benchmarks.page [another working tree to compare with]

"Works" means that the form is restored and the button can be pressed. Every visit has a fresh browser profile; a second visit of each
profile shows what the browser's cache saves. With another tree given, both programs run and are visited in turn, so that the ratio
holds on a busy machine. Target: 2 s, 1.5 MB.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from benchmarks.program import ROOT, Program, running
from benchmarks.start import CHROMIUM, CHROMIUM_FLAGS
from tests.catalog.model_files import EMBEDDING, LORA, SD1, write_model

VISITS = 5
LORAS, EMBEDDINGS, CHECKPOINTS = 700, 200, 100
USABLE = "document.getElementById('txt2img_prompt')?.title && document.getElementById('txt2img_generate')?.checkVisibility()"


@dataclass(frozen=True)
class Visit:
    """One opening of the page."""

    seconds: float
    transferred: int
    requests: int


def main() -> None:
    """Measure and print."""
    trees = [ROOT, *(Path(tree).resolve() for tree in sys.argv[1:])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        with programs(trees) as started:
            first: list[list[Visit]] = [[] for _ in trees]
            again: list[list[Visit]] = [[] for _ in trees]
            for number in range(VISITS + 1):  # the first visit warms the server's caches up and does not count
                for place, program in enumerate(started):
                    one, two = visit_twice(browser, program.url)
                    if number:
                        first[place].append(one)
                        again[place].append(two)
            browser.close()
            report(trees, first, again)


def report(trees: list[Path], first: list[list[Visit]], again: list[list[Visit]]) -> None:
    """Print medians, and ours as a share of each other's."""
    for tree, one, two in zip(trees, first, again, strict=True):
        print(f"{tree}: first visit {describe(one)}; again {describe(two)}")
    for name, visits in (("first visit", first), ("again", again)):
        for other in visits[1:]:
            ratios = [ours.seconds / theirs.seconds for ours, theirs in zip(visits[0], other, strict=True)]
            print(f"{name}: ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def describe(visits: list[Visit]) -> str:
    """Medians in words."""
    megabytes = median(one.transferred for one in visits) / 1e6
    return f"{median(one.seconds for one in visits):.2f} s, {megabytes:.2f} MB, {median(one.requests for one in visits):.0f} requests"


@contextmanager
def programs(trees: list[Path]) -> Iterator[list[Program]]:
    """The program of each tree, ready."""
    if not trees:
        yield []
        return
    with running("--no-hashing", root=trees[0], prepare=write_models) as program, programs(trees[1:]) as others:
        program.wait_for_first_byte()
        yield [program, *others]


def visit_twice(browser: Browser, url: str) -> tuple[Visit, Visit]:
    """Open the page with an empty cache, and once more."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        return visit(context, url), visit(context, url)
    finally:
        context.close()


def visit(context: BrowserContext, url: str) -> Visit:
    """Open the page until Generate works, and leave it."""
    page = context.new_page()
    counted = {"bytes": 0, "requests": 0}
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: counted.update(bytes=counted["bytes"] + int(event["encodedDataLength"])))
    session.on("Network.responseReceived", lambda event: counted.update(requests=counted["requests"] + 1))
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(USABLE)
    seconds = time.perf_counter() - started
    page.wait_for_load_state("networkidle")
    page.close()
    return Visit(seconds, counted["bytes"], counted["requests"])


def write_models(data: Path) -> None:
    """1,000 model files as small as they can be."""
    for kind, count, shapes in (("Lora", LORAS, LORA), ("embeddings", EMBEDDINGS, EMBEDDING), ("Stable-diffusion", CHECKPOINTS, SD1)):
        for number in range(count):
            write_model(data / "models" / kind / f"model {number:03}.safetensors", shapes)


if __name__ == "__main__":
    main()
