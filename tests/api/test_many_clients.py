"""A hundred clients at once: each gets its own picture, and hears of its own progress meanwhile."""

from __future__ import annotations

import asyncio
import base64
import io

import httpx
import pytest
from PIL import Image

from tests.api.wire import serving
from tests.fake_engine import FakeEngine, picture_of
from webui.app import App

CLIENTS = 100
SMALL = {"prompt": "x", "steps": 3, "width": 64, "height": 64}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_hundred_clients_get_what_is_theirs(app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.005
    polls = 0

    async def draw(client: httpx.AsyncClient, seed: int) -> bool:
        nonlocal polls
        task = f"task({seed})"
        drawing = asyncio.create_task(client.post("/sdapi/v1/txt2img", json={**SMALL, "seed": seed, "force_task_id": task}))
        while not drawing.done():
            told = await client.get("/sdapi/v1/progress", params={"id_task": task, "skip_current_image": "true"})
            assert told.status_code in (200, 404), told.text  # 404 until the job is queued
            polls += 1
            await asyncio.sleep(0.3)
        answer = await drawing
        assert answer.status_code == 200, answer.text
        image = Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))
        return image.getpixel((0, 0)) == picture_of(seed, 1, 1).getpixel((0, 0))

    with serving(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as client:
            assert all(await asyncio.gather(*(draw(client, seed) for seed in range(CLIENTS))))
    assert polls >= CLIENTS
    assert len(app.queue.jobs()) == CLIENTS
