"""What the server costs beside the model, and whether a hundred clients at once get what is theirs.

    venv/bin/python -m benchmarks.api

First: milliseconds of requests over HTTP on an engine that draws in no time, one after another: in the server by its own clock
(X-Process-Time, until the packed answer leaves), and as the client sees it, which unpacks and reads. Target: at most 20 ms in the server.
Then a hundred clients at once, each with a seed of its own and polling the progress of its own task. Target: no error, no picture of
another's seed, and memory back near its level.
"""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import httpx
from PIL import Image

from benchmarks.flat import PHOTO, FlatServer, flat_server
from tests.fake_engine import picture_of

REQUESTS = 200
CLIENTS, ROUNDS = 100, 3
SMALL = {"prompt": "x", "steps": 20, "width": 64, "height": 64}
LARGE = {"prompt": "x", "steps": 20, "width": 512, "height": 512}


def main() -> None:
    """Measure and print."""
    with flat_server() as server, httpx.Client(base_url=server.url, timeout=60) as client:
        for name, ask in (
            ("txt2img 64x64", lambda: client.post("/sdapi/v1/txt2img", json=SMALL)),
            ("txt2img 512x512, flat", lambda: client.post("/sdapi/v1/txt2img", json=LARGE)),
            ("txt2img 512x512, as hard to pack as a photograph", lambda: client.post("/sdapi/v1/txt2img", json={**LARGE, "prompt": PHOTO})),
            ("POST /api/v1/jobs", lambda: client.post("/api/v1/jobs", json={"request": SMALL, "save": False})),
            ("GET progress", lambda: client.get("/sdapi/v1/progress")),
            ("GET sd-models", lambda: client.get("/sdapi/v1/sd-models")),
        ):
            print(f"{name}: {_times(ask)}")
    with flat_server(0.005) as server:
        asyncio.run(_together(server))


def _times(ask: Callable[[], httpx.Response]) -> str:
    for _ in range(10):
        ask().raise_for_status()
    whole, server = [], []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        answer = ask().raise_for_status()
        whole.append((time.perf_counter() - began) * 1000)
        server.append(float(answer.headers["X-Process-Time"]) * 1000)
    return f"in the server {_spread(server)}; with the client's own work {_spread(whole)}"


def _spread(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} ms (95 of 100 within {sorted(milliseconds)[int(len(milliseconds) * 0.95)]:.1f})"


async def _together(server: FlatServer) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        await _draw(client, 1)
        before = server.megabytes()
        for turn in range(ROUNDS):
            began = time.perf_counter()
            answers = await asyncio.gather(*(_draw(client, turn * CLIENTS + seed) for seed in range(CLIENTS)))
            seconds = time.perf_counter() - began
            waits = [one["seconds"] for one in answers]
            print(
                f"{CLIENTS} clients, round {turn + 1}: {sum(one['right'] for one in answers)} right, "
                f"{sum(one['errors'] for one in answers)} errors, {sum(one['polls'] for one in answers)} polls, "
                f"{CLIENTS / seconds:.1f} pictures/s, waits {min(waits):.2f} to {max(waits):.2f} s, memory {server.megabytes():.0f} MB"
            )
        print(f"memory before {before:.0f} MB, after {server.megabytes():.0f} MB; open files {server.files()}")


async def _draw(client: httpx.AsyncClient, seed: int) -> dict[str, Any]:
    """One client: its picture, and how often its progress was told."""
    task = f"task(client-{seed})"
    began = time.perf_counter()
    drawing = asyncio.create_task(client.post("/sdapi/v1/txt2img", json={**SMALL, "seed": seed, "force_task_id": task}))
    polls = errors = 0
    while not drawing.done():
        await asyncio.sleep(0.5)
        told = await client.post("/internal/progress", json={"id_task": task, "live_preview": False})
        polls += 1
        errors += told.status_code != 200
    answer = await drawing
    seconds = time.perf_counter() - began
    if answer.status_code != 200:
        return {"right": False, "errors": errors + 1, "polls": polls, "seconds": seconds}
    image = Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))
    right = image.getpixel((0, 0)) == picture_of(seed, 1, 1).getpixel((0, 0))
    return {"right": right, "errors": errors, "polls": polls, "seconds": seconds}


if __name__ == "__main__":
    main()
