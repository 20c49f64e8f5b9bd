"""The whole program as one object: builds every part once, owns it, and takes jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from webui.catalog.catalog import Catalog
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.images import decode_image
from webui.core.infotext_apply import Pasted, read_paste
from webui.core.metadata import PictureMetadata
from webui.core.metadata import read as read_metadata
from webui.core.paths import Paths
from webui.core.ports import Engine
from webui.core.prompt_preparation import PromptPreparation
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, SCHEDULES, Sampler, Schedule
from webui.core.settings_store import SettingsStore
from webui.core.styles import StyleStore
from webui.core.verdict import Verdict
from webui.core.wildcards import Wildcards
from webui.engine.warmup import EngineOptions, WarmingEngine
from webui.jobs.job import Job
from webui.jobs.outputs import Outputs
from webui.jobs.queue import JobQueue
from webui.jobs.verify import Claim, Verifications
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
        self.styles = StyleStore((paths.styles,))
        self._prompts = PromptPreparation(self.styles, Wildcards(paths.wildcards))
        self._verifications = Verifications()
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
        styles: Sequence[str] = (),
        save: bool | None = None,
        source: str = "api",
        job_id: str | None = None,
    ) -> Job:
        """Queue a job.

        overrides: settings for this job alone.   styles: names of stored styles to put around the prompts; unknown ones are
        remarked on.   save: keep the pictures in outputs/ (None: as the settings say).
        source: who asks ("ui", "api", ...), shown in the queue.   Raises InvalidRequest, NotFound, QueueFull.
        """
        settings = self.settings.snapshot().changed(overrides or {})
        request, remarks = self._prompts.prepare(request, settings, styles)
        request = self.host.change_request(request).with_real_seed()
        request, more = self._prompts.draw_wildcards(request, settings)
        asked = request.checkpoint
        checkpoint = self.catalog.find_checkpoint(asked or settings.sd_model_checkpoint, closest=bool(asked))
        vae = request.vae or settings.sd_vae
        self.catalog.find_vae(vae, checkpoint)
        request = request.changed(checkpoint=checkpoint.name, vae=vae)
        wants_saving = settings.samples_save if save is None else save
        return self.queue.submit(request, settings, job_id=job_id, source=source, save=wants_saving, remarks=(*remarks, *more))

    def read_paste(self, source: str | PictureMetadata) -> Pasted:
        """What an infotext or a picture that was read would change; its models are looked up here by hash, else by name."""
        return read_paste(source, find_checkpoint=self._checkpoint_name, find_vae=self._vae_name)

    def verify(self, data: bytes, *, source: str = "ui") -> Job:
        """Draw a picture file again, unsaved, from what it says of itself; when the job has ended, `verdict` compares.

        Raises InvalidRequest when the picture cannot be read or says nothing of how it was made, and what `submit` raises.
        """
        metadata = read_metadata(data)
        if not metadata.infotext and metadata.record is None:
            raise InvalidRequest("This picture says nothing of how it was made, so it cannot be drawn again. Choose another one.")
        pasted = self.read_paste(metadata)
        request = GenerationRequest().changed(**pasted.request_changes)
        claim = Claim(decode_image(data), metadata)
        job = self.submit(request, overrides=pasted.settings_changes, save=False, source=source)
        self._verifications.add(job.id, claim)
        return job

    def verdict(self, job_id: str) -> Verdict | None:
        """How near a verified picture came; None while it is being drawn, or when it could not be.  Raises NotFound."""
        job = self.queue.job(job_id)
        pictures = job.result.pictures if job.result else ()
        return self._verifications.verdict(job_id, pictures[0]) if pictures else None

    def _checkpoint_name(self, name: str) -> str | None:
        try:
            return self.catalog.find_checkpoint(name, closest=False).name
        except WebuiError:
            return None

    def _vae_name(self, name: str) -> str | None:
        try:
            vae = self.catalog.find_vae(name, self.catalog.find_checkpoint("", closest=True))
        except WebuiError:
            return None
        return vae.name if vae else name

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
