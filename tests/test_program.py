"""The whole program as a user runs it: real processes, the real demo model, real HTTP."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from webui.core.images import read_png_texts
from webui.core.infotext import read_infotext
from webui.core.paths import PROGRAM

BATCH = {"prompt": "a red apple", "seed": 100, "steps": 12, "width": 128, "height": 128, "n_iter": 8, "save_images": True}


@dataclass(frozen=True)
class Started:
    """A running program."""

    process: subprocess.Popen[str]
    url: str

    def ask(self, path: str, body: dict[str, object]) -> None:
        """Send a request and do not wait for its answer."""
        threading.Thread(target=self._post, args=(path, body), daemon=True).start()

    def _post(self, path: str, body: dict[str, object]) -> None:
        with suppress(httpx.HTTPError):  # the program is killed while it answers
            httpx.post(self.url + path, json=body, timeout=300)


@contextmanager
def started(data: Path) -> Iterator[Started]:
    """Start the program on a data folder; it is killed when the block is left, if it still runs."""
    command = [
        sys.executable,
        "launch.py",
        "--skip-install",
        "--no-venv",
        "--api",
        "--nowebui",
        "--cpu",
        "--port",
        "0",
        "--data-dir",
        str(data),
    ]
    with subprocess.Popen(command, cwd=PROGRAM, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = next(filter(None, (re.search(r"answers: (http\S+)", line) for line in process.stderr)))
            threading.Thread(target=process.stderr.read, daemon=True).start()  # so that it never waits for us to read
            yield Started(process, found[1])
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def pictures(data: Path) -> list[Path]:
    return sorted((data / "outputs" / "txt2img-images").rglob("*.png"))


def grids(data: Path) -> list[Path]:
    return sorted((data / "outputs" / "txt2img-grids").rglob("*.png"))


@pytest.mark.slow
def test_killing_the_program_during_a_batch_of_eight_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as program:
        program.ask("/sdapi/v1/txt2img", BATCH)
        wait_until(lambda: len(pictures(tmp_path)) >= 3)
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()
    before = {path: path.read_bytes() for path in pictures(tmp_path)}
    assert 3 <= len(before) < 8
    with started(tmp_path):
        wait_until(lambda: len(pictures(tmp_path)) == 8)
        wait_until(lambda: len(grids(tmp_path)) == 1)
        time.sleep(1)  # long enough for a ninth
    assert (len(pictures(tmp_path)), len(grids(tmp_path))) == (8, 1)
    assert {path: path.read_bytes() for path in before} == before
    for path in pictures(tmp_path):
        Image.open(path).load()
    seeds = [read_infotext(read_png_texts(path.read_bytes())["parameters"])["Seed"] for path in pictures(tmp_path)]
    assert sorted(seeds) == [str(seed) for seed in range(100, 108)]


@pytest.mark.slow
def test_ctrl_c_puts_the_running_job_back_and_the_next_start_finishes_it(tmp_path: Path) -> None:
    with started(tmp_path) as program:
        program.ask("/sdapi/v1/txt2img", BATCH)
        wait_until(lambda: len(pictures(tmp_path)) >= 1)
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(timeout=30) == 0
    assert len(pictures(tmp_path)) < 8
    with started(tmp_path):
        wait_until(lambda: len(pictures(tmp_path)) == 8)


@pytest.mark.slow
def test_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    with started(tmp_path) as program:
        family = [program.process.pid, *(child.pid for child in psutil.Process(program.process.pid).children(recursive=True))]
        listening = [one for one in psutil.net_connections() if one.status == psutil.CONN_LISTEN and one.pid in family]
    assert listening
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
