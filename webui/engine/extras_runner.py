"""Runs jobs that need no UNet beside the device loop, one of a kind at a time; the loop goes on drawing meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch

from webui.core.errors import OutOfMemory, WebuiError
from webui.core.events import Cancelled, EngineEvent, Failed
from webui.core.ports import ExtrasWork, MergeWork
from webui.engine.device import is_out_of_memory
from webui.engine.extras import Orders, postprocess
from webui.engine.image_models import ImageModels

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1


W = TypeVar("W", bound=ExtrasWork | MergeWork)


class SideRunner(Generic[W]):
    """Each job is done in the thread that iterates it.  begin: a job's events."""

    def __init__(self, begin: Callable[[W, Orders], Iterator[EngineEvent]]) -> None:
        self._begin = begin
        self._one_at_a_time = threading.Lock()
        self._lock = threading.Lock()
        self._orders: dict[str, Orders] = {}
        self._closed = False

    def run(self, work: W) -> Iterator[EngineEvent]:
        """Do one job; closing the iterator ends it."""
        orders = Orders()
        with self._lock:
            self._orders[work.job_id] = orders
            if self._closed:
                orders.cancelled.set()
        try:
            while not self._one_at_a_time.acquire(timeout=SECONDS_BETWEEN_LOOKS):
                if orders.cancelled.is_set():
                    yield Cancelled()
                    return
            try:
                yield from self._do(work, orders)
            finally:
                self._one_at_a_time.release()
        finally:
            with self._lock:
                self._orders.pop(work.job_id, None)

    def cancel(self, job_id: str) -> None:
        """End a job within one tile, or one tensor. Unknown ones are ignored."""
        with self._lock:
            if orders := self._orders.get(job_id):
                orders.cancelled.set()

    def skip(self, job_id: str) -> None:
        """Leave out the picture that a job is at, within one tile. Unknown ones are ignored."""
        with self._lock:
            if orders := self._orders.get(job_id):
                orders.skipped.set()

    def close(self) -> None:
        """End all jobs, and let none begin."""
        with self._lock:
            self._closed = True
            for orders in self._orders.values():
                orders.cancelled.set()

    def _do(self, work: W, orders: Orders) -> Iterator[EngineEvent]:
        events = self._begin(work, orders)
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


class ExtrasRunner(SideRunner[ExtrasWork]):
    """Runs the jobs of the Extras tab."""

    def __init__(self, models: ImageModels) -> None:
        super().__init__(lambda work, orders: postprocess(work, models, orders))
