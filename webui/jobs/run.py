"""Running one job: the engine's events become the job's log, its pixels become files."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from webui.catalog.catalog import Catalog, Checkpoint, ModelFile
from webui.core.errors import WebuiError
from webui.core.events import (
    TERMINAL,
    Annotated,
    Cancelled,
    ControlReady,
    Drawn,
    EngineEvent,
    Failed,
    Finished,
    ImageReady,
    Remark,
)
from webui.core.extras import ExtrasRequest, as_drawing
from webui.core.hook_ports import Hooks
from webui.core.ports import AnyWork, Engine, ExtrasWork, NetworkFile, OtherModel, Work
from webui.core.request import GenerationRequest
from webui.core.result import ADDED, GenerationResult
from webui.core.styles import StyleStore
from webui.core.web import Web
from webui.jobs.batch_grid import paste_grid, place_of_grid, wants_grid
from webui.jobs.controls import find_controls
from webui.jobs.finishing import Finishing
from webui.jobs.inputs import InputPictures
from webui.jobs.job import Job
from webui.jobs.networks import find_networks
from webui.jobs.outputs import ModelsUsed, Outputs

log = logging.getLogger(__name__)

HASH_LENGTH = 10


@dataclass(frozen=True)
class Surroundings:
    """What a run needs of the rest of the program."""

    engine: Engine
    outputs: Outputs
    catalog: Catalog
    hooks: Hooks
    inputs: InputPictures
    styles: StyleStore
    web: Web = field(default_factory=Web)


class Run:
    """One job while this process draws it.

    wants_cancel: somebody wants the job to end.   is_interrupted: the program closes, and the job shall go on at the next start.
    """

    def __init__(self, job: Job, around: Surroundings, *, wants_cancel: bool = False) -> None:
        self.job = job
        self.wants_cancel = wants_cancel
        self.is_interrupted = False
        self.seconds = 0.0
        self._around = around
        self._models: ModelsUsed | None = None
        self._files: tuple[Checkpoint, ModelFile | None] | None = None
        self._networks: tuple[NetworkFile, ...] = ()

    def cancel(self) -> None:
        """End the job."""
        self.wants_cancel = True
        self._around.engine.cancel(self.job.id)

    def interrupt(self) -> None:
        """Stop drawing; the job is not ended."""
        self.is_interrupted = True
        self._around.engine.cancel(self.job.id)

    def execute(self) -> Finished | Cancelled | Failed:
        """Draw until the job's end; how it ended, without a result. Never raises: this is the border of the job worker."""
        began = time.monotonic()
        try:
            end = self._draw()
            if not isinstance(end, Failed) and not self.is_interrupted and isinstance(self.job.request, GenerationRequest):
                self._add_pictures(self.job.request)
            return end
        except WebuiError as error:
            log.warning("Job %r failed: %s", self.job.id, error)
            return Failed(str(error), type(error).__name__)
        except Exception as error:
            log.exception("Job %r failed", self.job.id)
            return Failed(f"Internal error: {type(error).__name__}: {error}", type(error).__name__)
        finally:
            self.seconds = time.monotonic() - began

    def _draw(self) -> Finished | Cancelled | Failed:
        job = self.job
        if self._must_stop():
            return Cancelled()
        done = self._done()
        is_drawn = len(done) == job.request.images
        if isinstance(job.request, ExtrasRequest):
            return Finished() if is_drawn else self._through_engine(self._extras(job.request, done))
        request = as_drawing(job.request)
        end: Finished | Cancelled | Failed = Finished()
        if not is_drawn:
            self._around.hooks.before_job(job.id, request)
            end = self._through_engine(self._drawing(request, done))
        if not isinstance(end, Failed) and not self.is_interrupted:
            self._give_grid(request)
        return end

    def _give_grid(self, request: GenerationRequest) -> None:
        """A picture of all pictures of the job, where one is wanted and not there yet. Its text is that of the first."""
        outputs, settings = self._around.outputs, self.job.settings
        if not request.make_grid:
            return
        there = outputs.pictures_of(self.job.id)
        pictures = [picture for picture in there if 0 <= picture.index < request.images]
        if not wants_grid(request, settings, len(pictures)) or any(picture.index < 0 for picture in there):
            return
        try:
            # Without files an earlier run has drawn them all.
            models = self._describe(*self._files) if self._files else self._models_of(request)
            grid = Drawn(0, paste_grid(pictures, request.batch_size, settings), request)
            job = replace(self.job, save=self.job.save and settings.grid_save)
            picture = outputs.save(job, grid, models, place=place_of_grid(settings), infotext=pictures[0].infotext)
        except (OSError, WebuiError) as error:
            # The pictures are there, and worth more than what shows them together.
            self.job.log.append(Remark(f"No grid was made: {error}"))
            return
        self.job.log.append(ImageReady(picture))
        self._around.hooks.picture_saved(picture)

    def _through_engine(self, work: AnyWork) -> Finished | Cancelled | Failed:
        """Let the engine do it, telling what it tells; how it ended."""
        job = self.job
        finishing = Finishing(work, self._around.hooks)
        events = self._around.engine.run(work)
        try:
            for event in events:
                if self._must_stop():
                    # Again: the first call may have come before the engine knew the job.
                    self._around.engine.cancel(job.id)
                if isinstance(event, Failed):
                    log.warning("Job %r failed: %s", job.id, event.message)
                if isinstance(event, TERMINAL):
                    for drawn in finishing.rest():
                        self._tell(drawn)
                    return event
                for told in finishing.take(event):
                    self._tell(told)
        except BaseException:
            self._around.engine.cancel(job.id)
            raise
        finally:
            if isinstance(events, Generator):
                events.close()
        raise RuntimeError("the engine stopped without saying how the job ended")

    def _drawing(self, request: GenerationRequest, done: frozenset[int]) -> Work:
        """What the engine needs to draw; what is found on the way is kept for the pictures' texts."""
        job, catalog = self.job, self._around.catalog
        checkpoint = catalog.find_checkpoint(request.checkpoint or job.settings.sd_model_checkpoint, closest=False)
        vae = catalog.find_vae(request.vae or job.settings.sd_vae, checkpoint)
        self._networks, remarks = find_networks(request, catalog, self._around.hooks.knows_network)
        for remark in remarks:
            job.log.append(Remark(remark))
        self._files = (checkpoint, vae)
        restorers = [job.settings.face_restoration_model] if job.settings.face_restoration else []
        return Work(
            job.id,
            request,
            job.settings,
            checkpoint.path,
            vae.path if vae else None,
            done,
            self._networks,
            self._around.inputs.files_of(request),
            refiner=self._successor(request.refiner_checkpoint, checkpoint),
            hires_model=self._successor(request.hr_checkpoint, checkpoint),
            depth_model=catalog.depth_model(),
            controls=find_controls(request, catalog),
            upscalers=catalog.upscalers.by_name,
            faces=catalog.face_files(restorers),
        )

    def _successor(self, name: str, checkpoint: Checkpoint) -> OtherModel | None:
        """A checkpoint that takes over on the way; none where that is the job's own."""
        job, catalog = self.job, self._around.catalog
        other = catalog.find_checkpoint(name, closest=False) if name else checkpoint
        if other.path == checkpoint.path or not isinstance(job.request, GenerationRequest):
            return None
        vae = catalog.find_vae(job.request.vae or job.settings.sd_vae, other)
        hashed = self._short_hash(other)
        return OtherModel(other.path, vae.path if vae else None, f"{other.stem} [{hashed}]" if hashed else other.stem)

    def _extras(self, request: ExtrasRequest, done: frozenset[int]) -> ExtrasWork:
        catalog = self._around.catalog
        upscalers = {name: catalog.upscalers.find(name) for name in request.upscalers}
        pictures = self._around.inputs.files_of(request)
        return ExtrasWork(self.job.id, request, self.job.settings, done, pictures, upscalers, catalog.face_files(request.face_restorers))

    def _done(self) -> frozenset[int]:
        """Which of the request's pictures an earlier run has saved."""
        images = self.job.request.images
        return frozenset(index for index in self._around.outputs.indices_of(self.job.id) if 0 <= index < images)

    def _add_pictures(self, request: GenerationRequest) -> None:
        """Save what extensions add to a drawn job; what an earlier run has saved of it is kept."""
        saved = self._around.outputs.pictures_of(self.job.id)
        drawn = GenerationResult(request, tuple(picture for picture in saved if 0 <= picture.index < ADDED), seconds=self.seconds)
        if not drawn.pictures:
            return
        known = {picture.index for picture in saved}
        for place, one in enumerate(self._around.hooks.postprocess(drawn, self.job.settings), ADDED):
            if place not in known:
                models = self._models_of(one.request)
                picture = self._around.outputs.save(self.job, Drawn(0, one.image, one.request), models, place=place, infotext=one.infotext)
                self.job.log.append(ImageReady(picture))
                self._around.hooks.picture_saved(picture)

    def _models_of(self, request: GenerationRequest) -> ModelsUsed:
        """What draws a request, for a picture that is given and not drawn."""
        catalog = self._around.catalog
        checkpoint = catalog.find_checkpoint(request.checkpoint or self.job.settings.sd_model_checkpoint, closest=False)
        self._networks = find_networks(request, catalog)[0]
        return self._describe(checkpoint, catalog.find_vae(request.vae or self.job.settings.sd_vae, checkpoint))

    def _must_stop(self) -> bool:
        return self.wants_cancel or self.is_interrupted

    def _tell(self, event: EngineEvent) -> None:
        if isinstance(event, Annotated):
            self.job.log.append(ControlReady(event.unit, self._around.inputs.add(event.image)))
            return
        if not isinstance(event, Drawn):
            self.job.log.append(event)
            return
        if self._models is None:
            self._models = self._describe(*self._files) if self._files else ModelsUsed("", device=self._around.engine.device)
        picture = self._around.outputs.save(self.job, event, self._models)
        self.job.log.append(ImageReady(picture))
        self._around.hooks.picture_saved(picture)

    def _describe(self, checkpoint: Checkpoint, vae: ModelFile | None) -> ModelsUsed:
        return ModelsUsed(
            model_name=checkpoint.stem,
            model_hash=self._short_hash(checkpoint),
            vae_name=vae.path.name if vae else None,
            vae_hash=self._short_hash(vae) if vae else None,
            networks=self._networks,
            device=self._around.engine.device,
            extension_settings=self._around.hooks.recorded_settings(self.job.settings),
        )

    def _short_hash(self, file: ModelFile) -> str | None:
        if not self.job.settings.add_model_hash_to_info:
            return None
        try:
            return self._around.catalog.sha256(file)[:HASH_LENGTH] or None
        except WebuiError as error:
            # The model's file is gone since it was loaded. The picture is drawn, and worth more than its hash.
            log.warning("Job %r: %s Its pictures are saved without the model's hash.", self.job.id, error)
            return None
