"""The engine before torch is there."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.engine.studio import work_for
from tests.fake_engine import FakeEngine
from webui.core.errors import StartupError
from webui.core.events import Cancelled, EngineEvent, Failed, Finished
from webui.core.hook_ports import EngineHooks
from webui.core.paths import Paths
from webui.core.ports import Engine, Work
from webui.engine.warmup import EngineOptions, WarmingEngine

PATIENCE = 60.0


class Import:
    """The import of the real engine, which takes until `finish`."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.error: Exception | None = None
        self._finished = threading.Event()

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self._finished.set()

    def build(self, options: EngineOptions, paths: Paths, hooks: EngineHooks) -> Engine:
        assert self._finished.wait(PATIENCE)
        if self.error:
            raise self.error
        return self.engine


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    slow = Import()
    monkeypatch.setitem(sys.modules, "webui.engine.engine", SimpleNamespace(LocalEngine=slow.build))
    yield slow
    slow.finish()


@pytest.fixture
def warming(importing: Import, paths: Paths) -> WarmingEngine:
    engine = WarmingEngine(EngineOptions(), paths)
    engine.warm_up()
    return engine


class Reading(threading.Thread):
    """Somebody who waits for a job's end."""

    def __init__(self, engine: WarmingEngine, work: Work) -> None:
        super().__init__(daemon=True)
        self.events: list[EngineEvent] = []
        self._stream = engine.run(work)
        self.start()

    def run(self) -> None:
        self.events += self._stream

    def end(self) -> EngineEvent:
        self.join(PATIENCE)
        assert not self.is_alive()
        return self.events[-1]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def work() -> Work:
    return work_for(Path("any.safetensors"), steps=2)


def test_before_the_engine_is_there_calls_neither_wait_nor_fail(warming: WarmingEngine) -> None:
    began = time.monotonic()
    warming.cancel("nobody")
    warming.skip("nobody")
    warming.want_preview("nobody")
    assert warming.memory().ram_total > 0
    assert not warming.ready
    assert time.monotonic() - began < 10.0


def test_a_job_waits_for_the_engine_and_then_runs(warming: WarmingEngine, importing: Import, work: Work) -> None:
    reading = Reading(warming, work)
    reading.join(0.05)
    assert reading.is_alive()
    assert reading.events == []
    importing.finish()
    assert isinstance(reading.end(), Finished)
    assert importing.engine.drawn == [(work.job_id, 0)]
    assert warming.ready


def test_once_it_is_there_calls_are_passed_on(warming: WarmingEngine, importing: Import) -> None:
    importing.finish()
    assert warming.count_tokens("a b c") == (3, 75)
    assert warming.memory().ram_total == 2
    importing.engine.step_seconds = 0.01
    work = work_for(Path("any.safetensors"), steps=1000)
    reading = Reading(warming, work)
    wait_until(lambda: len(reading.events) > 1)
    warming.cancel(work.job_id)
    assert isinstance(reading.end(), Cancelled)


def test_cancelling_ends_a_jobs_wait_at_once(warming: WarmingEngine, importing: Import, work: Work) -> None:
    cancelled, other = Reading(warming, work), Reading(warming, work_for(Path("any.safetensors"), steps=2))
    while cancelled.is_alive():  # the wait may not have begun at the first try
        warming.cancel(work.job_id)
        cancelled.join(0.01)
    assert cancelled.events == [Cancelled()]
    assert other.is_alive()
    importing.finish()
    assert isinstance(other.end(), Finished)


def test_closing_ends_all_waits_and_the_engine_that_comes_too_late(warming: WarmingEngine, importing: Import, work: Work) -> None:
    reading = Reading(warming, work)
    warming.close()
    assert reading.end() == Cancelled()
    assert list(warming.run(work)) == [Cancelled()]
    importing.finish()
    assert importing.engine._closed.wait(PATIENCE)


def test_closing_an_engine_that_is_there_closes_it(warming: WarmingEngine, importing: Import) -> None:
    importing.finish()
    wait_until(lambda: warming.ready)
    warming.close()
    assert importing.engine._closed.is_set()


def test_closing_before_it_was_begun_ends_jobs(importing: Import, paths: Paths, work: Work) -> None:
    never_begun = WarmingEngine(EngineOptions(), paths)
    reading = Reading(never_begun, work)
    never_begun.close()
    assert reading.end() == Cancelled()


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (ImportError("libcudart.so.13: no such file"), Failed("The engine cannot start: libcudart.so.13: no such file", "ImportError")),
        (StartupError("There is no device 'cuda:7'."), Failed("There is no device 'cuda:7'.", "StartupError")),
    ],
)
def test_an_engine_that_cannot_start_fails_every_job_with_the_reason(
    warming: WarmingEngine, importing: Import, work: Work, error: Exception, failed: Failed
) -> None:
    early = Reading(warming, work)
    importing.finish(error)
    assert early.end() == failed
    assert list(warming.run(work)) == [failed]
    assert not warming.ready
    warming.cancel(work.job_id)
    assert warming.memory().ram_total > 0
    warming.close()


def test_importing_it_does_not_import_torch() -> None:
    program = "import sys, webui.engine.warmup; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'diffusers')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_real_engine_comes(paths: Paths) -> None:
    engine = WarmingEngine(EngineOptions(device="cpu"), paths)
    engine.warm_up()
    assert engine.count_tokens("a photo of a cat") == (5, 75)
    assert engine.ready
    engine.close()
