"""The queue over restarts, and shared by several programs: what goes on, what is remembered, what is forgotten."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable

import pytest
from PIL import Image

from tests.jobs.stand_ins import (
    HeldEngine,
    House,
    OneModelCatalog,
    SlowEngine,
    ids,
    is_running,
    long_request,
    request,
    settings,
    submit,
    wait_until,
)
from webui.core.errors import NotFound, WebuiError
from webui.core.events import Cancelled, Failed, Finished, ImageReady, Queued
from webui.core.extension_points import AddedPicture
from webui.core.images import decode_image
from webui.core.result import ADDED
from webui.core.settings import Settings
from webui.core.styles import StyleStore
from webui.jobs import queue as queue_module
from webui.jobs.run import Run, Surroundings

OpenHouse = Callable[..., House]


def test_ended_jobs_can_be_read_after_a_restart(open_house: OpenHouse) -> None:
    house = open_house()
    finished = house.queue.submit(request(batch_count=2), settings(eta_ddim=0.5), job_id="finished", source="ui")
    failed = house.queue.submit(request("fail"), Settings(), job_id="failed")
    result = finished.wait(10).result
    failed.wait(10)
    house.close()
    again = open_house()
    job = again.queue.job("finished")
    assert (job.request, job.settings, job.source, job.save) == (finished.request, finished.settings, "ui", True)
    assert (job.created_at, job.started_at, job.state) == (finished.created_at, finished.started_at, "finished")
    assert list(job.log.follow()) == [Queued(), *(ImageReady(picture) for picture in result.pictures), Finished(result)]
    assert again.queue.job("failed").wait(0) == Failed("This prompt always fails.", "InvalidRequest")
    assert ids(again) == ["failed", "finished"]


def test_closing_puts_running_jobs_back_and_the_next_start_draws_only_what_is_missing(open_house: OpenHouse) -> None:
    house = open_house(engine=SlowEngine(), workers=2)
    jobs = [house.queue.submit(request(steps=5, batch_count=6), Settings(), job_id=job_id) for job_id in ("a", "b", "c")]
    wait_until(lambda: len(jobs[0].pictures) >= 2 and len(jobs[1].pictures) >= 2)
    began = time.monotonic()
    house.close()
    assert time.monotonic() - began < 10
    assert [job.state for job in jobs] == ["queued"] * 3
    with pytest.raises(WebuiError, match="stays in the queue"):
        jobs[0].wait(1)
    kept = {picture.path for job in jobs for picture in job.pictures}
    assert set(house.files()) == kept

    again = open_house(workers=2)
    assert {job.id for job in again.queue.jobs()} == {"a", "b", "c"}
    for job in jobs:
        end = again.queue.job(job.id).wait(10)
        assert isinstance(end, Finished)
        assert [picture.index for picture in end.result.pictures] == [0, 1, 2, 3, 4, 5]
        assert end.result.pictures[: len(job.pictures)] == job.pictures
        drawn_again = {index for job_id, index in again.engine.drawn if job_id == job.id}
        assert drawn_again == set(range(6)) - {picture.index for picture in job.pictures}
    assert len(again.files()) == 18


def test_a_closed_queue_takes_no_jobs(open_house: OpenHouse) -> None:
    house = open_house()
    house.queue.close()
    with pytest.raises(WebuiError, match="closing"):
        submit(house, "a")


def test_a_users_cancel_while_closing_is_still_a_cancel(open_house: OpenHouse) -> None:
    house = open_house(engine=SlowEngine())
    job = house.queue.submit(long_request(), Settings(), job_id="a")
    wait_until(is_running(job))
    house.queue.cancel("a")
    house.close()
    again = open_house()
    assert isinstance(again.queue.job("a").wait(5), Cancelled)


def test_close_does_not_wait_for_an_engine_that_does_not_answer(open_house: OpenHouse) -> None:
    engine = HeldEngine()
    house = open_house(engine=engine)
    submit(house, "a")
    wait_until(lambda: engine.order == ["a"])
    began = time.monotonic()
    house.queue.close()
    house.queue.close()
    assert time.monotonic() - began < 10
    other = open_house(start=False)
    other.queue.start()
    time.sleep(0.1)
    assert other.queue.job("a").state == "running"  # its owner still lives, so nobody else may run it
    engine.may_run.set()
    assert isinstance(other.queue.job("a").wait(10), Finished)
    assert len(other.files()) == 1


@pytest.mark.parametrize(("column", "value"), [("request", '{"sampler": "Future"}'), ("request", "{"), ("settings", '{"gone": 1}')])
def test_a_row_that_no_longer_validates_becomes_a_failed_job(column: str, value: str, open_house: OpenHouse) -> None:
    house = open_house(start=False)
    submit(house, "old", "good")
    house.close()
    connection = sqlite3.connect(house.database)
    with connection:
        connection.execute(f"UPDATE jobs SET {column} = ? WHERE id = 'old'", (value,))
    connection.close()
    again = open_house()
    assert isinstance(again.queue.job("good").wait(10), Finished)
    end = again.queue.job("old").wait(10)
    assert isinstance(end, Failed)
    assert end.message.startswith("Job 'old' was stored by another version of this program and cannot be read:")
    assert {job.state for job in again.queue.jobs()} == {"failed", "finished"}


def test_only_the_newest_ended_jobs_are_kept_and_their_unsaved_pictures_go_with_them(
    open_house: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "ENDED_JOBS_KEPT", 3)
    house = open_house()
    jobs = [house.queue.submit(request(), Settings(), job_id=str(number), save=number % 2 == 0) for number in range(8)]
    for job in jobs:
        job.wait(10)
    wait_until(lambda: len(house.queue.jobs()) == 3)
    assert ids(house) == ["7", "6", "5"]
    assert len(house.files()) == 4
    wait_until(lambda: len(list(house.paths.unsaved.rglob("*.png"))) == 2)
    assert house.outputs.picture(jobs[0].pictures[0].id).path.exists()
    with pytest.raises(NotFound):
        house.queue.job("1")
    with pytest.raises(NotFound):
        house.outputs.picture(jobs[1].pictures[0].id)
    first = jobs[0].pictures[0]
    (again,) = submit(house, "0")  # the id of a job that is forgotten, though its picture is kept
    again.wait(10)
    assert again.pictures[0].path != first.path
    assert house.outputs.picture(first.id).path == first.path


def test_unsaved_pictures_older_than_a_day_are_removed_at_start(open_house: OpenHouse) -> None:
    house = open_house()
    old, new = (house.queue.submit(request(), Settings(), job_id=job_id, save=False) for job_id in ("old", "new"))
    for job in (old, new):
        job.wait(10)
    house.close()
    connection = sqlite3.connect(house.database)
    with connection:
        connection.execute("UPDATE jobs SET ended_at = ended_at - 90000 WHERE id = 'old'")
    connection.close()
    (house.paths.unsaved / "of a job long forgotten").mkdir()
    again = open_house()
    assert [path.name for path in again.paths.unsaved.iterdir()] == [new.pictures[0].path.parent.name]
    assert again.queue.job("old").pictures == ()
    assert again.queue.job("new").pictures == new.pictures


def test_readers_hear_of_a_job_that_another_program_runs(open_house: OpenHouse) -> None:
    running = open_house(engine=SlowEngine())
    watching = open_house(start=False)
    mine = running.queue.submit(request(steps=20, batch_count=3), Settings(), job_id="a")
    theirs = watching.queue.job("a")
    watching.queue.start()
    end = theirs.wait(10)
    assert isinstance(end, Finished)
    assert end.result == mine.wait(10).result


def test_a_job_that_another_program_runs_can_be_cancelled(open_house: OpenHouse) -> None:
    running, other = open_house(engine=SlowEngine()), open_house()
    job = running.queue.submit(long_request(), Settings(), job_id="a")
    wait_until(is_running(job))
    other.queue.cancel("a")
    assert isinstance(job.wait(5), Cancelled)
    assert isinstance(other.queue.job("a").wait(5), Cancelled)


def test_what_a_closed_program_left_queued_is_run_by_another(open_house: OpenHouse) -> None:
    leaving, staying = open_house(engine=HeldEngine()), open_house()
    submit(leaving, "running", "queued")
    wait_until(lambda: leaving.engine.order == ["running"])
    assert staying.queue.job("queued").state == "queued"
    threading.Timer(0.1, leaving.engine.may_run.set).start()
    leaving.close()
    assert isinstance(staying.queue.job("queued").wait(10), Finished)
    assert isinstance(staying.queue.job("running").wait(10), Finished)


def surroundings(house: House) -> Surroundings:
    styles = StyleStore((house.paths.styles,))
    return Surroundings(house.engine, house.outputs, OneModelCatalog(), house.hooks, house.queue.inputs, styles)


def test_a_picture_that_an_extension_added_before_a_crash_is_not_added_again(open_house: OpenHouse) -> None:
    house = open_house(start=False)
    job = house.queue.submit(request(batch_count=2), Settings())
    added = [AddedPicture(Image.new("RGB", (8, 8), colour), "", job.request.of_image(0)) for colour in ("red", "blue")]
    # As if the process had ended between the two, and the job were taken up again.
    house.hooks.added = tuple(added[:1])
    assert isinstance(Run(job, surroundings(house)).execute(), Finished)
    house.hooks.added = tuple(added)
    assert isinstance(Run(job, surroundings(house)).execute(), Finished)
    assert [picture.index for picture in house.outputs.pictures_of(job.id)] == [0, 1, ADDED, ADDED + 1]
    assert len(house.files()) == 4


def test_a_job_that_drew_nothing_gets_no_pictures_from_extensions(open_house: OpenHouse) -> None:
    house = open_house(start=False)
    house.hooks.added = (AddedPicture(Image.new("RGB", (8, 8)), "", request()),)
    job = house.queue.submit(request(), Settings())
    assert isinstance(Run(job, surroundings(house), wants_cancel=True).execute(), Cancelled)
    assert house.files() == []


def lose_what_waits_for_no_disk(house: House, of_pictures: str) -> None:
    """What the disk holds when commits that do not wait for it are lost: the claim's and the end's of all jobs, and this of pictures."""
    with sqlite3.connect(house.database) as connection:
        connection.execute("UPDATE jobs SET state = 'queued', owner = NULL, started_at = NULL, ended_at = NULL")
        connection.execute(of_pictures)
    connection.close()


@pytest.mark.parametrize(("save", "level"), [(True, "FULL"), (False, "NORMAL")])
def test_the_row_of_a_picture_is_on_the_disk_before_its_name_if_it_is_to_be_kept(open_house: OpenHouse, save: bool, level: str) -> None:
    house = open_house(start=False)
    job = house.queue.submit(request(), Settings(), save=save)
    said: list[str] = []
    house.outputs._database._connection.set_trace_callback(said.append)
    assert isinstance(Run(job, surroundings(house)).execute(), Finished)
    inserted = next(place for place, statement in enumerate(said) if statement.startswith("INSERT INTO pictures"))
    assert [one for one in said[:inserted] if one.startswith("PRAGMA")][-1] == f"PRAGMA synchronous = {level}"


def test_after_a_power_cut_that_took_the_end_of_a_job_no_picture_is_drawn_twice(open_house: OpenHouse) -> None:
    house = open_house()
    job = house.queue.submit(request(batch_count=3), Settings(), job_id="a")
    pictures = job.wait(10).result.pictures
    house.close()
    lose_what_waits_for_no_disk(house, "UPDATE pictures SET state = 'saving'")
    again = open_house()
    end = again.queue.job("a").wait(10)
    assert isinstance(end, Finished)
    assert [picture.path for picture in end.result.pictures] == [picture.path for picture in pictures]
    assert again.engine.drawn == []
    assert len(again.files()) == 3


def test_after_a_power_cut_that_took_the_row_of_a_picture_that_is_not_kept_its_job_has_it_again(open_house: OpenHouse) -> None:
    house = open_house()
    first = house.queue.submit(request(batch_count=2), Settings(), job_id="a", save=False).wait(10).result.pictures
    house.close()
    lose_what_waits_for_no_disk(house, "DELETE FROM pictures WHERE position = 1")
    again = open_house()
    end = again.queue.job("a").wait(10)
    assert isinstance(end, Finished)
    assert end.result.pictures[0].path == first[0].path
    assert [decode_image(picture.path.read_bytes()).size for picture in end.result.pictures] == [(64, 64)] * 2
    assert len(again.engine.drawn) == 1


def test_a_worker_without_a_job_keeps_nobody_from_writing_and_waits_for_nobody(open_house: OpenHouse) -> None:
    house = open_house(start=False)
    store = house.queue._store
    other = sqlite3.connect(house.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert store.claim() is None
    assert time.monotonic() - began < 10  # a writer would wait 30 s for the other
    other.execute("ROLLBACK")
    other.close()


def test_one_job_wakes_one_worker(open_house: OpenHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    house = open_house(workers=8)
    woken: list[int | None] = []
    notify = house.queue._change.notify
    monkeypatch.setattr(house.queue._change, "notify", lambda count: (woken.append(count), notify(count)))
    jobs = submit(house, "a", "b", "c")
    assert all(isinstance(job.wait(10), Finished) for job in jobs)
    # Beside them, the look around once a second may wake all.
    assert woken.count(1) == 3


def test_every_worker_is_used_when_there_is_work_for_all(open_house: OpenHouse) -> None:
    house = open_house(engine=HeldEngine(), workers=8)
    jobs = submit(house, *"abcdefgh")
    wait_until(lambda: len(house.engine.order) == 8, 30)
    house.engine.may_run.set()
    assert all(isinstance(job.wait(10), Finished) for job in jobs)
