"""The engine before torch is there: takes calls at once, imports torch in the background, then passes them on."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from PIL.Image import Image

from webui.core.errors import WebuiError
from webui.core.events import Cancelled, EngineEvent, Failed
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.interrogation import Tag, Tagger
from webui.core.new_hypernetwork import NewHypernetwork
from webui.core.paths import Paths
from webui.core.ports import AnnotationOptions, AnyWork, EmbeddingFacts, Engine, MemoryUse
from webui.core.request import GenerationRequest
from webui.core.setting_parts.interrogation import InterrogationSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineOptions:
    """How the command line wants the engine.

    device: "auto", "cpu", "cuda:1", "mps".   precision: "auto", "half" or "full".   memory: "normal", "medvram" or "lowvram".
    deterministic: never share a forward pass between pictures, so that a picture cannot depend on its neighbours.
    """

    device: str = "auto"
    precision: str = "auto"
    vae_precision: str = "auto"
    memory: str = "normal"
    deterministic: bool = False


class WarmingEngine:
    """Stands for the local engine from the first moment, so that pages are served while torch is still being imported.

    The import is inside a function here, against the rule, because deferring it is what this class is for.
    """

    def __init__(self, options: EngineOptions, paths: Paths, hooks: EngineHooks = NO_ENGINE_HOOKS) -> None:
        self._options = options
        self._paths = paths
        self._hooks = hooks
        self._engine: Future[Engine] = Future()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[str, Future[None]] = {}
        self._thread = threading.Thread(target=self._build, name="engine warm-up", daemon=True)

    def warm_up(self) -> None:
        """Begin importing and building the engine; returns at once."""
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the engine is there."""
        return self._ready() is not None

    @property
    def device(self) -> str:
        """The engine's, once it is there."""
        engine = self._ready()
        return engine.device if engine else ""

    def run(self, work: AnyWork) -> Iterator[EngineEvent]:
        """Wait for the engine, then draw. Cancelling ends the wait; an engine that cannot start fails the job."""
        if self._must_stop_waiting(work.job_id):
            yield Cancelled()
        elif error := self._engine.exception():
            yield Failed(str(error) if isinstance(error, WebuiError) else f"The engine cannot start: {error}", type(error).__name__)
        else:
            yield from self._engine.result().run(work)

    def cancel(self, job_id: str) -> None:
        """Pass on, or end the job's wait for the engine."""
        if engine := self._ready():
            engine.cancel(job_id)
        with self._lock:
            self._stop_waiting([job_id])

    def skip(self, job_id: str) -> None:
        """Pass on."""
        if engine := self._ready():
            engine.skip(job_id)

    def want_preview(self, job_id: str) -> None:
        """Pass on."""
        if engine := self._ready():
            engine.want_preview(job_id)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """Wait for the engine, then count."""
        return self._engine.result().count_tokens(text)

    def annotate(self, module: str, picture: Image, options: AnnotationOptions) -> Image:
        """Wait for the engine, then do it."""
        return self._engine.result().annotate(module, picture, options)

    def depth_of(self, picture: Image, request: GenerationRequest, checkpoint: Path, model: Path | None) -> Image:
        """Wait for the engine, then do it."""
        return self._engine.result().depth_of(picture, request, checkpoint, model)

    def unload(self) -> None:
        """Pass on; before the engine is there, nothing is loaded."""
        if engine := self._ready():
            engine.unload()

    def preload(self, checkpoint: Path, vae: Path | None) -> None:
        """Wait for the engine, then do it."""
        self._engine.result().preload(checkpoint, vae)

    def token_vectors(self, text: str, checkpoint: Path) -> Mapping[str, Any]:
        """Wait for the engine, then read."""
        return self._engine.result().token_vectors(text, checkpoint)

    def embedding_facts(self, path: Path) -> EmbeddingFacts:
        """Wait for the engine, then read."""
        return self._engine.result().embedding_facts(path)

    def write_hypernetwork(self, wish: NewHypernetwork, name: str, file: Path) -> None:
        """Wait for the engine, then write."""
        self._engine.result().write_hypernetwork(wish, name, file)

    def caption(self, picture: Image, folder: Path, settings: InterrogationSettings) -> str:
        """Wait for the engine, then describe."""
        return self._engine.result().caption(picture, folder, settings)

    def tags(self, picture: Image, tagger: Tagger) -> tuple[Tag, ...]:
        """Wait for the engine, then tag."""
        return self._engine.result().tags(picture, tagger)

    def memory(self) -> MemoryUse:
        """The machine's memory; the device's too once the engine is there."""
        if engine := self._ready():
            return engine.memory()
        ram = psutil.virtual_memory()
        return MemoryUse(ram_free=ram.available, ram_used=psutil.Process().memory_info().rss, ram_total=ram.total)

    def close(self) -> None:
        """Stop the engine, or never let it begin."""
        with self._lock:
            self._closed.set()
            self._stop_waiting(list(self._waiting))
        if engine := self._ready():
            engine.close()

    def _must_stop_waiting(self, job_id: str) -> bool:
        """Wait until the engine is there, or cannot be, or the job shall end before; whether it shall."""
        stop: Future[None] = Future()
        with self._lock:
            if self._closed.is_set():
                return True
            self._waiting[job_id] = stop
        either: tuple[Future[Any], ...] = (self._engine, stop)
        wait(either, return_when=FIRST_COMPLETED)
        with self._lock:
            self._waiting.pop(job_id, None)
        return stop.done()

    def _stop_waiting(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            if stop := self._waiting.pop(job_id, None):
                stop.set_result(None)

    def _ready(self) -> Engine | None:
        return self._engine.result() if self._engine.done() and not self._engine.exception() else None

    def _build(self) -> None:
        started = time.perf_counter()
        try:
            module = importlib.import_module("webui.engine.engine")
            self._engine.set_result(module.LocalEngine(self._options, self._paths, self._hooks))
        except Exception as error:
            log.exception("The engine cannot start")
            self._engine.set_exception(error)
            return
        log.info("engine ready in %.1f s", time.perf_counter() - started)
        if self._closed.is_set():
            self._engine.result().close()
