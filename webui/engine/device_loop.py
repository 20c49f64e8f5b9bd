"""The device loop: the only place that runs the UNet. Continuous batching: each tick it gathers what all running jobs want
evaluated, joins what has the same weights and shape into one forward pass, and sends every job its part.

Cancel and skip act here, between ticks, for each job apart.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import methodcaller

import torch

from webui.core.errors import ExtensionFailed, OutOfMemory, WebuiError
from webui.core.events import Cancelled, EngineEvent, Failed, Finished, ModelLoading
from webui.core.extension_points import NamedPatch
from webui.core.ports import Work
from webui.engine.device import is_out_of_memory, release_memory
from webui.engine.generate import SkipBatch, Story
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.rows import Answer, Rows, UNetCall, joined, run_unet

log = logging.getLogger(__name__)

FAIRNESS_SECONDS = 20.0
MAX_ROWS = 32


@dataclass(eq=False)
class Run:
    """One job in the loop.  tell: a job's outgoing events.   patches: what changes its UNet.   The flags are set from any thread."""

    work: Work
    tell: queue.SimpleQueue[EngineEvent]
    begin: Callable[[Pipeline], Story]
    patches: tuple[NamedPatch, ...] = ()
    arrived: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)
    skipped: threading.Event = field(default_factory=threading.Event)
    lease: ExitStack = field(default_factory=ExitStack)
    pipeline: Pipeline | None = None
    story: Story | None = None
    wish: UNetCall | None = None

    @property
    def model(self) -> Pipeline:
        """The one whose UNet it wishes to run."""
        assert self.wish is not None
        assert self.pipeline is not None
        return self.wish.model or self.pipeline

    @property
    def spec(self) -> PipelineSpec:
        """The weights it needs."""
        return PipelineSpec(self.work.checkpoint, self.work.vae, tuple(dict.fromkeys(self.work.controls.values())))

    @cached_property
    def company(self) -> Hashable:
        """Equal for jobs that may run at the same time: those that do not change the weights under each other at every tick."""
        # A job whose UNet is patched runs alone.
        alone = self.work.job_id if self.patches else None
        return self.spec, self.work.settings.tiling, self.work.tags, self.work.refiner, self.work.hires_model, alone


@dataclass(frozen=True)
class _Piece:
    """Rows of one run that stay together in a pass.  part: which of the run's rows;   first, last: which of them."""

    run: Run
    part: int
    first: int
    last: int

    @property
    def rows(self) -> Rows:
        assert self.run.wish is not None
        return self.run.wish.rows[self.part].part(self.first, self.last)

    def __len__(self) -> int:
        return self.last - self.first


class DeviceLoop:
    """A thread that runs jobs together on one device.

    deterministic: every picture has forward passes of its own, so that it cannot depend on its neighbours.
    passes: how many forward passes were made, for tests and measurements.
    """

    def __init__(self, pipelines: PipelineManager, *, deterministic: bool = False, max_rows: int = MAX_ROWS) -> None:
        self._pipelines = pipelines
        self._deterministic = deterministic
        self._max_rows = max_rows
        self._row_limits: dict[Hashable, int] = {}
        self._waiting: deque[Run] = deque()
        self._running: list[Run] = []
        self._wake = threading.Condition()
        self._closed = False
        self.passes = 0
        self._thread = threading.Thread(target=self._loop, name="device loop", daemon=True)
        self._thread.start()

    def submit(self, run: Run) -> None:
        """Take up a job; its events come through run.tell."""
        with self._wake:
            if self._closed:
                run.tell.put(Cancelled())
                return
            self._waiting.append(run)
            self._wake.notify()

    def nudge(self) -> None:
        """Look at the flags of waiting runs now."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """End all jobs as cancelled and stop the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    @torch.inference_mode()
    def _loop(self) -> None:
        try:
            while self._round():
                pass
        finally:  # also when a round fails in a way nobody thought of: no job may wait for a thread that is gone
            with self._wake:
                self._closed = True
            for run in [*self._running, *self._waiting]:
                self._end(run, Cancelled())

    def _round(self) -> bool:
        """Wait for something to do, and do one tick of it; False when the loop is closed."""
        with self._wake:
            while not self._closed and not self._running and not self._waiting:
                self._wake.wait()
            if self._closed:
                return False
            admitted = self._admissible()
        for run in admitted:
            self._begin(run)
        self._tick()
        return True

    def _admissible(self) -> list[Run]:
        """Waiting jobs that may start now: those of the weights in use. Another job's weights get their turn as soon as
        the running ones are done; it lets later jobs of the running weights pass only for a bounded time."""
        admitted: list[Run] = []
        company = self._running[0].company if self._running else None
        kept: deque[Run] = deque()
        while self._waiting:
            run = self._waiting.popleft()
            overdue = bool(kept) and time.monotonic() - kept[0].arrived > FAIRNESS_SECONDS
            if run.cancelled.is_set() or (not overdue and (company is None or run.company == company)):
                admitted.append(run)
                company = company or (None if run.cancelled.is_set() else run.company)
            else:
                kept.append(run)
        self._waiting = kept
        return admitted

    def _begin(self, run: Run) -> None:
        self._running.append(run)
        if run.cancelled.is_set():
            self._end(run, Cancelled())
            return
        try:
            if not self._pipelines.resident(run.spec):
                run.tell.put(ModelLoading(run.work.request.checkpoint))
            run.pipeline = run.lease.enter_context(self._pipelines.lease(run.spec))
            run.story = run.begin(_patched(run.pipeline, run, set()))
        except Exception as error:  # noqa: BLE001 - the border of the job; _fail logs what is not meant for the user
            self._fail(run, error)
            return
        self._advance(run, next)

    def _tick(self) -> None:
        """One round: flags, one answer for every running job, and each job on to its next wish."""
        for run in list(self._running):
            if run.cancelled.is_set():
                self._end(run, Cancelled())
            elif run.skipped.is_set():
                run.skipped.clear()
                self._advance(run, methodcaller("throw", SkipBatch()))
        for run, answer in self._answers(list(self._running)):
            if isinstance(answer, Exception):
                self._fail(run, answer)
            else:
                self._advance(run, methodcaller("send", answer))

    def _advance(self, run: Run, step: Callable[[Story], UNetCall | EngineEvent]) -> None:
        """Let a job go on until it wants the UNet again or ends, passing its events on."""
        assert run.story is not None
        try:
            item = step(run.story)
            while not isinstance(item, UNetCall):
                run.tell.put(item)
                if run.cancelled.is_set():
                    self._end(run, Cancelled())
                    return
                item = next(run.story)
            run.wish = item
        except StopIteration:
            self._end(run, Finished())
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(run, error)

    def _fail(self, run: Run, error: Exception) -> None:
        if is_out_of_memory(error):
            release_memory(self._pipelines.device.torch)
            error = OutOfMemory(f"out of memory: {error}. Make the picture or the batch smaller, or start with --medvram.")
        if run.patches and not isinstance(error, WebuiError):
            log.error("Job %s failed", run.work.job_id, exc_info=error)
            names = ", ".join(f"'{patch.extension}'" for patch in run.patches)
            error = ExtensionFailed(f"The model failed while extension {names} had changed it: {type(error).__name__}: {error}.")
        if isinstance(error, WebuiError):
            kind = "OutOfMemoryError" if isinstance(error, OutOfMemory) else type(error).__name__
            self._end(run, Failed(str(error), kind))
        else:
            log.error("Job %s failed", run.work.job_id, exc_info=error)
            self._end(run, Failed(f"Internal error: {type(error).__name__}: {error}", type(error).__name__))

    def _end(self, run: Run, event: EngineEvent) -> None:
        if run in self._running:
            self._running.remove(run)
        if run.story is not None:
            run.story.close()
        run.story = run.wish = run.pipeline = None
        run.lease.close()
        run.tell.put(event)

    def _answers(self, runs: Sequence[Run]) -> list[tuple[Run, Answer | Exception]]:
        """Evaluate every run's wish, sharing passes. A pass that fails is made again for each of its runs alone, so that
        only the guilty one fails."""
        outputs: dict[_Piece, torch.Tensor] = {}
        errors: dict[Run, Exception] = {}
        pieces = [piece for run in runs for piece in self._pieces(run)]
        for group in self._groups(pieces):
            try:
                outputs.update(self._evaluate(group))
            except Exception as error:  # noqa: BLE001 - as above
                sharing = list(dict.fromkeys(piece.run for piece in group))
                for run in sharing:
                    own = [piece for piece in group if piece.run is run]
                    if len(sharing) == 1:
                        errors[run] = error
                        continue
                    try:
                        outputs.update(self._evaluate(own))
                    except Exception as own_error:  # noqa: BLE001 - as above
                        errors[run] = own_error
        return [(run, errors[run] if run in errors else self._assemble(run, pieces, outputs)) for run in runs]

    def _pieces(self, run: Run) -> list[_Piece]:
        assert run.wish is not None
        pieces = []
        for part, rows in enumerate(run.wish.rows):
            step = 1 if self._deterministic else self._row_limit(_shape_key(run, rows))
            pieces += [_Piece(run, part, first, min(first + step, len(rows))) for first in range(0, len(rows), step)]
        return pieces

    def _groups(self, pieces: Sequence[_Piece]) -> list[list[_Piece]]:
        """Pieces that can share a pass, no more rows in each than the device takes."""
        groups: dict[Hashable, list[list[_Piece]]] = {}
        for piece in pieces:
            key = _shape_key(piece.run, piece.rows)
            alone = (piece.run, piece.rows.pictures[0]) if self._deterministic else None
            batches = groups.setdefault((key, alone), [[]])
            if batches[-1] and sum(map(len, batches[-1])) + len(piece) > self._row_limit(key):
                batches.append([])
            batches[-1].append(piece)
        return [batch for batches in groups.values() for batch in batches]

    def _row_limit(self, key: Hashable) -> int:
        return self._row_limits.get(key, self._max_rows)

    def _evaluate(self, pieces: Sequence[_Piece]) -> dict[_Piece, torch.Tensor]:
        model = pieces[0].run.model
        rows = [piece.rows for piece in pieces]
        output = self._forward(model, joined(rows), _shape_key(pieces[0].run, rows[0]))
        return dict(zip(pieces, output.split([len(one) for one in rows]), strict=True))

    def _forward(self, pipeline: Pipeline, rows: Rows, key: Hashable) -> torch.Tensor:
        """One pass; out of memory, several of half the rows, which is then the limit for this shape."""
        limit = self._row_limit(key)
        if len(rows) > limit:
            parts = [rows.part(first, first + limit) for first in range(0, len(rows), limit)]
            return torch.cat([self._forward(pipeline, part, key) for part in parts])
        self.passes += 1
        try:
            return run_unet(pipeline, rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise OutOfMemory(f"out of memory: not even one picture of this size fits ({error}). Make it smaller.") from None
        release_memory(self._pipelines.device.torch)
        self._row_limits[key] = (len(rows) + 1) // 2
        log.warning("Out of memory at %d pictures in a pass; going on with %d.", len(rows), self._row_limits[key])
        return self._forward(pipeline, rows, key)

    @staticmethod
    def _assemble(run: Run, pieces: Sequence[_Piece], outputs: dict[_Piece, torch.Tensor]) -> Answer:
        assert run.wish is not None
        own = [piece for piece in pieces if piece.run is run]
        return [torch.cat([outputs[piece] for piece in own if piece.part == part]) for part in range(len(run.wish.rows))]


def _patched(pipeline: Pipeline, run: Run, known: set[int]) -> Pipeline:
    """The pipeline with its UNet patched until the run ends, and so is each that comes to work beside it.

    known: the UNets that are patched already: a refiner and a hires fix may share one.
    """
    if not run.patches:
        return pipeline
    if id(pipeline.unet) not in known:
        known.add(id(pipeline.unet))
        for patch in run.patches:
            run.lease.enter_context(patch.enter(pipeline.unet))
    return replace(pipeline, beside=lambda spec: _patched(pipeline.beside(spec), run, known))


def _shape_key(run: Run, rows: Rows) -> Hashable:
    """What must be equal for rows to share a pass."""
    return id(run.model.unet), rows.kind
