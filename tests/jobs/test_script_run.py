"""A job with a script: what the script yields is drawn, counted, saved and sent back, also after a cancel, a failure and a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine, picture_of
from tests.jobs.stand_ins import House, request, wait_until
from webui.core.events import Cancelled, Drawn, EngineEvent, Failed, Finished, ImageReady, Progress, Remark
from webui.core.parameters import parameter
from webui.core.ports import Work
from webui.core.request import GenerationRequest
from webui.core.result import NOT_SHOWN
from webui.core.scripts import Desk, Draw, DrawFailed, DrawingEnded, Give, Plan, Script, ScriptArguments, Shot, Steps, Tell
from webui.core.settings import Settings
from webui.jobs.job import Job


class Counting(ScriptArguments):
    times: int = parameter(3, title="Times", help="", minimum=1)
    keep: str = parameter("shown", title="Keep", help="", choices=("shown", "saved", "dropped"))
    forgiving: bool = parameter(False, title="Forgiving", help="")


@dataclass
class Repeat(Script[Counting]):
    """Draws the request several times with rising seeds, then gives a grid and a picture of its own."""

    title = "Repeat"
    arguments = Counting
    heard: list[Sequence[Shot]] = field(default_factory=list)
    wishes: tuple[dict[str, Any], ...] = ()

    def plan(self, request: GenerationRequest, arguments: Counting, desk: Desk) -> Plan:
        drawn = arguments.times * request.images
        return Plan(drawn, arguments.times * request.batch_count, (drawn if arguments.keep == "shown" else 0) + 1, grids=1)

    def run(self, request: GenerationRequest, arguments: Counting, desk: Desk) -> Steps:
        shots: list[Shot] = []
        try:
            for number in range(arguments.times):
                wish = self.wishes[number] if number < len(self.wishes) else {}
                try:
                    new = yield Draw(request.changed(seed=10 * number, **wish), keep=arguments.keep, pairs={"Loop": str(number)})
                except DrawFailed as error:
                    if not arguments.forgiving:
                        raise
                    yield Tell(f"left out: {error}")
                    continue
                self.heard.append(new)
                shots += new
        except DrawingEnded as error:
            shots += error.shots
        yield Give(Image.new("RGB", (8, 8 * max(len(shots), 1))), "of all", is_grid=True)
        yield Give(Image.new("RGB", (5, 5)), "my own")


def submit(house: House, wish: GenerationRequest | None = None, *, save: bool = True, **arguments: Any) -> Job:
    wish = (wish or request()).changed(script="Repeat", script_args=arguments)
    return house.queue.submit(wish, Settings(), job_id="it", save=save)


@pytest.fixture
def open_script(open_house: Callable[..., House]) -> Callable[..., tuple[House, Repeat]]:
    def open_one(wishes: tuple[dict[str, Any], ...] = (), **options: Any) -> tuple[House, Repeat]:
        house = open_house(start=False, **options)
        script = Repeat(wishes=wishes)
        house.hooks.known_scripts = (script,)
        return house, script

    return open_one


def ended(job: Job) -> Job:
    job.wait(20)
    return job


def test_each_request_of_a_script_is_drawn_and_sent_back_and_all_are_the_jobs_pictures(open_script: Callable[..., Any]) -> None:
    house, script = open_script()
    house.queue.start()
    job = ended(submit(house, request(batch_size=2)))
    assert job.state == "finished"
    assert [picture.index for picture in job.pictures] == [-1, 0, 1, 2, 3, 4, 5, 6]
    assert [picture.request.seed for picture in job.pictures[1:7]] == [0, 1, 10, 11, 20, 21]
    assert [[shot.image.tobytes() for shot in shots] for shots in script.heard] == [
        [picture_of(seed, 64, 64).tobytes() for seed in pair] for pair in ((0, 1), (10, 11), (20, 21))
    ]
    assert script.heard[1][0].infotext == job.pictures[3].infotext
    assert "Loop: 1" in job.pictures[3].infotext


def test_the_pictures_of_a_script_draw_themselves_alone_and_its_grid_the_whole_job(open_script: Callable[..., Any]) -> None:
    house, _ = open_script()
    house.queue.start()
    job = ended(submit(house))
    grid, first, *_, own = job.pictures
    assert (first.request.script, first.request.script_args) == ("", {})
    assert grid.request == own.request == job.request
    assert (grid.infotext, own.infotext) == ("of all", "my own")
    assert grid.path.parent.parent.name == "txt2img-grids"
    assert grid.path.name == "grid-0000.png"
    assert own.path.parent.parent.name == "txt2img-images"


def test_what_is_saved_but_not_shown_lies_in_outputs_and_what_is_dropped_is_gone_when_the_job_ends(open_script: Callable[..., Any]) -> None:
    house, script = open_script()
    house.queue.start()
    job = ended(submit(house, keep="saved"))
    assert [picture.index for picture in job.pictures] == [-1, 0]
    assert len(house.files()) == 5
    assert len(house.hooks.saved) == 5
    job = ended(submit(house, keep="dropped"))
    assert [picture.index for picture in job.pictures] == [-1, 0]
    assert len(script.heard) == 6
    wait_until(lambda: not list(house.paths.unsaved.rglob("*.png")))
    assert len(house.files()) == 7
    assert len(house.hooks.saved) == 7


def test_progress_counts_all_pictures_of_the_script(open_script: Callable[..., Any]) -> None:
    house, _ = open_script(engine=FakeEngine(step_seconds=0.01))
    job = submit(house, request(batch_count=2))
    house.queue.start()
    heard = [event for event in job.log.follow(20) if isinstance(event, Progress)]
    assert [event.fraction for event in heard] == sorted(event.fraction for event in heard)
    assert heard[-1].fraction == 1.0
    assert {event.batches for event in heard} == {6}
    assert heard[-1].batch == 5
    assert heard[-1].eta < heard[0].eta


def test_a_cancel_in_the_middle_lets_the_script_give_what_it_can_make_of_it(open_script: Callable[..., Any]) -> None:
    house, script = open_script(({}, {"steps": 1000}), engine=FakeEngine(step_seconds=0.01))
    job = submit(house)
    house.queue.start()
    wait_until(lambda: len(script.heard) == 1 and job.log.latest(Progress) is not None)
    house.queue.cancel("it")
    end = job.wait(20)
    assert isinstance(end, Cancelled)
    assert [picture.index for picture in job.pictures] == [-1, 0, 2], "the place of the picture that was not drawn stays free"
    with Image.open(job.pictures[0].path) as grid:
        assert grid.size == (8, 8)
    assert len(house.engine.drawn) == 1


def test_a_script_hears_of_a_request_that_cannot_be_drawn_and_may_go_on(open_script: Callable[..., Any]) -> None:
    house, _ = open_script(({}, {"prompt": "fail"}))
    house.queue.start()
    job = ended(submit(house, forgiving=True))
    assert job.state == "finished"
    assert [picture.request.seed for picture in job.pictures[1:3]] == [0, 20]
    assert [remark.text for remark in job.log.all(Remark)] == ["left out: This prompt always fails."]
    job = ended(submit(house))
    assert job.log.end == Failed("This prompt always fails.", "InvalidRequest")


def test_an_error_of_the_script_itself_fails_its_job_alone(open_script: Callable[..., Any]) -> None:
    house, _ = open_script(({"no_such_field": 1},))
    house.queue.start()
    assert ended(submit(house)).state == "failed"
    assert ended(house.queue.submit(request(), Settings())).state == "finished"


class Dying(FakeEngine):
    """Hangs when it has drawn so many pictures, until the program closes."""

    def __init__(self, pictures: int) -> None:
        super().__init__()
        self.left = pictures
        self.hangs = threading.Event()

    def run(self, work: Work) -> Iterator[EngineEvent]:
        for event in super().run(work):
            if isinstance(event, Drawn):
                self.left -= 1
                if self.left < 0:
                    self.drawn.pop()
                    self.hangs.set()
                    wait_until(lambda: work.job_id in self._cancelled)
                    yield Cancelled()
                    return
            yield event


@pytest.mark.parametrize("keep", ["shown", "saved", "dropped"])
def test_after_a_restart_the_script_goes_on_with_what_was_drawn_before(open_script: Callable[..., Any], keep: str) -> None:
    engine = Dying(3)
    house, _ = open_script(engine=engine)
    submit(house, request(batch_size=2), keep=keep)
    house.queue.start()
    assert engine.hangs.wait(20)
    house.close()
    again, script = open_script()
    again.queue.start()
    job = ended(again.queue.job("it"))
    assert job.state == "finished"
    assert [index for _, index in engine.drawn] + [index for _, index in again.engine.drawn] == [0, 1, 0, 1, 0, 1]
    assert [[shot.request.seed for shot in shots] for shots in script.heard] == [[0, 1], [10, 11], [20, 21]]
    assert [shot.image.tobytes() for shot in script.heard[0]] == [picture_of(seed, 64, 64).tobytes() for seed in (0, 1)]
    assert [picture.index for picture in job.pictures if picture.index <= 0] == [-1, 0]


def test_a_random_seed_within_a_script_is_the_same_after_a_restart(open_script: Callable[..., Any]) -> None:
    house, script = open_script(({"seed": -1}, {"seed": -1}))
    script.wishes = ()

    class Random(Repeat):
        def run(self, request: GenerationRequest, arguments: Counting, desk: Desk) -> Steps:
            for _ in range(2):
                self.heard.append((yield Draw(request.changed(seed=-1))))

    script = Random()
    house.hooks.known_scripts = (script,)
    house.queue.start()
    ended(submit(house))
    house.queue.submit(request().changed(script="Repeat"), Settings(), job_id="other").wait(20)
    seeds = [shots[0].request.seed for shots in script.heard]
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]
    assert min(seeds) >= 0


def test_pictures_that_are_not_shown_are_in_the_log_but_not_in_the_result(open_script: Callable[..., Any]) -> None:
    house, _ = open_script()
    house.queue.start()
    job = ended(submit(house, keep="saved"))
    assert max(event.picture.index for event in job.log.all(ImageReady)) == NOT_SHOWN + 2
    end = job.log.end
    assert isinstance(end, Finished)
    assert end.result is not None
    assert [picture.index for picture in end.result.pictures] == [-1, 0]
