"""The event log's promises to its readers, in threads and in event loops."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest
from PIL import Image

from tests.jobs.stand_ins import request, settings
from webui.core.errors import WebuiError
from webui.core.events import Cancelled, Failed, Finished, ModelLoading, Preview, Progress, Queued, Remark
from webui.jobs.job import EventLog, Job


def progress(step: int) -> Progress:
    return Progress(batch=0, batches=1, step=step, steps=20, fraction=step / 20, eta=1.0)


def a_job() -> Job:
    return Job("j", request(), settings(), "api", save=True, created_at=time.time())


def test_a_late_reader_sees_everything_from_the_start() -> None:
    log = EventLog()
    events = [Queued(), ModelLoading("a"), Remark("b"), Finished()]
    for event in events:
        log.append(event)
    assert list(log.follow()) == events
    assert list(log.follow()) == events


def test_only_the_newest_progress_and_preview_are_kept_in_their_order() -> None:
    log = EventLog()
    previews = [Preview(Image.new("RGB", (1, 1)), step) for step in range(3)]
    for step in range(3):
        log.append(progress(step))
        log.append(previews[step])
        log.append(Remark(str(step)))
    assert list(log.follow(timeout=0.0)) == [Remark("0"), Remark("1"), progress(2), previews[2], Remark("2")]
    log.append(Failed("no"))
    assert list(log.follow()) == [Remark("0"), Remark("1"), progress(2), Remark("2"), Failed("no")]


def test_memory_stays_bounded_over_a_long_job() -> None:
    log = EventLog()
    for step in range(10_000):
        log.append(progress(step))
    assert list(log.follow(timeout=0.0)) == [progress(9_999)]


def test_latest_gives_the_newest_of_a_kind() -> None:
    log = EventLog()
    assert log.latest(Progress) is None
    log.append(progress(1))
    log.append(Remark("x"))
    log.append(progress(2))
    assert log.latest(Progress) == progress(2)
    assert log.latest(Remark) == Remark("x")


def test_nothing_follows_the_terminal_event() -> None:
    log = EventLog()
    log.append(Cancelled())
    log.append(Finished())
    assert list(log.follow()) == [Cancelled()]
    assert log.end == Cancelled()


def test_threads_that_follow_while_it_is_written_all_see_the_same() -> None:
    log = EventLog()
    seen: list[list[object]] = [[] for _ in range(8)]
    readers = [threading.Thread(target=lambda into=into: into.extend(log.follow())) for into in seen]
    for reader in readers:
        reader.start()
    remarks = [Remark(str(number)) for number in range(200)]
    for remark in remarks:
        log.append(remark)
    log.append(Finished())
    for reader in readers:
        reader.join(10)
    assert all(events == [*remarks, Finished()] for events in seen)


def test_follow_gives_up_after_its_timeout_without_news() -> None:
    log = EventLog()
    log.append(Queued())
    began = time.monotonic()
    assert list(log.follow(timeout=0.05)) == [Queued()]
    assert 0.04 < time.monotonic() - began < 10


def test_readers_in_several_event_loops_see_everything() -> None:
    log = EventLog()

    async def read() -> list[object]:
        return [event async for event in log.afollow()]

    async def read_twice() -> list[list[object]]:
        return list(await asyncio.gather(read(), read()))

    results: list[list[list[object]]] = []
    loops = [threading.Thread(target=lambda: results.append(asyncio.run(read_twice()))) for _ in range(3)]
    for loop in loops:
        loop.start()
    events: list[object] = [Remark(str(number)) for number in range(100)]
    for event in [*events, Finished()]:
        log.append(event)
        time.sleep(0.0005)
    for loop in loops:
        loop.join(10)
    assert results == [[[*events, Finished()]] * 2] * 3


def test_afollow_wakes_promptly() -> None:
    log = EventLog()

    async def measure() -> float:
        reader = aiter(log.afollow())
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0.05)
        sent: list[float] = []
        threading.Thread(target=lambda: (sent.append(time.monotonic()), log.append(Queued()))).start()
        await waiting
        return time.monotonic() - sent[0]

    assert asyncio.run(measure()) < 2


def test_async_readers_that_go_away_leave_nothing_behind() -> None:
    log = EventLog()
    log.append(Queued())

    async def leave_early() -> None:
        async for _ in log.afollow():
            break
        waiting = [asyncio.ensure_future(anext(aiter(_after_first(log)))) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert len(log._sleepers) == 5
        for reader in waiting:
            reader.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not log._sleepers

    asyncio.run(leave_early())
    gc.collect()
    log.append(Finished())


async def _after_first(log: EventLog):
    reader = log.afollow()
    await anext(reader)
    async for event in reader:
        yield event


def test_a_closed_event_loop_does_not_disturb_the_writer() -> None:
    log = EventLog()
    loop = asyncio.new_event_loop()
    log._sleepers.add(loop.create_future())
    loop.close()
    log.append(Queued())
    assert log.latest(Queued) == Queued()
    assert not log._sleepers


def test_a_closed_log_lets_readers_end_and_tells_those_who_wait() -> None:
    job = a_job()
    job.log.append(Queued())
    job.log.close()
    assert list(job.log.follow()) == [Queued()]
    with pytest.raises(WebuiError, match="stays in the queue"):
        job.wait()
    with pytest.raises(WebuiError, match="stays in the queue"):
        asyncio.run(job.wait_async())


def test_state_follows_start_and_terminal_event() -> None:
    job = a_job()
    assert job.state == "queued"
    assert job.result is None
    job.started_at = time.time()
    assert job.state == "running"
    assert job.result is not None
    for event, state in ((Finished(), "finished"), (Cancelled(), "cancelled"), (Failed("no"), "failed")):
        ended = a_job()
        ended.log.append(event)
        assert ended.state == state


def test_wait_gives_the_terminal_event_or_times_out() -> None:
    job = a_job()
    with pytest.raises(TimeoutError):
        job.wait(0.01)
    threading.Timer(0.02, lambda: job.log.append(Failed("no"))).start()
    assert asyncio.run(job.wait_async()) == Failed("no")
    assert job.wait() == Failed("no")
