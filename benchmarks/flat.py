"""The server as a process of its own, on an engine without a model: what is measured then is the server alone.

venv/bin/python -m benchmarks.flat PORT FOLDER SECONDS_A_STEP
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import uvicorn
from PIL import Image, ImageFilter

from benchmarks.program import ROOT
from tests.fake_engine import FakeEngine
from webui.api.server import build_server
from webui.app import App
from webui.core.events import Drawn, EngineEvent
from webui.core.paths import standard_paths
from webui.core.ports import AnyWork

PHOTO = "photo"


@dataclass(frozen=True)
class FlatServer:
    """A running server."""

    url: str
    process: psutil.Process

    def megabytes(self) -> float:
        """Resident memory."""
        return self.process.memory_info().rss / 1e6

    def files(self) -> int:
        """Open files and connections."""
        return self.process.num_fds()


class PhotoEngine(FakeEngine):
    """Flat pictures in the seed's colour; the prompt "photo" gives one that packs as badly as a photograph, made beforehand."""

    def __init__(self, step_seconds: float) -> None:
        super().__init__(step_seconds)
        noise = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
        self._photo = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))

    def run(self, work: AnyWork) -> Iterator[EngineEvent]:
        """As FakeEngine, but it notes nothing: what is measured is the server's memory, and not what an engine of tests remembers."""
        try:
            for event in super().run(work):
                if isinstance(event, Drawn) and getattr(event.request, "prompt", "") == PHOTO:
                    event = Drawn(event.index, self._photo, event.request)
                yield event
        finally:
            self.drawn.clear()
            for noted in (self._cancelled, self._skipped, self._previewed):
                noted.discard(work.job_id)


@contextmanager
def flat_server(step_seconds: float = 0.0) -> Iterator[FlatServer]:
    """Start it on a free port, and end it when the block is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "benchmarks.flat", str(port), data, str(step_seconds)]
        process = subprocess.Popen(command, cwd=ROOT)
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    httpx.get(f"{url}/internal/ping")
                    break
                except httpx.TransportError:
                    if process.poll() is not None:
                        raise SystemExit("The server ended before it answered.") from None
                    time.sleep(0.05)
            yield FlatServer(url, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    """Serve until told to end."""
    port, folder, seconds = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    app = App(standard_paths(folder), engine=PhotoEngine(seconds), hashing=False)
    app.start()
    try:
        uvicorn.run(
            build_server(app, api=True), host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=2, timeout_keep_alive=30
        )
    finally:
        app.close()


if __name__ == "__main__":
    main()
