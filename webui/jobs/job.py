"""A job and its event log: what anybody may know about a job, from its submission to long after its end."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Literal, TypeVar

from webui.core.errors import Closing
from webui.core.events import TERMINAL, Cancelled, Finished, ImageReady, JobEvent, Preview, Progress, Remark
from webui.core.extras import JobRequest
from webui.core.request import GenerationRequest
from webui.core.result import NOT_SHOWN, GenerationResult, Picture
from webui.core.settings import Settings

JobState = Literal["queued", "running", "finished", "cancelled", "failed"]
E = TypeVar("E", bound=JobEvent)


class EventLog:
    """The events of one job in order. Any number of readers, in threads and in event loops, each from the start.

    Of Progress and Preview only the newest is kept, so a log stays small however long the job is.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._events: list[tuple[int, JobEvent]] = []
        self._count = 0
        self._replaceable: dict[type, int] = {}
        self._end: JobEvent | None = None
        self._closed = False
        self._sleepers: set[asyncio.Future[None]] = set()

    def append(self, event: JobEvent) -> None:
        """Tell all readers. What comes after the terminal event is dropped."""
        with self._news:
            if self._end is not None:
                return
            self._count += 1
            self._drop_what_is_replaced_by(event)
            self._events.append((self._count, event))
            self._end = event if isinstance(event, TERMINAL) else None
            self._wake_readers()

    def close(self) -> None:
        """Let all readers end although the job has not: the program is closing."""
        with self._news:
            self._closed = True
            self._wake_readers()

    def follow(self, timeout: float | None = None) -> Iterator[JobEvent]:
        """Every event from the first to the terminal one, waiting for those to come.

        timeout: seconds without news after which the reader gives up and the iteration ends.
        """
        position = 0
        while True:
            with self._news:
                if not self._news.wait_for(partial(self._has_news, position), timeout):
                    return
                fresh, is_over = self._after(position), self._is_over
            for _, event in fresh:
                yield event
            if is_over:
                return
            position = fresh[-1][0]

    async def afollow(self) -> AsyncIterator[JobEvent]:
        """As `follow`, for an event loop. Woken by each event; nothing is left behind when the reader goes away."""
        position = 0
        while True:
            with self._news:
                fresh, is_over = self._after(position), self._is_over
                sleeper = None if self._has_news(position) else asyncio.get_running_loop().create_future()
                if sleeper:
                    self._sleepers.add(sleeper)
            for _, event in fresh:
                yield event
            if is_over:
                return
            position = fresh[-1][0] if fresh else position
            if sleeper:
                try:
                    await sleeper
                finally:
                    with self._news:
                        self._sleepers.discard(sleeper)

    def wait(self, timeout: float | None = None) -> JobEvent | None:
        """The terminal event, when it has come; None when the log was closed before.  Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self._is_over, timeout):
                raise TimeoutError(f"The job has not ended within {timeout} s.")
            return self._end

    def latest(self, kind: type[E]) -> E | None:
        """The newest event of a kind."""
        with self._news:
            return next((event for _, event in reversed(self._events) if isinstance(event, kind)), None)

    def all(self, kind: type[E]) -> list[E]:
        """All events of a kind that are still kept, in order."""
        with self._news:
            return [event for _, event in self._events if isinstance(event, kind)]

    @property
    def ended(self) -> bool:
        """Whether the terminal event has come."""
        return self._end is not None

    @property
    def end(self) -> JobEvent | None:
        """The terminal event, once it has come."""
        return self._end

    @property
    def _is_over(self) -> bool:
        return self._end is not None or self._closed

    def _has_news(self, position: int) -> bool:
        return self._count > position or self._is_over

    def _after(self, position: int) -> list[tuple[int, JobEvent]]:
        return self._events[bisect_left(self._events, position + 1, key=itemgetter(0)) :]

    def _drop_what_is_replaced_by(self, event: JobEvent) -> None:
        if isinstance(event, Progress | Preview):
            self._drop(self._replaceable.get(type(event)))
            self._replaceable[type(event)] = self._count
        elif isinstance(event, TERMINAL):
            # Hundreds of ended jobs are remembered; a preview of a finished picture is megabytes for nothing.
            self._drop(self._replaceable.get(Preview))

    def _drop(self, number: int | None) -> None:
        if number is not None:
            del self._events[bisect_left(self._events, number, key=itemgetter(0))]

    def _wake_readers(self) -> None:
        self._news.notify_all()
        for sleeper in self._sleepers:
            with suppress(RuntimeError):  # the reader's event loop was closed under it
                sleeper.get_loop().call_soon_threadsafe(_wake, sleeper)
        self._sleepers.clear()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


@dataclass(eq=False)
class Job:
    """One submitted request and what became of it.

    settings: as they were when it was submitted.   source: who asked ("ui", "api", ...).
    save: keep the pictures in outputs/.   created_at, started_at: seconds since the epoch.
    cancel_wanted: somebody here has asked for its end.   skipped_batch: the batch that somebody here last wanted to end.
    """

    id: str
    request: JobRequest
    settings: Settings
    source: str
    save: bool
    created_at: float
    started_at: float | None = None
    cancel_wanted: bool = False
    skipped_batch: int | None = None
    log: EventLog = field(default_factory=EventLog)

    @property
    def state(self) -> JobState:
        """Where the job is now."""
        end = self.log.end
        if end is None:
            return "queued" if self.started_at is None else "running"
        if isinstance(end, Finished):
            return "finished"
        return "cancelled" if isinstance(end, Cancelled) else "failed"

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures saved so far that are shown, in order of their index."""
        saved = (event.picture for event in self.log.all(ImageReady))
        return tuple(sorted((picture for picture in saved if abs(picture.index) < NOT_SHOWN), key=lambda picture: picture.index))

    @property
    def expected(self) -> int:
        """How many pictures and grids the job gives if nothing stops it."""
        request = self.request
        scripted = request.script_pictures if isinstance(request, GenerationRequest) else 0
        return scripted or request.images

    @property
    def result(self) -> GenerationResult | None:
        """The outcome; while the job runs or when it failed, the pictures so far; None before it has begun."""
        end = self.log.end
        if isinstance(end, Finished | Cancelled) and end.result is not None:
            return end.result
        if self.state == "queued" and not self.pictures:
            return None
        return self.result_after(0.0)

    def result_after(self, seconds: float) -> GenerationResult:
        """The outcome if the job ended now, having taken so many seconds."""
        remarks = tuple(dict.fromkeys(remark.text for remark in self.log.all(Remark)))
        return GenerationResult(self.request, self.pictures, remarks, seconds)

    def wait(self, timeout: float | None = None) -> JobEvent:
        """Block until the job ends; its terminal event.  Raises TimeoutError, and Closing when the program closes first."""
        return self._ended_with(self.log.wait(timeout))

    async def wait_async(self) -> JobEvent:
        """As `wait`, for an event loop."""
        async for _ in self.log.afollow():
            pass
        return self._ended_with(self.log.end)

    def _ended_with(self, end: JobEvent | None) -> JobEvent:
        if end is None:
            raise Closing(f"The program is closing. Job {self.id!r} stays in the queue and goes on at the next start.")
        return end
