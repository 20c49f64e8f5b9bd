"""The queue: order, cancelling, pausing, failures, many workers, limits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fake_engine import FakeEngine
from tests.jobs.stand_ins import HASH, HeldEngine, House, SlowEngine, ids, is_running, long_request, request, submit, wait_until
from webui.core.errors import InvalidRequest, NotFound, QueueFull, WebuiError
from webui.core.events import Cancelled, Drawn, EngineEvent, Failed, Finished, ImageReady, JobEvent, Progress, Queued
from webui.core.ports import Work
from webui.core.result import GenerationResult, Picture
from webui.core.settings import Settings

OpenHouse = Callable[..., House]


def test_a_job_runs_and_ends_with_its_pictures(open_house: OpenHouse) -> None:
    house = open_house()
    job = house.queue.submit(request(seed=7, batch_count=2, batch_size=2), Settings(), source="ui")
    end = job.wait(10)
    assert isinstance(end, Finished)
    assert end.result is job.result is not None
    assert [picture.index for picture in end.result.pictures] == [0, 1, 2, 3]
    assert [picture.request.seed for picture in end.result.pictures] == [7, 8, 9, 10]
    assert [picture.path for picture in end.result.pictures] == house.files()
    assert end.result.seconds > 0
    assert job.state == "finished"
    assert f"Model hash: {HASH[:10]}, Model: tiny" in end.result.pictures[0].infotext
    events = list(job.log.follow())
    assert events[0] == Queued(0)
    assert [event.picture for event in events if isinstance(event, ImageReady)] == list(end.result.pictures)
    wait_until(lambda: bool(house.hooks.finished))
    assert house.hooks.finished == [(job.id, end.result)]
    assert house.hooks.saved == list(end.result.pictures)


def test_late_readers_in_threads_and_event_loops_replay_the_whole_job(open_house: OpenHouse) -> None:
    house = open_house()
    job = house.queue.submit(request(batch_count=3), Settings())

    async def read() -> list[JobEvent]:
        await job.wait_async()
        return [event async for event in job.log.afollow()]

    events = asyncio.run(read())
    assert list(job.log.follow()) == events
    assert [type(event).__name__ for event in events if not isinstance(event, Progress)] == [
        "Queued", "ModelLoading", "ImageReady", "ImageReady", "ImageReady", "Finished",
    ]  # fmt: skip


def test_jobs_run_in_order_and_move_changes_it(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine)
    submit(house, "first")
    wait_until(lambda: engine.order == ["first"])
    jobs = submit(house, "a", "b", "c", "d")
    assert [job.log.latest(Queued) for job in jobs] == [Queued(1), Queued(2), Queued(3), Queued(4)]
    house.queue.move("d", 0)
    house.queue.move("a", 2)
    assert ids(house) == ["first", "d", "b", "a", "c"]
    house.queue.move("d", 99)
    assert ids(house) == ["first", "b", "a", "c", "d"]
    engine.may_run.set()
    for job in jobs:
        job.wait(10)
    assert engine.order == ["first", "b", "a", "c", "d"]
    assert ids(house) == ["d", "c", "a", "b", "first"]


def test_only_queued_jobs_can_be_moved(open_house: OpenHouse) -> None:
    house = open_house()
    (job,) = submit(house, "a")
    job.wait(10)
    with pytest.raises(InvalidRequest, match="Job 'a' is finished; only queued jobs can be moved"):
        house.queue.move("a", 0)
    with pytest.raises(InvalidRequest, match="Position -1"):
        house.queue.move("a", -1)
    with pytest.raises(NotFound):
        house.queue.move("z", 0)


def test_pause_lets_the_running_job_finish_and_starts_no_other_even_after_a_restart(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine)
    (first,) = submit(house, "first")
    wait_until(lambda: engine.order == ["first"])
    house.queue.pause()
    submit(house, "second")
    engine.may_run.set()
    assert isinstance(first.wait(10), Finished)
    time.sleep(0.1)
    assert engine.order == ["first"]
    house.close()
    again = open_house()
    assert again.queue.paused
    time.sleep(0.1)
    assert again.queue.job("second").state == "queued"
    again.queue.resume()
    assert isinstance(again.queue.job("second").wait(10), Finished)
    assert not again.queue.paused


def test_a_queued_job_is_cancelled_at_once(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine)
    first, second, third = submit(house, "first", "second", "third")
    house.queue.cancel("second")
    assert second.log.end == Cancelled(GenerationResult(second.request, ()))
    assert second.state == "cancelled"
    engine.may_run.set()
    assert isinstance(third.wait(10), Finished)
    assert isinstance(first.wait(10), Finished)
    assert engine.order == ["first", "third"]


def test_a_running_job_is_cancelled_with_the_pictures_it_has(open_house: OpenHouse) -> None:
    house = open_house(engine=SlowEngine())
    job = house.queue.submit(request(steps=5, batch_count=1000), Settings())
    wait_until(lambda: len(job.pictures) >= 2)
    house.queue.cancel(job.id)
    end = job.wait(2)
    assert isinstance(end, Cancelled)
    assert end.result is not None
    assert 2 <= len(end.result.pictures) < 1000
    assert len(house.files()) == len(end.result.pictures)
    house.queue.cancel(job.id)
    assert job.log.end is end


def test_cancel_all_ends_running_and_queued_jobs(open_house: OpenHouse) -> None:
    house = open_house(engine=SlowEngine(), workers=2)
    jobs = [house.queue.submit(long_request(), Settings()) for _ in range(6)]
    wait_until(lambda: is_running(jobs[0])() and is_running(jobs[1])())
    house.queue.cancel_all()
    assert all(isinstance(job.wait(5), Cancelled) for job in jobs)
    assert {job.state for job in house.queue.jobs()} == {"cancelled"}
    assert not any(is_running(job)() for job in jobs[2:])


def test_a_cancel_that_comes_before_the_engine_knows_the_job_is_not_lost(open_house: OpenHouse) -> None:
    class ForgetfulEngine(SlowEngine):
        """Ignores cancels of jobs it is not yet running, as an engine may."""

        known: frozenset[str] = frozenset()

        def run(self, work: Work) -> Iterator[EngineEvent]:
            entered.set()
            assert go_on.wait(10)
            self.known |= {work.job_id}
            yield from super().run(work)

        def cancel(self, job_id: str) -> None:
            if job_id in self.known:
                super().cancel(job_id)

    entered, go_on = threading.Event(), threading.Event()
    house = open_house(engine=ForgetfulEngine())
    job = house.queue.submit(long_request(), Settings())
    assert entered.wait(10)
    house.queue.cancel(job.id)
    go_on.set()
    assert isinstance(job.wait(5), Cancelled)


def test_skip_ends_only_the_batch_being_drawn(open_house: OpenHouse) -> None:
    house = open_house(engine=SlowEngine())
    job = house.queue.submit(request(steps=200, batch_count=2), Settings())
    wait_until(is_running(job))
    house.queue.skip(job.id)
    wait_until(lambda: len(job.pictures) == 1)
    house.queue.skip(job.id)
    assert isinstance(job.wait(2), Finished)
    with pytest.raises(NotFound):
        house.queue.skip("unknown")


def test_one_failing_job_leaves_the_next_running(open_house: OpenHouse) -> None:
    house = open_house()
    bad, good = house.queue.submit(request("fail"), Settings()), house.queue.submit(request(), Settings())
    assert bad.wait(10) == Failed("This prompt always fails.", "InvalidRequest")
    assert bad.state == "failed"
    assert isinstance(good.wait(10), Finished)


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        (WebuiError("Plainly said."), "Plainly said.", "WebuiError"),
        (ZeroDivisionError("by zero"), "Internal error: ZeroDivisionError: by zero", "ZeroDivisionError"),
    ],
)
def test_an_exception_out_of_the_engine_fails_the_job_and_only_an_unforeseen_one_leaves_a_traceback(
    error: Exception, message: str, kind: str, open_house: OpenHouse, caplog: pytest.LogCaptureFixture
) -> None:
    class RaisingEngine(FakeEngine):
        def run(self, work: Work) -> Iterator[EngineEvent]:
            for event in super().run(work):
                yield event
                if isinstance(event, Drawn) and work.request.prompt == "raise":
                    raise error

    house = open_house(engine=RaisingEngine())
    job, after = house.queue.submit(request("raise", batch_count=2), Settings()), house.queue.submit(request(), Settings())
    with caplog.at_level(logging.WARNING):
        assert job.wait(10) == Failed(message, kind)
    assert ("Traceback" in caplog.text) is not isinstance(error, WebuiError)
    assert str(error) in caplog.text
    assert job.result is not None
    assert len(job.result.pictures) == 1
    assert isinstance(after.wait(10), Finished)


def test_a_failing_extension_fails_the_job_it_was_called_in_only(open_house: OpenHouse) -> None:
    house = open_house()
    calls = []

    def fail_once(picture: Picture) -> None:
        calls.append(picture)
        if len(calls) == 1:
            raise ValueError("extension")

    house.hooks.picture_saved = fail_once  # type: ignore[method-assign]
    first, second = submit(house, "a", "b")
    assert first.wait(10) == Failed("Internal error: ValueError: extension", "ValueError")
    assert isinstance(second.wait(10), Finished)


def test_an_unknown_checkpoint_fails_the_job_with_the_nearest_name(open_house: OpenHouse) -> None:
    house = open_house()
    job = house.queue.submit(request(checkpoint="tiny2.safetensors"), Settings())
    assert job.wait(10) == Failed("Unknown checkpoint 'tiny2.safetensors'. Did you mean 'tiny.safetensors'?", "UnknownName")


def test_several_workers_run_jobs_at_the_same_time_and_each_once(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine, workers=4)
    jobs = submit(house, *(str(number) for number in range(12)), batch_count=3)
    wait_until(lambda: len(engine.order) == 4)
    engine.may_run.set()
    for job in jobs:
        end = job.wait(20)
        assert isinstance(end, Finished)
        assert end.result is not None
        assert [picture.index for picture in end.result.pictures] == [0, 1, 2]
    assert sorted(engine.drawn) == sorted((job.id, index) for job in jobs for index in range(3))
    assert len(house.files()) == 36


def test_a_full_queue_says_so_and_takes_jobs_again_when_there_is_room(open_house: OpenHouse) -> None:
    house = open_house(limit=2, start=False)
    submit(house, "a", "b")
    with pytest.raises(QueueFull, match="2 jobs are waiting"):
        submit(house, "c")
    assert ids(house) == ["a", "b"]
    house.queue.cancel("a")
    submit(house, "c")
    assert ids(house) == ["b", "c", "a"]


@pytest.mark.parametrize("job_id", ["", "x" * 201, "\ud800"])
def test_unusable_ids_are_refused(job_id: str, open_house: OpenHouse) -> None:
    with pytest.raises(InvalidRequest):
        submit(open_house(start=False), job_id)


def test_any_text_may_be_an_id(open_house: OpenHouse) -> None:
    house = open_house()
    for job_id in ("task(../../x)", "'; DROP TABLE jobs; --", "林檎 \n\x00", "x" * 200):
        (job,) = submit(house, job_id)
        assert house.queue.job(job_id) is job
        assert isinstance(job.wait(10), Finished)


def test_an_id_is_taken_until_its_job_has_ended(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine)
    (job,) = submit(house, "same")
    with pytest.raises(InvalidRequest, match="There is already a job"):
        submit(house, "same")
    assert house.queue.job("same") is job
    engine.may_run.set()
    job.wait(10)
    first = job.pictures
    (again,) = submit(house, "same")
    assert house.queue.job("same") is again
    again.wait(10)
    assert [picture.index for picture in again.pictures] == [picture.index for picture in first]
    assert {picture.path for picture in again.pictures}.isdisjoint(picture.path for picture in first)
    assert all(house.outputs.picture(picture.id).path == picture.path for picture in first)
    assert ids(house) == ["same"]


def test_unknown_jobs_are_not_found(open_house: OpenHouse) -> None:
    house = open_house(start=False)
    for ask in (house.queue.job, house.queue.cancel, house.queue.skip):
        with pytest.raises(NotFound, match="no job 'x'"):
            ask("x")


def test_jobs_lists_running_then_queued_then_ended_newest_first(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine)
    engine.may_run.set()
    for job in submit(house, "old", "new"):
        job.wait(10)
    engine.may_run.clear()
    submit(house, "running", "next", "last")
    wait_until(lambda: house.queue.job("running").state == "running")
    assert ids(house) == ["running", "next", "last", "new", "old"]
    engine.may_run.set()
