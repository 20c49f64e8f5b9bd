"""The program as a user starts it, for the benchmarks: a process of its own, on a free port, with a data folder of its own."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Program:
    """A running program.  started: time.perf_counter() when its process was begun."""

    url: str
    started: float

    def get(self, path: str) -> bytes:
        """Body of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a POST of JSON is answered with."""
        call = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=600) as answer:
            return json.load(answer)

    def txt2img(self, **request: Any) -> bytes:
        """The first picture of a txt2img call, as PNG."""
        return base64.b64decode(self.post("/sdapi/v1/txt2img", request)["images"][0])

    def wait_for_first_byte(self) -> float:
        """Seconds from the start of the process until the port answers."""
        while True:
            try:
                self.get("/internal/ping")
                return time.perf_counter() - self.started
            except OSError:
                if time.perf_counter() - self.started > 120:
                    raise
                time.sleep(0.005)


@contextmanager
def running(*flags: str, root: Path = ROOT, prepare: Callable[[Path], None] = lambda data: None) -> Iterator[Program]:
    """Start the program with these flags; it is ended when the block is left.

    root: the working tree it is started from.   prepare: puts into the data folder what shall be there.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        prepare(Path(data))
        command = [sys.executable, str(root / "launch.py"), "--no-venv", "--skip-install", "--data-dir", data, "--port", str(port), *flags]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Program(f"http://127.0.0.1:{port}", started)
        finally:
            process.terminate()
            process.wait(timeout=30)
