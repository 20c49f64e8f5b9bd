"""Mixed traffic for minutes: all tongues, clients that go away, cancels, nonsense. Nothing may be lost and memory must stay level.

    venv/bin/python -m benchmarks.soak [MINUTES]

Prints counts of what was asked, jobs that did not end, pictures of a wrong seed, server errors, and memory by quarters of the time.
"""

from __future__ import annotations

import base64
import io
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from PIL import Image

from benchmarks.flat import FlatServer, flat_server
from tests.fake_engine import picture_of

MINUTES = 15.0
CLIENTS = 12
SECONDS_A_STEP = 0.002
NONSENSE = (
    '{"steps": -1}', '{"seed": "x"}', '{"width": 1000000000}', '{"sampler_name": "no"}', "[]", "{", '{"prompt": "fail", "steps": 1}',
)  # fmt: skip
SMALL = {"prompt": "x", "steps": 20, "width": 64, "height": 64}


class Soak:
    """The clients and what they have seen."""

    def __init__(self, server: FlatServer, minutes: float) -> None:
        self._server = server
        self._end = time.monotonic() + minutes * 60
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.jobs: list[str] = []
        self.wrong: list[str] = []

    def run(self) -> list[tuple[float, int]]:
        """All clients until the time is over; memory in MB and open files, each second."""
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        levels = []
        while time.monotonic() < self._end:
            time.sleep(1)
            levels.append((self._server.megabytes(), self._server.files()))
        for thread in threads:
            thread.join()
        return levels

    def unended(self) -> list[str]:
        """Jobs that have no end although all had the time for it."""
        with httpx.Client(base_url=self._server.url, timeout=60) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                queue = client.get("/api/v1/queue").json()
                if queue["running"] == queue["queued"] == 0:
                    break
                time.sleep(0.2)
            states = {job["id"]: job["state"] for offset in (0, 200) for job in _page(client, offset)}
        return [f"{name} {state}" for name, state in states.items() if state in ("running", "queued")]

    def _client(self, number: int) -> None:
        chance = random.Random(number)
        doings: Sequence[Callable[[httpx.Client, random.Random], None]] = (
            self._sdapi, self._job, self._left, self._cancelled, self._openai, self._img2img, self._nonsense, self._polled,
        )  # fmt: skip
        with httpx.Client(base_url=self._server.url, timeout=120) as client:
            while time.monotonic() < self._end:
                doing = chance.choice(doings)
                try:
                    doing(client, chance)
                except Exception as error:  # noqa: BLE001  whatever it is, it is what a soak is to find
                    self._note_wrong(f"{doing.__name__}: {type(error).__name__}: {error}"[:300])
                with self._lock:
                    self.counts[doing.__name__.strip("_")] += 1

    def _sdapi(self, client: httpx.Client, chance: random.Random) -> None:
        seed = chance.randrange(10**6)
        self._check(_ok(client.post("/sdapi/v1/txt2img", json={**SMALL, "seed": seed}))["images"][0], seed)

    def _img2img(self, client: httpx.Client, chance: random.Random) -> None:
        seed = chance.randrange(10**6)
        buffer = io.BytesIO()
        picture_of(seed, 64, 64).save(buffer, "PNG")
        body = {**SMALL, "seed": seed, "init_images": [base64.b64encode(buffer.getvalue()).decode()]}
        self._check(_ok(client.post("/sdapi/v1/img2img", json=body))["images"][0], seed)

    def _openai(self, client: httpx.Client, chance: random.Random) -> None:
        seed = chance.randrange(10**6)
        body = {"prompt": "x", "size": "64x64", "response_format": "b64_json", "seed": seed, "steps": 5}
        self._check(_ok(client.post("/v1/images/generations", json=body))["data"][0]["b64_json"], seed)

    def _job(self, client: httpx.Client, chance: random.Random) -> None:
        seed = chance.randrange(10**6)
        job = _ok(client.post("/api/v1/jobs", json={"request": {**SMALL, "seed": seed}, "save": False}))
        with client.stream("GET", job["events_url"]) as events:
            names = [line[7:] for line in events.iter_lines() if line.startswith("event: ")]
        if names[-1] != "finished":
            self._note_wrong(f"job ended with {names[-1]}")
        content = client.get(_ok(client.get(job["url"]))["pictures"][0]["url"]).content
        self._check(base64.b64encode(content).decode(), seed)

    def _left(self, client: httpx.Client, chance: random.Random) -> None:
        wish = chance.choice(("cancel", "leave"))
        job = _ok(client.post("/api/v1/jobs", json={"request": {**SMALL, "steps": 200}, "save": False, "on_disconnect": wish}))
        with client.stream("GET", job["events_url"]) as events:
            next(iter(events.iter_lines()))

    def _cancelled(self, client: httpx.Client, chance: random.Random) -> None:
        job = _ok(client.post("/api/v1/jobs", json={"request": {**SMALL, "steps": 500}, "save": False}))
        time.sleep(chance.random() * 0.2)
        client.delete(job["url"])

    def _nonsense(self, client: httpx.Client, chance: random.Random) -> None:
        body = chance.choice(NONSENSE)
        answer = client.post("/sdapi/v1/txt2img", content=body, headers={"Content-Type": "application/json"})
        if answer.status_code >= 500:
            self._note_wrong(f"{answer.status_code} for {body}")

    def _polled(self, client: httpx.Client, chance: random.Random) -> None:
        for path in ("/sdapi/v1/progress", "/api/v1/queue", "/api/v1/jobs?limit=5", "/sdapi/v1/options"):
            _ok(client.get(path))

    def _check(self, content: str, seed: int) -> None:
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        if image.getpixel((0, 0)) != picture_of(seed, 1, 1).getpixel((0, 0)):
            self._note_wrong(f"a picture of another seed than {seed}")

    def _note_wrong(self, text: str) -> None:
        with self._lock:
            self.wrong.append(text)


def main() -> None:
    """Run and print."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with flat_server(SECONDS_A_STEP) as server:
        soak = Soak(server, minutes)
        levels = soak.run()
        unended = soak.unended()
    print(f"{minutes:g} minutes, {sum(soak.counts.values())} doings: {dict(soak.counts)}")
    print(f"{len(unended)} jobs without an end, {len(soak.wrong)} wrong: {Counter(soak.wrong).most_common(10)}")
    for quarter in range(4):
        part = levels[len(levels) * quarter // 4 : len(levels) * (quarter + 1) // 4]
        memory, files = [level for level, _ in part], [count for _, count in part]
        print(f"quarter {quarter + 1}: memory {min(memory):.0f} to {max(memory):.0f} MB, open files {min(files)} to {max(files)}")


def _ok(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()


def _page(client: httpx.Client, offset: int) -> list[dict[str, Any]]:
    return list(_ok(client.get("/api/v1/jobs", params={"offset": offset, "limit": 200}))["jobs"])


if __name__ == "__main__":
    main()
