"""The story of one job, read top to bottom: for each batch read prompts, start, sample (twice for a hires fix), decode.

A generator: it yields events for the outside and UNetCalls for the device loop, which sends back the UNet's outputs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from transformers import CLIPTokenizer

from webui.core.events import Drawn, EngineEvent, Remark
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.ports import Work
from webui.core.request import GenerationRequest
from webui.core.samplers import find_sampler
from webui.engine.adaptation import Adaptation
from webui.engine.controls import ControlPictures, PassControls, place_controls
from webui.engine.extra_channels import EstimateDepth, extra_channels_of, no_estimator
from webui.engine.hires import hires_pairs, upscaled
from webui.engine.image_models import ImageModels
from webui.engine.passes import Clock, Pass, Show, SkipBatch, build_pass, draw_noise
from webui.engine.picture_tools import PictureTools
from webui.engine.pipeline_manager import Pipeline, PipelineSpec
from webui.engine.prompt_cache import PromptCache
from webui.engine.prompts import PromptReader
from webui.engine.refiner import Refiner, refiner_pairs
from webui.engine.rows import Answer, UNetCall
from webui.engine.starting_picture import Inputs, given_depth
from webui.engine.starts import build_start, start_from_noise
from webui.engine.vae import NotANumber, decode_picture

__all__ = ["SkipBatch", "Story", "Tools", "generate"]

Story = Generator[UNetCall | EngineEvent, Answer, None]


@dataclass(frozen=True)
class Tools:
    """What a story is given to work with.

    preview: how to show unfinished latents (B, C, h, w); None when nobody wants to see them now.
    estimate_depth: how depth is told where a model wants it.   control_pictures: what the ControlNet units follow, by unit and source.
    images: loads upscalers and face restorers; None where jobs name none.   hooks: what extensions change on the way.
    """

    pipeline: Pipeline
    tokenizer: CLIPTokenizer
    preview: Show
    prompts: PromptCache = field(default_factory=PromptCache)
    estimate_depth: EstimateDepth = no_estimator
    control_pictures: ControlPictures = field(default_factory=dict)
    images: ImageModels | None = None
    hooks: EngineHooks = NO_ENGINE_HOOKS


def generate(work: Work, tools: Tools) -> Story:
    """Draw a job's pictures, leaving out those already done."""
    request = work.request
    batches = _Batches(work, tools)
    for batch in range(request.batch_count):
        first = batch * request.batch_size
        indices = [index for index in range(first, first + request.batch_size) if index not in work.done]
        if indices:
            yield from batches.draw(batch, indices)


class _Batches:
    """Draws the batches of one job, one after another."""

    def __init__(self, work: Work, tools: Tools) -> None:
        self._work = work
        self._tools = tools
        self._told: set[str] = set()
        self._pictures = PictureTools(work, tools.images)
        request = work.request
        self._inputs = Inputs(work.pictures, work.settings, tools.estimate_depth, self._pictures.before_drawing_over)
        self._prompts = self._reader(tools.pipeline)
        self._second: tuple[Pipeline, PromptReader] | None = None
        self._refiner_readers: list[PromptReader] = []
        self._clock = Clock(request.batch_count, [request.steps, *([request.second_pass.steps] if request.enable_hr else [])])

    def draw(self, batch: int, indices: list[int]) -> Story:
        """All pictures of one batch."""
        asked = tuple(self._work.request.of_image(index) for index in indices)
        alone = self._tools.hooks.before_batch(asked, batch, self._work.settings)
        pipeline, run = self._tools.pipeline, self._first_pass(alone)
        yield from self._remarks(run.start.remarks, self._prompts)
        self._clock.start(batch)
        latents, stopped_at = yield from self._sample(run)
        pairs = [run.used(place) for place in range(len(alone))]
        if self._work.request.enable_hr and latents is not None and not stopped_at:
            model, reader = self._second_model()
            second = yield from self._second_pass(alone, model, reader, _sound(latents))
            if second:
                pipeline, run = model, second
                yield from self._remarks((), reader)
                self._clock.start(batch, 1)
                latents, stopped_at = yield from self._sample(run)
                title = self._work.hires_model.title if self._work.hires_model else ""
                pairs = [
                    hires_pairs(one, one.second_pass, title) | pair | run.used(place)
                    for place, (one, pair) in enumerate(zip(alone, pairs, strict=True))
                ]
        yield from self._remarks((), *self._refiner_readers)
        if latents is None:
            return
        pipeline.bring(pipeline.vae)
        for place, (index, one, latent) in enumerate(zip(indices, alone, _sound(latents), strict=True)):
            stopped = {"Stopped at step": str(stopped_at)} if stopped_at else {}
            pipeline.adapt(pipeline.vae, run.pictures[place].conditioning.adaptations.at(run.calls))
            decoded = self._pictures.with_faces_mended(decode_picture(pipeline.vae, latent))
            picture = run.start.finished(place, decoded, latent)
            yield Drawn(index, picture, one, pairs[place] | stopped)

    def _first_pass(self, alone: Sequence[GenerationRequest]) -> Pass:
        """From noise, or from a picture."""
        request, settings, pipeline = self._work.request, self._work.settings, self._tools.pipeline
        noise = draw_noise(alone, settings, pipeline, (request.height // pipeline.downscale, request.width // pipeline.downscale))
        if request.init_images or extra_channels_of(pipeline):
            self._bring_vae(pipeline)
        start = build_start(alone, pipeline, noise.first, self._inputs)
        controls = self._controls(alone, pipeline, noise.first)
        return build_pass(
            alone, settings, pipeline, self._prompts, noise, start, fix_steps=settings.img2img_fix_steps, refiner=self._refiner(None),
            controls=controls, hooks=self._tools.hooks,
        )  # fmt: skip

    def _second_pass(
        self, alone: Sequence[GenerationRequest], pipeline: Pipeline, reader: PromptReader, latents: torch.Tensor
    ) -> Generator[UNetCall | EngineEvent, Answer, Pass | None]:
        """From the first pass's latents (B, C, h, w), made larger; None when the batch is skipped meanwhile."""
        request, settings = self._work.request, self._work.settings
        enlarge = partial(self._pictures.enlarging, request.hr_upscaler)
        try:
            larger = yield from upscaled(latents, request, self._tools.pipeline, enlarge, pipeline, self._bring_vae)
        except SkipBatch:
            return None
        second = [one.second_pass for one in alone]
        noise = draw_noise(second, settings, pipeline, (larger.shape[2], larger.shape[3]))
        depth = given_depth(self._work.request, self._inputs)
        if extra_channels_of(pipeline):
            self._bring_vae(pipeline)
        start = start_from_noise(second[0], pipeline, noise.first, self._inputs, depth, larger)
        refiner = self._refiner(reader.calls)
        controls = self._controls(second, pipeline, larger, is_second=True)
        return build_pass(
            second, settings, pipeline, reader, noise, start, fix_steps=True, refiner=refiner, controls=controls, hooks=self._tools.hooks
        )

    def _controls(
        self, alone: Sequence[GenerationRequest], pipeline: Pipeline, latents: torch.Tensor, *, is_second: bool = False
    ) -> PassControls:
        """The ControlNet units of a pass over latents (B, C, h, w)."""
        size = latents.shape[2], latents.shape[3]
        return place_controls(alone, self._tools.control_pictures, self._work.controls, pipeline, size, is_second=is_second)

    def _second_model(self) -> tuple[Pipeline, PromptReader]:
        """What draws the second pass, and its reader of prompts; loaded when it is needed."""
        if self._second is None:
            pipeline = self._tools.pipeline
            if other := self._work.hires_model:
                controls = tuple(dict.fromkeys(self._work.controls.values()))
                pipeline = pipeline.beside(PipelineSpec(other.checkpoint, other.vae, controls))
            self._second = pipeline, self._reader(pipeline, _calls(self._work.request.second_pass))
        return self._second

    def _refiner(self, hires_calls: int | None) -> Refiner | None:
        """What takes over in this pass, if anything.  hires_calls: of the second pass, when it is that one."""
        other, request, settings = self._work.refiner, self._work.request, self._work.settings
        passes = settings.hires_fix_refiner_pass
        left_out = request.enable_hr and passes == ("second pass" if hires_calls is None else "first pass")
        if other is None or left_out:
            return None

        def begin() -> tuple[Pipeline, PromptReader]:
            pipeline = self._tools.pipeline.beside(PipelineSpec(other.checkpoint, other.vae))
            reader = self._reader(pipeline, hires_calls)
            self._refiner_readers.append(reader)
            return pipeline, reader

        told = refiner_pairs(request, settings, other.title)
        return Refiner(begin, request.refiner_switch_at, settings.refiner_switch_by_sample_steps, told)

    def _reader(self, pipeline: Pipeline, hires_calls: int | None = None) -> PromptReader:
        return PromptReader(self._work, pipeline, self._tools.tokenizer, self._tools.prompts, _calls(self._work.request), hires_calls)

    def _sample(self, run: Pass) -> Generator[UNetCall | EngineEvent, Answer, tuple[torch.Tensor | None, int]]:
        return (yield from run.sample(self._clock, self._work.settings.show_progress_every_n_steps, self._tools.preview))

    def _bring_vae(self, pipeline: Pipeline) -> None:
        pipeline.bring(pipeline.vae)
        pipeline.adapt(pipeline.vae, Adaptation((), self._work.settings.tiling))

    def _remarks(self, texts: Sequence[str], *prompts: PromptReader) -> Generator[EngineEvent, Answer, None]:
        told = (text for reader in prompts for text in reader.new_remarks())
        new = [text for text in dict.fromkeys((*texts, *told)) if text not in self._told]
        self._told.update(new)
        yield from map(Remark, new)


def _calls(request: GenerationRequest) -> int:
    """Denoiser calls by which prompts are timed, as A1111 counts them."""
    return request.steps * find_sampler(request.sampler).model_calls


def _sound(latents: torch.Tensor) -> torch.Tensor:
    """The latents.  Raises NotANumber."""
    if latents.isnan().any():
        raise NotANumber(
            "A tensor with all NaNs was produced in Unet. Lower the weights in the prompt, or choose another checkpoint; "
            "on a GPU, start with --no-half."
        )
    return latents
