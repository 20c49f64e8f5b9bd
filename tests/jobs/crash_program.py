"""A program to be killed: runs the queue of a data folder until it is empty. Notes in a file what its extensions heard."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fake_engine import FakeEngine
from tests.jobs.stand_ins import NotingHooks, OneModelCatalog
from webui.core.paths import standard_paths
from webui.core.result import GenerationResult, Picture
from webui.core.styles import StyleStore
from webui.jobs.outputs import Outputs
from webui.jobs.queue import JobQueue


class FileHooks(NotingHooks):
    """Appends a line for each picture and each finished job; one write each, so that programs do not mix theirs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def picture_saved(self, picture: Picture) -> None:
        os.write(self._file, f"{os.getpid()} picture {picture.job_id} {picture.index}\n".encode())

    def job_finished(self, job_id: str, result: GenerationResult) -> None:
        os.write(self._file, f"{os.getpid()} job {job_id} {len(result.pictures)}\n".encode())


def main(data: Path, step_seconds: float, started: Connection) -> None:
    """started: gets a word when the queue is about to start."""
    paths = standard_paths(data)
    database = paths.state / "queue.sqlite"
    outputs = Outputs(paths, database)
    styles = StyleStore((paths.styles,))
    queue = JobQueue(database, FakeEngine(step_seconds), outputs, OneModelCatalog(), FileHooks(data / "heard.txt"), styles, workers=3)
    started.send("started")
    queue.start()
    while any(job.state in ("queued", "running") for job in queue.jobs()):
        time.sleep(0.01)
    queue.close()
    outputs.close()
