"""The story of one job, read top to bottom: for each batch read prompts, start, sample (twice for a hires fix), decode.

A generator: it yields events for the outside and UNetCalls for the device loop, which sends back the UNet's outputs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import CLIPTokenizer

from webui.core.events import Drawn, EngineEvent, Remark
from webui.core.ports import Work
from webui.core.request import GenerationRequest
from webui.core.samplers import find_sampler
from webui.engine.adaptation import Adaptation
from webui.engine.denoiser import Answer, UNetCall
from webui.engine.hires import hires_pairs, upscaled
from webui.engine.passes import Clock, Pass, Show, SkipBatch, build_pass, draw_noise
from webui.engine.pipeline_manager import Pipeline
from webui.engine.prompt_cache import PromptCache
from webui.engine.prompts import PromptReader
from webui.engine.starts import Start, build_start
from webui.engine.vae import NotANumber, decode_picture

__all__ = ["SkipBatch", "Story", "Tools", "generate"]

Story = Generator[UNetCall | EngineEvent, Answer, None]


@dataclass(frozen=True)
class Tools:
    """What a story is given to work with.

    preview: how to show unfinished latents (B, C, h, w); None when nobody wants to see them now.
    """

    pipeline: Pipeline
    tokenizer: CLIPTokenizer
    preview: Show
    prompts: PromptCache = field(default_factory=PromptCache)


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
        request = work.request
        calls = _calls(request)
        self._prompts = PromptReader(work, tools.pipeline, tools.tokenizer, tools.prompts, calls)
        self._second_prompts: PromptReader | None = None
        steps = [request.steps]
        if request.enable_hr:
            second = request.second_pass
            self._second_prompts = PromptReader(work, tools.pipeline, tools.tokenizer, tools.prompts, calls, _calls(second))
            steps.append(second.steps)
        self._clock = Clock(request.batch_count, steps)

    def draw(self, batch: int, indices: list[int]) -> Story:
        """All pictures of one batch."""
        pipeline = self._tools.pipeline
        alone = [self._work.request.of_image(index) for index in indices]
        run = self._first_pass(alone)
        yield from self._remarks(run.start.remarks, self._prompts)
        self._clock.start(batch)
        latents, stopped_at = yield from self._sample(run)
        pairs = [run.used(place) for place in range(len(alone))]
        if self._second_prompts and latents is not None and not stopped_at:
            run = self._second_pass(alone, self._second_prompts, _sound(latents))
            yield from self._remarks((), self._second_prompts)
            self._clock.start(batch, 1)
            latents, stopped_at = yield from self._sample(run)
            pairs = [
                hires_pairs(one, one.second_pass) | pair | run.used(place)
                for place, (one, pair) in enumerate(zip(alone, pairs, strict=True))
            ]
        if latents is None:
            return
        pipeline.bring(pipeline.vae)
        for place, (index, one, latent) in enumerate(zip(indices, alone, _sound(latents), strict=True)):
            stopped = {"Stopped at step": str(stopped_at)} if stopped_at else {}
            pipeline.adapt(pipeline.vae, run.pictures[place].conditioning.adaptations.at(run.calls))
            picture = run.start.finished(place, decode_picture(pipeline.vae, latent))
            yield Drawn(index, picture, one, pairs[place] | stopped)

    def _first_pass(self, alone: Sequence[GenerationRequest]) -> Pass:
        """From noise, or from a picture."""
        request, settings, pipeline = self._work.request, self._work.settings, self._tools.pipeline
        noise = draw_noise(alone, settings, pipeline, (request.height // pipeline.downscale, request.width // pipeline.downscale))
        start = Start()
        if request.init_images:
            self._bring_vae()
            start = build_start(alone, self._work.pictures, pipeline, noise.first, settings.img2img_background_color)
        return build_pass(alone, settings, pipeline, self._prompts, noise, start, fix_steps=settings.img2img_fix_steps)

    def _second_pass(self, alone: Sequence[GenerationRequest], prompts: PromptReader, latents: torch.Tensor) -> Pass:
        """From the first pass's latents (B, C, h, w), made larger."""
        request, settings, pipeline = self._work.request, self._work.settings, self._tools.pipeline
        self._bring_vae()
        larger = upscaled(latents, request, pipeline)
        second = [one.second_pass for one in alone]
        noise = draw_noise(second, settings, pipeline, (larger.shape[2], larger.shape[3]))
        return build_pass(second, settings, pipeline, prompts, noise, Start(larger), fix_steps=True)

    def _sample(self, run: Pass) -> Generator[UNetCall | EngineEvent, Answer, tuple[torch.Tensor | None, int]]:
        return (yield from run.sample(self._clock, self._work.settings.show_progress_every_n_steps, self._tools.preview))

    def _bring_vae(self) -> None:
        pipeline = self._tools.pipeline
        pipeline.bring(pipeline.vae)
        pipeline.adapt(pipeline.vae, Adaptation((), self._work.settings.tiling))

    def _remarks(self, texts: Sequence[str], prompts: PromptReader) -> Generator[EngineEvent, Answer, None]:
        new = [text for text in dict.fromkeys((*texts, *prompts.new_remarks())) if text not in self._told]
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
