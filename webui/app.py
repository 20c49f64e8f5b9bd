"""The whole program as one object: builds every part once, owns it, and takes jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from webui.catalog.catalog import Catalog
from webui.core.paths import Paths
from webui.core.ports import Engine
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, SCHEDULES, Sampler, Schedule
from webui.core.settings import SettingsStore
from webui.engine.warmup import EngineOptions, WarmingEngine
from webui.jobs.job import Job
from webui.jobs.outputs import Outputs
from webui.jobs.queue import JobQueue
from webui.plugins.host import Host

__all__ = ["App", "Job"]

log = logging.getLogger(__name__)


class App:
    """Owner of settings, catalog, engine, queue and extensions. `api` and `ui` talk to this and nothing behind it.

    engine: another engine than the local one, for tests and remote machines.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        command_line_settings: Mapping[str, Any] | None = None,
        engine_options: EngineOptions | None = None,
        engine: Engine | None = None,
        safe_mode: bool = False,
        hashing: bool = True,
    ) -> None:
        self.paths = paths
        self.settings = SettingsStore(paths.config, command_line_settings)
        self.catalog = Catalog(paths, hashing=hashing)
        self.engine = engine or WarmingEngine(engine_options or EngineOptions(), paths)
        self.host = Host(paths.extensions, safe_mode=safe_mode)
        self.outputs = Outputs(paths, paths.state / "queue.sqlite")
        self.queue = JobQueue(paths.state / "queue.sqlite", self.engine, self.outputs, self.catalog, self.host)

    def start(self) -> None:
        """Find models, load extensions, warm the engine up in the background, and take up the queue where it was left."""
        self.catalog.refresh()
        self.host.load()
        if isinstance(self.engine, WarmingEngine):
            self.engine.warm_up()
        self.queue.start()
        self.catalog.start_hashing()

    def close(self) -> None:
        """Put running jobs back into the queue, stop the engine, close files. Idempotent."""
        self.queue.close()
        self.engine.close()
        self.catalog.close()
        self.outputs.close()

    def submit(
        self,
        request: GenerationRequest,
        *,
        overrides: Mapping[str, Any] | None = None,
        save: bool | None = None,
        source: str = "api",
        job_id: str | None = None,
    ) -> Job:
        """Queue a job.

        overrides: settings for this job alone.   save: keep the pictures in outputs/ (None: as the settings say).
        source: who asks ("ui", "api", ...), shown in the queue.   Raises InvalidRequest, NotFound, QueueFull.
        """
        settings = self.settings.snapshot().changed(overrides or {})
        request = self.host.change_request(request).with_real_seed()
        asked = request.checkpoint
        checkpoint = self.catalog.find_checkpoint(asked or settings.sd_model_checkpoint, closest=bool(asked))
        vae = request.vae or settings.sd_vae
        self.catalog.find_vae(vae, checkpoint)
        request = request.changed(checkpoint=checkpoint.name, vae=vae)
        wants_saving = settings.samples_save if save is None else save
        return self.queue.submit(request, settings, job_id=job_id, source=source, save=wants_saving)

    @property
    def engine_ready(self) -> bool:
        """Whether the engine answers at once; before that, asking it something waits for it."""
        return not isinstance(self.engine, WarmingEngine) or self.engine.ready

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        """Every sampling method, in the order they are shown."""
        return SAMPLERS

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Every schedule type, in the order they are shown."""
        return SCHEDULES
