"""Running a job that has a script: the script says what to draw, one request after another, and is sent what was drawn.

A picture that an earlier run has saved is sent to the script as it lies on the disk and is not drawn again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from PIL import Image

from webui.core.errors import InvalidRequest, WebuiError
from webui.core.events import Cancelled, Drawn, EngineEvent, Failed, Finished, ImageReady, Progress, Remark
from webui.core.extras import ExtrasRequest, SourcePicture, as_drawing
from webui.core.images import decode_image
from webui.core.model_jobs import MergeRequest, ModelRequest
from webui.core.ports import ExtrasWork
from webui.core.request import SEED_LIMIT, GenerationRequest
from webui.core.result import NOT_SHOWN, Picture
from webui.core.scripts import Draw, DrawFailed, DrawingEnded, Give, Plan, Shot, Steps, Tell
from webui.core.settings import Settings
from webui.core.upscalers import NO_UPSCALER
from webui.jobs.describing import describe
from webui.jobs.downloading import DownloadRun
from webui.jobs.job import Job
from webui.jobs.merging import MergeRun
from webui.jobs.outputs import ModelsUsed
from webui.jobs.run import Run, Surroundings
from webui.jobs.settling import settle


def run_of(job: Job, around: Surroundings, *, wants_cancel: bool = False) -> Run:
    """What runs this job."""
    request = job.request
    kind: type[Run] = ScriptRun if isinstance(request, GenerationRequest) and request.script else Run
    if isinstance(request, ModelRequest):
        kind = MergeRun if isinstance(request, MergeRequest) else DownloadRun
    return kind(job, around, wants_cancel=wants_cancel)


class ScriptDesk:
    """What scripts may ask of the program; an implementation of `webui.core.scripts.Desk`."""

    def __init__(self, around: Surroundings, settings: Settings, job_id: str = "") -> None:
        self._around = around
        self._settings = settings
        self._job_id = job_id

    @property
    def settings(self) -> Settings:
        """The job's."""
        return self._settings

    def open(self, name: str) -> Image.Image:
        """A stored picture.  Raises InvalidRequest."""
        return self._around.inputs.open(name)

    def keep(self, image: Image.Image) -> str:
        """Store a picture; its name."""
        return self._around.inputs.add(image)

    def describe(self, image: Image.Image, model: str) -> str:
        """In words.  Raises NotFound."""
        around = self._around
        return describe(image, model, engine=around.engine, models=around.catalog.paths.models, settings=self._settings)

    def checkpoints(self) -> tuple[str, ...]:
        """By name."""
        return tuple(checkpoint.name for checkpoint in self._around.catalog.checkpoints())

    def find_checkpoint(self, name: str) -> str:
        """Its name as requests say it.  Raises UnknownName."""
        return self._around.catalog.find_checkpoint(name).name

    def vaes(self) -> tuple[str, ...]:
        """By name."""
        return ("Automatic", "None", *(vae.name for vae in self._around.catalog.vaes()))

    def find_vae(self, name: str) -> str:
        """Its name as requests say it.  Raises UnknownName."""
        usual = {"auto": "Automatic", "automatic": "Automatic", "none": "None"}.get(name.lower())
        if usual:
            return usual
        catalog = self._around.catalog
        vae = catalog.find_vae(name, catalog.find_checkpoint(""))
        return vae.name if vae else "None"

    def loras(self) -> tuple[str, ...]:
        """By the name that a prompt says."""
        return tuple(lora.stem for lora in self._around.catalog.loras())

    def find_lora(self, name: str) -> str:
        """The name as given.  Raises NotFound."""
        self._around.catalog.find_lora(name)
        return name

    def styles(self) -> tuple[str, ...]:
        """By name."""
        return tuple(style.name for style in self._around.styles.styles())

    def upscalers(self) -> tuple[str, ...]:
        """By name."""
        return tuple(self._around.catalog.upscalers.by_name)

    def find_upscaler(self, name: str) -> str:
        """Its name as it is listed.  Raises UnknownName."""
        return self._around.catalog.upscalers.find(name).name

    def enlarge(self, image: Image.Image, upscaler: str, width: int, height: int) -> Image.Image:
        """The picture at this size, made by the engine as in the Extras tab.  Raises DrawingEnded, DrawFailed."""
        if upscaler == NO_UPSCALER:
            return image
        source = SourcePicture(image=self.keep(image), width=image.width, height=image.height)
        request = ExtrasRequest(pictures=(source,), resize_mode="Scale to", width=width, height=height, upscaler_1=upscaler)
        found = {upscaler: self._around.catalog.upscalers.find(upscaler)}
        pictures = self._around.inputs.files_of(request)
        work = ExtrasWork(self._job_id, request, self._settings, pictures=pictures, upscalers=found)
        enlarged: Image.Image | None = None
        for event in self._around.engine.run(work):  # to its end, so that the engine is free for the next
            if isinstance(event, Drawn):
                enlarged = event.image
            elif isinstance(event, Failed):
                raise DrawFailed(event.message, event.kind)
        if enlarged is None:
            raise DrawingEnded
        return enlarged


class ScriptRun(Run):
    """One job with a script while this process draws it."""

    def __init__(self, job: Job, around: Surroundings, *, wants_cancel: bool = False) -> None:
        super().__init__(job, around, wants_cancel=wants_cancel)
        self._saved: dict[int, Picture] = {}
        self._shown = self._aside = self._grids = 0
        self._meter = _Meter(Plan(1, 1, 1))
        self._plan = Plan(1, 1, 1)

    def _draw(self) -> Finished | Cancelled | Failed:
        request = as_drawing(self.job.request)
        script = self._around.hooks.find_script(request.script)
        arguments = script.read(request.script_args)
        desk = ScriptDesk(self._around, self.job.settings, self.job.id)
        self._plan = script.plan(request, arguments, desk)
        self._meter = _Meter(self._plan)
        self._saved = {picture.index: picture for picture in self._around.outputs.pictures_of(self.job.id)}
        steps = script.run(request, arguments, desk)
        try:
            return self._follow(steps)
        finally:
            steps.close()

    def _follow(self, steps: Steps) -> Finished | Cancelled | Failed:
        """Do what the script yields until it ends. Once the job is ended it may still give pictures, but draws nothing more."""
        end: Finished | Cancelled = Finished()
        resume: Callable[[], Draw | Give | Tell] = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration:
                return end
            except DrawingEnded:
                return Cancelled()
            except DrawFailed as error:
                return Failed(str(error), error.kind)
            try:
                resume = partial(steps.send, self._do(step))
            except DrawingEnded as error:
                if self.is_interrupted or isinstance(end, Cancelled):
                    return Cancelled()
                end, resume = Cancelled(), partial(steps.throw, error)
            except DrawFailed as error:
                resume = partial(steps.throw, error)

    def _do(self, step: Draw | Give | Tell) -> Sequence[Shot]:
        if isinstance(step, Tell):
            self.job.log.append(Remark(step.text))
            return ()
        if isinstance(step, Give):
            self._give(step)
            return ()
        return self._shoot(step)

    def _shoot(self, draw: Draw) -> Sequence[Shot]:
        """Draw one request.  Raises DrawingEnded and DrawFailed, for the script to hear."""
        try:
            part = _Part(self._job_of(draw), self._around, self, draw, self._place_of(draw))
        except WebuiError as error:
            raise DrawFailed(str(error), type(error).__name__) from error
        count = part.job.request.images
        places = range(part.first, part.first + count)
        missing = [place for place in places if place not in self._saved]
        try:
            if missing and self._must_stop():
                raise DrawingEnded(self._shots(places))
            end: object = part.draw() if missing else Finished()
        except WebuiError as error:
            raise DrawFailed(str(error), type(error).__name__) from error
        finally:
            self._meter.done(as_drawing(part.job.request), count - len(missing))
        if isinstance(end, Failed):
            raise DrawFailed(end.message, end.kind)
        if isinstance(end, Cancelled):
            raise DrawingEnded(self._shots(places))
        return self._shots(places)

    def _job_of(self, draw: Draw) -> Job:
        """The job as if it were this request alone, its prompts prepared and its files found as those of any other job."""
        first = self._place_of(draw)
        settings = self.job.settings.changed(draw.settings)
        asked = as_drawing(self.job.request)
        request = _seeded(draw.request.without_script().changed(make_grid=False), f"{asked.seed} {draw.request.prompt} {first}")
        request = self._around.hooks.begin(request, settings)
        request, remarks = self._around.hooks.prepare(request, settings, (*asked.script_styles, *draw.styles))
        request = self._around.hooks.settle(request, settings)
        request, notes = settle(request, settings, self._around.catalog)
        for remark in (*remarks, *notes):
            self.job.log.append(Remark(remark))
        return replace(self.job, request=request, settings=settings, save=self.job.save and draw.keep != "dropped")

    def _place_of(self, draw: Draw) -> int:
        if draw.keep == "shown":
            return self._shown if draw.place is None else draw.place
        return NOT_SHOWN + self._aside

    def keep(self, picture: Picture) -> None:
        """Tell of a picture that was just saved."""
        self._saved[picture.index] = picture
        self.job.log.append(ImageReady(picture))

    def progress(self, part: Progress, request: GenerationRequest) -> Progress:
        """How far the whole job is."""
        return self._meter.read(part, request)

    def took_places(self, draw: Draw, first: int, count: int) -> None:
        """The next pictures stand behind these."""
        if draw.keep == "shown":
            self._shown = max(self._shown, first + count)
        else:
            self._aside += count

    def _shots(self, places: Sequence[int]) -> tuple[Shot, ...]:
        return tuple(map(_shot, (self._saved[place] for place in places if place in self._saved)))

    def _give(self, give: Give) -> None:
        if give.is_grid:
            place = self._grids - self._plan.grids
            self._grids += 1
        else:
            place = self._shown
            self._shown += 1
        if place in self._saved:
            return
        request = give.request or as_drawing(self.job.request)
        picture = self._around.outputs.save(
            self.job, Drawn(0, give.image, request), self._models_of(request), place=place, infotext=give.infotext
        )
        self.keep(picture)
        self._around.hooks.picture_saved(picture)


class _Part(Run):
    """One of the requests that a script makes.  first: the place of its first picture in the whole job."""

    def __init__(self, job: Job, around: Surroundings, whole: ScriptRun, step: Draw, first: int) -> None:
        super().__init__(job, around)
        self.first = first
        self._whole = whole
        self._step = step
        whole.took_places(step, first, job.request.images)

    def draw(self) -> Finished | Cancelled | Failed:
        """Draw what is missing of it."""
        return self._draw()

    def _must_stop(self) -> bool:
        return self._whole.wants_cancel or self._whole.is_interrupted

    def _done(self) -> frozenset[int]:
        saved = self._around.outputs.indices_of(self.job.id)
        return frozenset(index for index in range(self.job.request.images) if self.first + index in saved)

    def _tell(self, event: EngineEvent) -> None:
        if isinstance(event, Progress):
            event = self._whole.progress(event, as_drawing(self.job.request))
        if not isinstance(event, Drawn):
            super()._tell(event)
            return
        if self._models is None:
            self._models = self._describe(*self._files) if self._files else ModelsUsed("", device=self._around.engine.device)
        drawn = replace(event, used={**event.used, **self._step.pairs})
        picture = self._around.outputs.save(self.job, drawn, self._models, place=self.first + event.index)
        self._whole.keep(picture)
        if self._step.keep != "dropped":
            self._around.hooks.picture_saved(picture)


class _Meter:
    """How far a script's job is, by pictures; those that were there already took no time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._batches = self._drawn = self._found = 0

    def done(self, request: GenerationRequest, found: int) -> None:
        """A request is drawn, or so many of its pictures were there."""
        self._batches += request.batch_count
        self._drawn += request.images
        self._found += found

    def read(self, part: Progress, request: GenerationRequest) -> Progress:
        """The whole job's progress, from that of the request being drawn."""
        drawn = self._drawn + part.fraction * request.images
        new, left = drawn - self._found, max(self._plan.draws - drawn, 0.0)
        eta = (time.monotonic() - self._began) / new * left if new > 0 else part.eta
        return Progress(
            batch=self._batches + part.batch,
            batches=max(self._plan.batches, self._batches + part.batches),
            step=part.step,
            steps=part.steps,
            fraction=min(drawn / max(self._plan.draws, 1), 1.0),
            eta=eta,
        )


def _seeded(request: GenerationRequest, place: str) -> GenerationRequest:
    """The request with real seeds, the same for the same place in the same job."""
    drawn = {name: random.Random(f"{name} {place}").randrange(SEED_LIMIT) for name in ("seed", "subseed") if getattr(request, name) == -1}
    return request.changed(**drawn) if drawn else request


def _shot(picture: Picture) -> Shot:
    try:
        data = picture.path.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"The picture {picture.path.name} that the script goes on from cannot be read: {error.strerror or error}. Run the job again."
        ) from error
    return Shot(decode_image(data), as_drawing(picture.request), picture.infotext)
