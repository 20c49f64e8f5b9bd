"""A job's events as a stream (text/event-stream), and what becomes of jobs whose readers go away."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from webui.api.job_wire import write_event
from webui.app import App, Job
from webui.core.errors import WebuiError
from webui.core.events import JobEvent, Preview

SECONDS_BETWEEN_LOOKS = 1.0
LOOKS_BETWEEN_SIGNS_OF_LIFE = 15
SECONDS_OF_GRACE = 2.0
HEADERS = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))


class Readers:
    """Who reads which job's events. A job that asked for it is cancelled when its last reader goes away.

    grace: seconds in which a reader may come back.
    """

    def __init__(self, app: App, *, grace: float = SECONDS_OF_GRACE) -> None:
        self._app = app
        self._grace = grace
        self._counts: Counter[str] = Counter()
        self._to_cancel: dict[str, Job] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def cancel_when_alone(self, job: Job) -> None:
        """Cancel this job when nobody reads its events any more."""
        self._to_cancel = {name: one for name, one in self._to_cancel.items() if not one.log.ended} | {job.id: job}

    def stream(self, job: Job, root: str, *, previews: bool) -> StreamingResponse:
        """The answer with the job's events, from the first to the terminal one."""
        body = self._body(job, root, previews=previews)
        return StreamingResponse(body, media_type="text/event-stream", headers=dict(HEADERS))

    async def _body(self, job: Job, root: str, *, previews: bool) -> AsyncIterator[str]:
        self._counts[job.id] += 1
        try:
            async for text in self._texts(job, root, previews=previews):
                yield text
        finally:
            self._leave(job)

    async def _texts(self, job: Job, root: str, *, previews: bool) -> AsyncIterator[str]:
        async for event in with_looks(job, self._app if previews else None):
            if event is None:
                yield ": still here\n\n"
            elif previews or not isinstance(event, Preview):
                name, content = write_event(event, job, root)
                yield f"event: {name}\ndata: {json.dumps(content)}\n\n"

    def _leave(self, job: Job) -> None:
        self._counts[job.id] -= 1
        if self._counts[job.id] <= 0:
            del self._counts[job.id]
        if not job.log.ended and job.id in self._to_cancel and job.id not in self._counts:
            task = asyncio.get_running_loop().create_task(self._cancel_later(job))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _cancel_later(self, job: Job) -> None:
        await asyncio.sleep(self._grace)
        if job.id in self._counts or job.log.ended:
            return
        with suppress(WebuiError):  # it was forgotten meanwhile
            await run_in_threadpool(self._app.queue.cancel, job.id)


async def ended(app: App, request: Request, job: Job) -> JobEvent:
    """The job's terminal event. A client that sent `X-On-Disconnect: cancel` ends its job by going away; other jobs go on."""
    if request.headers.get("x-on-disconnect", "leave").strip().lower() != "cancel":
        return await job.wait_async()
    waiting = asyncio.ensure_future(job.wait_async())
    while True:
        done, _ = await asyncio.wait({waiting}, timeout=SECONDS_BETWEEN_LOOKS)
        if done:
            return waiting.result()
        if await request.is_disconnected():
            await run_in_threadpool(app.queue.cancel, job.id)
            return await waiting


async def with_looks(job: Job, app: App | None = None) -> AsyncIterator[JobEvent | None]:
    """The job's events; None now and then when there is none, so that a dead connection is noticed.

    app: somebody looks, so previews are wanted.
    """
    events = aiter(job.log.afollow())
    coming = asyncio.ensure_future(anext(events, None))
    looks = 0
    try:
        while True:
            if app:
                app.engine.want_preview(job.id)
            done, _ = await asyncio.wait({coming}, timeout=SECONDS_BETWEEN_LOOKS)
            looks += 1
            if done:
                event = coming.result()
                if event is None:
                    return
                yield event
                coming = asyncio.ensure_future(anext(events, None))
            elif looks >= LOOKS_BETWEEN_SIGNS_OF_LIFE:
                looks = 0
                yield None
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await coming
