"""Runs the jobs of the Extras tab beside the device loop, one at a time; the loop goes on drawing meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import torch

from webui.core.errors import OutOfMemory, WebuiError
from webui.core.events import Cancelled, EngineEvent, Failed
from webui.core.ports import ExtrasWork
from webui.engine.device import is_out_of_memory
from webui.engine.extras import postprocess
from webui.engine.image_models import ImageModels

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1


class ExtrasRunner:
    """Each job is done in the thread that iterates it."""

    def __init__(self, models: ImageModels) -> None:
        self._models = models
        self._one_at_a_time = threading.Lock()
        self._lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}
        self._closed = False

    def run(self, work: ExtrasWork) -> Iterator[EngineEvent]:
        """Do one job; closing the iterator ends it."""
        stop = threading.Event()
        with self._lock:
            self._stops[work.job_id] = stop
            if self._closed:
                stop.set()
        try:
            while not self._one_at_a_time.acquire(timeout=SECONDS_BETWEEN_LOOKS):
                if stop.is_set():
                    yield Cancelled()
                    return
            try:
                yield from self._do(work, stop)
            finally:
                self._one_at_a_time.release()
        finally:
            with self._lock:
                self._stops.pop(work.job_id, None)

    def cancel(self, job_id: str) -> None:
        """End a job within one tile. Unknown ones are ignored."""
        with self._lock:
            if stop := self._stops.get(job_id):
                stop.set()

    def close(self) -> None:
        """End all jobs, and let none begin."""
        with self._lock:
            self._closed = True
            for stop in self._stops.values():
                stop.set()

    def _do(self, work: ExtrasWork, stop: threading.Event) -> Iterator[EngineEvent]:
        events = postprocess(work, self._models, stop.is_set)
        try:
            while True:
                with torch.inference_mode():
                    event = next(events, None)
                if event is None:
                    return
                yield event
        except WebuiError as error:
            kind = "OutOfMemoryError" if isinstance(error, OutOfMemory) else type(error).__name__
            yield Failed(str(error), kind)
        except Exception as error:  # the border of the job
            if is_out_of_memory(error):
                yield Failed(f"out of memory: {error}. Choose a smaller size, or smaller tiles in the settings.", "OutOfMemoryError")
                return
            log.exception("Job %s failed", work.job_id)
            yield Failed(f"Internal error: {type(error).__name__}: {error}", type(error).__name__)
