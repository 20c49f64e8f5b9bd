"""Killed without warning at random moments, and two programs on one data folder: each job once, each picture once."""

from __future__ import annotations

import multiprocessing
import random
import signal
import sys
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from PIL import Image

from tests.fake_engine import picture_of
from tests.jobs import crash_program
from tests.jobs.stand_ins import House, request
from webui.core.events import Finished
from webui.core.settings import Settings

MOST_KILLS, FEWEST_KILLS = 25, 10


def start_program(data: Path, step_seconds: float) -> BaseProcess:
    """A process of its own, forked from one that has imported everything, so that many starts are quick."""
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    context.set_forkserver_preload(["pytest", "tests.jobs.crash_program"])
    here, there = context.Pipe(duplex=False)
    program = context.Process(target=crash_program.main, args=(data, step_seconds, there), daemon=True)
    program.start()
    assert here.recv() == "started"
    return program


def exit_code(program: BaseProcess) -> int | None:
    program.join(30)
    return program.exitcode


def queue_jobs(data: Path, *job_ids: str, batch_count: int, batch_size: int, save: bool = True) -> None:
    house = House(data, start=False)
    for number, job_id in enumerate(job_ids):
        wish = request(seed=100 * number, steps=3, batch_count=batch_count, batch_size=batch_size)
        house.queue.submit(wish, Settings(), job_id=job_id, save=save)
    house.close()


def heard(data: Path, kind: str) -> Counter[tuple[str, str]]:
    lines = [line.split() for line in (data / "heard.txt").read_text().splitlines()]
    return Counter((job_id, number) for _, what, job_id, number in lines if what == kind)


def assert_each_once(data: Path, job_ids: list[str], pictures: int) -> None:
    house = House(data, start=False)
    files = [path for root in (house.paths.outputs, house.paths.unsaved) for path in root.rglob("*") if path.is_file()]
    known: list[Path] = []
    for job_id in job_ids:
        end = house.queue.job(job_id).wait(0)
        assert isinstance(end, Finished)
        assert [picture.index for picture in end.result.pictures] == list(range(pictures))
        for picture in end.result.pictures:
            with Image.open(picture.path) as image:
                assert image.tobytes() == picture_of(picture.request.seed, 64, 64).tobytes()
        known += [picture.path for picture in end.result.pictures]
    assert sorted(files) == sorted(known)
    assert {job.state for job in house.queue.jobs()} == {"finished"}
    house.close()
    assert not list((data / "state" / "owners").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("save", [True, False], ids=["saved", "unsaved"])
def test_killed_at_random_moments_every_job_finishes_once_with_every_picture_once(tmp_path: Path, save: bool) -> None:
    dice = random.Random(20 + save)
    job_ids = [f"job{number}" for number in range(20)]
    queue_jobs(tmp_path, *job_ids, batch_count=4, batch_size=2, save=save)
    kills = 0
    for _ in range(MOST_KILLS):
        program = start_program(tmp_path, 0.006)
        time.sleep(dice.uniform(0.0, 0.1))
        program.kill()
        kills += exit_code(program) == -signal.SIGKILL
    assert kills >= FEWEST_KILLS, "the jobs were done before the program was killed often enough; give them more to do"
    assert exit_code(start_program(tmp_path, 0.0)) == 0
    assert_each_once(tmp_path, job_ids, 8)
    assert heard(tmp_path, "job") <= Counter((job_id, "8") for job_id in job_ids)
    assert set(heard(tmp_path, "picture").values()) == {1}


@pytest.mark.slow
def test_two_programs_on_one_data_folder_do_no_job_twice(tmp_path: Path) -> None:
    job_ids = [f"job{number}" for number in range(16)]
    queue_jobs(tmp_path, *job_ids, batch_count=2, batch_size=2)
    programs = [start_program(tmp_path, 0.01) for _ in range(2)]
    assert [exit_code(program) for program in programs] == [0, 0]
    assert_each_once(tmp_path, job_ids, 4)
    assert heard(tmp_path, "job") == Counter((job_id, "4") for job_id in job_ids)
    assert heard(tmp_path, "picture") == Counter((job_id, str(index)) for job_id in job_ids for index in range(4))
    workers_of = {line.split()[2]: line.split()[0] for line in (tmp_path / "heard.txt").read_text().splitlines()}
    assert len(set(workers_of.values())) == 2, "one program did everything; the test shows nothing"


@pytest.mark.slow
def test_a_living_program_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    job_ids = [f"job{number}" for number in range(6)]
    queue_jobs(tmp_path, *job_ids, batch_count=4, batch_size=2)
    killed, living = (start_program(tmp_path, 0.02) for _ in range(2))
    time.sleep(0.15)
    killed.kill()
    assert exit_code(killed) == -signal.SIGKILL
    assert exit_code(living) == 0
    assert_each_once(tmp_path, job_ids, 8)
