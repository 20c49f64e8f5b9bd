"""A device loop with its models, and short ways to give it jobs and look at what comes back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from transformers import CLIPTokenizer

from webui.core.events import TERMINAL, Drawn, EngineEvent, Finished
from webui.core.ports import Work
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.engine.annotators import Annotators
from webui.engine.control_pictures import control_pictures
from webui.engine.device import Device
from webui.engine.device_loop import DeviceLoop, Run
from webui.engine.generate import Story, Tools, generate
from webui.engine.pipeline_manager import Pipeline, PipelineManager

GIGABYTE = 2**30
PATIENCE = 120.0

_numbers = count()


def work_for(checkpoint: Path, *, vae: Path | None = None, done: frozenset[int] = frozenset(), **wishes: Any) -> Work:
    """A small job: 64x64, Euler, 4 steps, seed 7, unless wished otherwise. Settings' names are taken as settings."""
    settings = Settings().changed({key: wishes.pop(key) for key in set(wishes) & set(Settings.model_fields)})
    usual = {"prompt": "a cat", "width": 64, "height": 64, "steps": 4, "sampler": "Euler", "seed": 7, "checkpoint": checkpoint.name}
    request = GenerationRequest(**usual | wishes)
    return Work(f"job {next(_numbers)}", request, settings, checkpoint, vae, done)


def pictures(events: Sequence[EngineEvent]) -> dict[int, np.ndarray]:
    """What was drawn, by index, as (H, W, 3) whole numbers."""
    return {event.index: np.asarray(event.image).astype(int) for event in events if isinstance(event, Drawn)}


class Studio:
    """A device loop and the pipeline manager it draws with.  budget: bytes of models that nobody uses just now."""

    def __init__(self, device: Device, tokenizer: CLIPTokenizer, *, deterministic: bool = False, budget: int = GIGABYTE) -> None:
        self.pipelines = PipelineManager(device, budget)
        self.loop = DeviceLoop(self.pipelines, deterministic=deterministic)
        self.annotators = Annotators(Path("nowhere"), device.torch)
        self._tokenizer = tokenizer

    def submit(self, work: Work, begin: Callable[[Pipeline], Story] | None = None) -> Run:
        """Hand a job in."""
        followed = {(one.unit, one.source): one for one in control_pictures(work, self.annotators.annotate)}
        tools = lambda pipeline: replace(self.tools(pipeline), control_pictures=followed)  # noqa: E731
        run = Run(work, queue.SimpleQueue(), begin or (lambda pipeline: generate(work, tools(pipeline))))
        self.loop.submit(run)
        return run

    def tools(self, pipeline: Pipeline) -> Tools:
        """For a story: nobody looks at previews."""
        return Tools(pipeline, self._tokenizer, lambda: None)

    def draw(self, work: Work) -> list[EngineEvent]:
        """Do one job."""
        return events_of(self.submit(work))

    def pictures(self, work: Work) -> dict[int, np.ndarray]:
        """Do one job that must succeed."""
        events = self.draw(work)
        assert isinstance(events[-1], Finished), events[-1]
        return pictures(events)

    def draw_together(self, *works: Work) -> list[list[EngineEvent]]:
        """Do jobs that all are there before the first begins."""
        with self.busy(works[0]):
            runs = [self.submit(work) for work in works]
        return [events_of(run) for run in runs]

    @contextmanager
    def busy(self, work: Work) -> Iterator[None]:
        """Keep the loop at the beginning of a job that draws nothing, with the weights of `work`."""
        entered, leave = threading.Event(), threading.Event()

        def stand_still(_: Pipeline) -> Story:
            entered.set()
            assert leave.wait(PATIENCE)
            return (call for call in ())

        blocker = self.submit(replace(work, job_id="blocker"), stand_still)
        assert entered.wait(PATIENCE)
        try:
            yield
        finally:
            leave.set()
        events_of(blocker)

    def close(self) -> None:
        """Stop the loop."""
        self.loop.close()


def events_of(run: Run) -> list[EngineEvent]:
    """All events of a job, to its end."""
    events: list[EngineEvent] = []
    while not (events and isinstance(events[-1], TERMINAL)):
        events.append(run.tell.get(timeout=PATIENCE))
    return events
