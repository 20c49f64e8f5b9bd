"""The story of one job, read top to bottom: encode the prompts, and for each batch start, sample, decode.

A generator: it yields events for the outside and UNetCalls for the device loop, which sends back the UNet's outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from PIL.Image import Image
from transformers import CLIPTokenizer

from webui.core.events import Drawn, EngineEvent, Preview, Progress, Remark
from webui.core.ports import Work
from webui.core.prompt_syntax import unread_syntax
from webui.core.samplers import find_sampler, resolve_schedule
from webui.engine.conditioning import chunk_prompt, encode_chunks
from webui.engine.guidance import ClassifierFree
from webui.engine.noise import PictureNoise
from webui.engine.noise_levels import input_scale
from webui.engine.pipeline_manager import Pipeline
from webui.engine.samplers import Denoise, Plan, SamplerOptions, plan_sampling
from webui.engine.vae import NotANumber, decode_picture


@dataclass(frozen=True)
class Rows:
    """What the UNet is to be run on.  x: (n, C, h, w), scaled for the model.   timestep: (n,).   context: (n, T, D)."""

    x: torch.Tensor
    timestep: torch.Tensor
    context: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)

    def part(self, first: int, last: int) -> Rows:
        """Rows from `first` up to `last`."""
        return Rows(self.x[first:last], self.timestep[first:last], self.context[first:last])


@dataclass(frozen=True)
class UNetCall:
    """A wish to have the UNet run; the answer has one (n, C, h, w) float32 tensor for each of `rows`."""

    rows: tuple[Rows, ...]


Answer = Sequence[torch.Tensor]
Story = Generator[UNetCall | EngineEvent, Answer, None]


class SkipBatch(Exception):
    """Thrown into a story: end the batch being drawn with what it has."""


@dataclass(frozen=True)
class Tools:
    """What a story is given to work with.

    preview: how to show unfinished latents (B, C, h, w); None when nobody wants to see them now.
    """

    pipeline: Pipeline
    tokenizer: CLIPTokenizer
    preview: Callable[[], Callable[[torch.Tensor], Image | None] | None]


def generate(work: Work, tools: Tools) -> Story:
    """Draw a job's pictures, leaving out those already done."""
    request = work.request
    if unread := unread_syntax(f"{request.prompt}\n{request.negative_prompt}"):
        yield Remark(f"Drawn as plain text, because this version cannot do it yet: {', '.join(unread)}.")
    guidance = _encode_prompts(work, tools)
    clock = _Clock(request.batch_count)
    for batch in range(request.batch_count):
        first = batch * request.batch_size
        indices = [index for index in range(first, first + request.batch_size) if index not in work.done]
        if indices:
            yield from _draw_batch(work, tools, guidance, clock, batch, indices)
        clock.batch_done()


def _encode_prompts(work: Work, tools: Tools) -> ClassifierFree:
    request, settings, text_encoder = work.request, work.settings, tools.pipeline.text_encoder
    tools.pipeline.bring(text_encoder)

    def encode(prompt: str) -> torch.Tensor:
        chunks = chunk_prompt(tools.tokenizer, prompt, emphasis=settings.emphasis, backtrack=settings.comma_padding_backtrack)
        return encode_chunks(text_encoder, chunks, clip_skip=settings.CLIP_stop_at_last_layers, emphasis=settings.emphasis)

    return ClassifierFree(encode(request.prompt), encode(request.negative_prompt), request.cfg_scale)


def _draw_batch(work: Work, tools: Tools, guidance: ClassifierFree, clock: _Clock, batch: int, indices: list[int]) -> Story:
    request, settings, pipeline = work.request, work.settings, tools.pipeline
    alone = [request.of_image(index) for index in indices]
    shape = (pipeline.latent_channels, request.height // pipeline.downscale, request.width // pipeline.downscale)
    noise = PictureNoise([one.seed for one in alone], shape, source=settings.randn_source, device=pipeline.device.torch)
    sampler = find_sampler(request.sampler)
    options = SamplerOptions(eta_ancestral=settings.eta_ancestral, eta_ddim=settings.eta_ddim)
    plan = plan_sampling(sampler.label, resolve_schedule(sampler, request.schedule), request.steps, pipeline.levels, noise.draw, options)
    start = noise.draw() * plan.start
    clock.start()
    latents, stopped_at = yield from _sample(work, tools, guidance, clock, batch, plan, start)
    if latents is None:
        return
    if latents.isnan().any():
        raise NotANumber(
            "A tensor with all NaNs was produced in Unet. Lower the weights in the prompt, or choose another checkpoint; "
            "on a GPU, start with --no-half."
        )
    used = {"Stopped at step": str(stopped_at)} if stopped_at else {}
    pipeline.bring(pipeline.vae)
    for index, one, latent in zip(indices, alone, latents, strict=True):
        yield Drawn(index, decode_picture(pipeline.vae, latent), one, used)


def _sample(
    work: Work, tools: Tools, guidance: ClassifierFree, clock: _Clock, batch: int, plan: Plan, start: torch.Tensor
) -> Generator[UNetCall | EngineEvent, Answer, tuple[torch.Tensor | None, int]]:
    """Run a sampler to its end: the latents, and 0; or what was denoised last, and the step, when the batch is skipped."""
    steps, every = work.request.steps, work.settings.show_progress_every_n_steps
    sampling = plan.begin(start)
    denoised: torch.Tensor | None = None
    calls, step = 0, 0
    try:
        call = next(sampling, None)
        while call is not None:
            denoised = yield from _denoise(call, tools.pipeline, guidance)
            calls += 1
            step = min(steps, max(1, round(steps * calls / plan.calls)))
            yield clock.progress(batch, step, steps, calls / plan.calls)
            if every > 0 and step % every == 0 and calls < plan.calls and (show := tools.preview()) and (image := show(denoised)):
                yield Preview(image, step)
            call = sampling.send(denoised)
    except StopIteration as finished:
        return finished.value, 0
    except SkipBatch:
        return denoised, step
    return start, 0


def _denoise(call: Denoise, pipeline: Pipeline, guidance: ClassifierFree) -> Generator[UNetCall, Answer, torch.Tensor]:
    """One denoised estimate: the UNet on every context of the guidance, its outputs read and combined."""
    pictures = call.x.shape[0]
    sigma = call.sigma.expand(pictures)
    timestep = pipeline.levels.timestep(sigma).to(call.x.device)
    sigma = sigma.to(call.x)[:, None, None, None]
    scaled = call.x * input_scale(sigma)
    rows = tuple(Rows(scaled, timestep, context.expand(pictures, -1, -1)) for context in guidance.contexts)
    outputs = yield UNetCall(rows)
    return guidance.combine([pipeline.prediction.denoised(call.x, output, sigma) for output in outputs])


class _Clock:
    """How far the job is and how long it will still take."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._done = 0
        self._started: float | None = None
        self._fraction_at_start = 0.0

    def start(self) -> None:
        """The first step of a batch begins; the time before it (prompts, models) is not that of a step."""
        if self._started is None:
            self._started, self._fraction_at_start = time.monotonic(), self._done / self._batches

    def batch_done(self) -> None:
        self._done += 1

    def progress(self, batch: int, step: int, steps: int, of_batch: float) -> Progress:
        fraction = (self._done + of_batch) / self._batches
        elapsed = time.monotonic() - (self._started or time.monotonic())
        eta = elapsed / (fraction - self._fraction_at_start) * (1 - fraction)
        return Progress(batch, self._batches, step, steps, fraction, eta)
