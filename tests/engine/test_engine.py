"""The engine with the model that ships with the program: what is asked for is what is seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.studio import pictures, work_for
from tests.engine.tiny_models import TinyModel
from webui.core.events import Cancelled, Drawn, EngineEvent, Finished, Preview, Progress
from webui.core.model_jobs import MergeRequest
from webui.core.paths import PROGRAM, Paths, standard_paths
from webui.core.ports import MergeSource, MergeWork, Work
from webui.engine.engine import LocalEngine
from webui.engine.pipeline_manager import PipelineSpec
from webui.engine.warmup import EngineOptions

DEMO = PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors"
FOREVER = 1000  # steps


@pytest.fixture(scope="module")
def demo_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """One for all tests of what the demo model draws."""
    opened = LocalEngine(EngineOptions(device="cpu"), standard_paths(tmp_path_factory.mktemp("data")))
    yield opened
    opened.close()


@pytest.fixture
def engine(paths: Paths) -> Iterator[LocalEngine]:
    opened = LocalEngine(EngineOptions(device="cpu"), paths)
    yield opened
    opened.close()


def colours(engine: LocalEngine, prompt: str, **wishes: Any) -> np.ndarray:
    """Mean red, green and blue of the middle of each of three pictures: (3, 3)."""
    wishes = {"width": 128, "height": 128, "steps": 15, "sampler": "DPM++ 2M", "cfg_scale": 5, "seed": 1, "batch_size": 3} | wishes
    drawn = pictures(list(engine.run(work_for(DEMO, prompt=prompt, **wishes))))
    assert len(drawn) == 3
    return np.array([drawn[index][40:88, 40:88].mean(axis=(0, 1)) for index in sorted(drawn)])


class Reading(threading.Thread):
    """Somebody who reads a job's events while the test goes on."""

    def __init__(self, engine: LocalEngine, work: Work) -> None:
        super().__init__(daemon=True)
        self.events: list[EngineEvent] = []
        self._stream = engine.run(work)
        self._begun = threading.Event()
        self.start()

    def run(self) -> None:
        for event in self._stream:
            self.events.append(event)
            if isinstance(event, Progress):
                self._begun.set()

    def wait_for_the_first_step(self) -> None:
        assert self._begun.wait(60)

    def end(self) -> EngineEvent:
        self.join(60)
        assert not self.is_alive()
        return self.events[-1]


def test_a_red_apple_is_red(demo_engine: LocalEngine) -> None:
    for red, green, blue in colours(demo_engine, "a red apple"):
        assert red > max(green, blue) + 80


def test_a_blue_car_is_blue(demo_engine: LocalEngine) -> None:
    for red, green, blue in colours(demo_engine, "a blue car"):
        assert blue > max(red, green) + 50


def test_the_negative_prompt_takes_red_away(demo_engine: LocalEngine) -> None:
    def redness(of: np.ndarray) -> np.ndarray:
        return of[:, 0] - of[:, 1:].mean(axis=1)

    plain, without = colours(demo_engine, "an apple"), colours(demo_engine, "an apple", negative_prompt="red")
    assert (redness(plain) > redness(without) + 30).all()


def test_tokens_are_counted(demo_engine: LocalEngine) -> None:
    assert demo_engine.count_tokens("a photo of a cat") == (5, 75)
    assert demo_engine.count_tokens("cat BREAK dog") == (76, 150)


def test_memory_is_told(demo_engine: LocalEngine) -> None:
    assert demo_engine.memory().ram_total > 0


def test_who_looks_gets_previews_and_nobody_else_does(engine: LocalEngine, tiny: TinyModel) -> None:
    unseen = list(engine.run(work_for(tiny.path, steps=6)))
    assert not any(isinstance(event, Preview) for event in unseen)
    work = work_for(tiny.path, steps=6, batch_count=2)
    seen: list[EngineEvent] = []
    for event in engine.run(work):
        if not seen:
            engine.want_preview(work.job_id)
        seen.append(event)
    assert isinstance(seen[-1], Finished)
    preview = next(event for event in seen if isinstance(event, Preview))
    assert preview.image.size == (8, 8)


def test_cancel_ends_a_running_job(engine: LocalEngine, tiny: TinyModel) -> None:
    work = work_for(tiny.path, steps=FOREVER)
    reading = Reading(engine, work)
    reading.wait_for_the_first_step()
    engine.cancel(work.job_id)
    assert isinstance(reading.end(), Cancelled)
    assert not any(isinstance(event, Drawn) for event in reading.events)


def test_skip_ends_the_running_batch_only(engine: LocalEngine, tiny: TinyModel) -> None:
    work = work_for(tiny.path, steps=FOREVER, batch_count=2)
    reading = Reading(engine, work)
    reading.wait_for_the_first_step()
    engine.skip(work.job_id)
    while not any(isinstance(event, Progress) and event.batch == 1 for event in list(reading.events)):
        assert reading.is_alive()
        time.sleep(0.005)
    engine.skip(work.job_id)
    assert isinstance(reading.end(), Finished)
    drawn = [event for event in reading.events if isinstance(event, Drawn)]
    assert [event.index for event in drawn] == [0, 1]
    assert all("Stopped at step" in event.used for event in drawn)


def test_leaving_the_events_ends_the_job(engine: LocalEngine, tiny: TinyModel, twin: TinyModel) -> None:
    stream = engine.run(work_for(tiny.path, steps=FOREVER))
    while not isinstance(next(stream), Progress):
        pass
    stream.close()
    before = engine.loop.passes
    # Other weights have their turn only when nothing else runs any more.
    assert isinstance(list(engine.run(work_for(twin.path, steps=2)))[-1], Finished)
    assert engine.loop.passes - before <= 2 + 3


def test_unknown_jobs_are_ignored(engine: LocalEngine) -> None:
    engine.cancel("nobody")
    engine.skip("nobody")
    engine.want_preview("nobody")


def test_closing_ends_running_jobs_as_cancelled_and_lets_the_models_go(paths: Paths, tiny: TinyModel) -> None:
    engine = LocalEngine(EngineOptions(device="cpu"), paths)
    reading = Reading(engine, work_for(tiny.path, steps=FOREVER))
    reading.wait_for_the_first_step()
    engine.close()
    assert isinstance(reading.end(), Cancelled)
    assert not engine.pipelines.resident(PipelineSpec(tiny.path))
    assert list(engine.run(work_for(tiny.path))) == [Cancelled()]
    engine.close()


def test_deterministic_pictures_do_not_depend_on_neighbours(paths: Paths, tiny: TinyModel) -> None:
    engine = LocalEngine(EngineOptions(device="cpu", deterministic=True), paths)
    alone = pictures(list(engine.run(work_for(tiny.path, steps=8))))[0]
    neighbour = Reading(engine, work_for(tiny.path, steps=FOREVER, seed=9))
    neighbour.wait_for_the_first_step()
    beside = pictures(list(engine.run(work_for(tiny.path, steps=8))))[0]
    engine.close()
    assert np.array_equal(alone, beside)


def test_a_name_that_is_no_file_fails_with_a_sentence(engine: LocalEngine, tmp_path: Path) -> None:
    failed = list(engine.run(work_for(tmp_path / "gone.safetensors")))[-1]
    assert failed.message.startswith("gone.safetensors cannot be read")


def merge_of(tiny: TinyModel, twin: TinyModel, target: Path, job_id: str) -> MergeWork:
    request = MergeRequest(primary=tiny.path.name, secondary=twin.path.name)
    sources = tuple(MergeSource(model.path, model.path.name) for model in (tiny, twin))
    return MergeWork(job_id, request, (*sources, None), None, target)


def test_a_merge_is_done_while_a_picture_is_drawn(engine: LocalEngine, tiny: TinyModel, twin: TinyModel, tmp_path: Path) -> None:
    drawing = work_for(tiny.path, steps=FOREVER)
    reading = Reading(engine, drawing)
    reading.wait_for_the_first_step()
    events = list(engine.run(merge_of(tiny, twin, tmp_path / "both.safetensors", "merge")))
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(event, Drawn) for event in reading.events)
    engine.cancel(drawing.job_id)
    assert isinstance(reading.end(), Cancelled)
    assert pictures(list(engine.run(work_for(tmp_path / "both.safetensors"))))


def test_a_merge_is_cancelled_by_its_id(engine: LocalEngine, tiny: TinyModel, twin: TinyModel, tmp_path: Path) -> None:
    events = engine.run(merge_of(tiny, twin, tmp_path / "both.safetensors", "merge"))
    assert isinstance(next(events), Progress)
    engine.cancel("merge")
    assert isinstance(list(events)[-1], Cancelled)
    assert list(tmp_path.glob("*")) == []
