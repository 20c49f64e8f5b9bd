"""One run of a sampler over a batch: everything it needs, built before the first step, and the way to its latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from PIL.Image import Image

from webui.core.events import EngineEvent, Preview, Progress
from webui.core.extension_points import Moment
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.request import GenerationRequest
from webui.core.samplers import find_sampler
from webui.core.settings import Settings
from webui.engine.controls import NO_CONTROLS, PassControls
from webui.engine.denoiser import Denoiser, Guided
from webui.engine.guidance import build_guidance
from webui.engine.noise import NoiseSource, PictureNoise, picture_seed
from webui.engine.noise_levels import levels_for
from webui.engine.pipeline_manager import Pipeline
from webui.engine.prompts import PromptReader
from webui.engine.refiner import RefinedDenoiser, Refiner, check_successor
from webui.engine.rows import Answer, UNetCall
from webui.engine.samplers import Plan, plan_sampling, read_options
from webui.engine.starts import Start

Show = Callable[[], Callable[[torch.Tensor], Image | None] | None]
Watch = Callable[[tuple[GenerationRequest, ...], torch.Tensor, torch.Tensor, Moment], torch.Tensor]
Sampled = tuple[torch.Tensor | None, int]
"""The latents, and 0; or what was denoised last and the step, when the batch was skipped; None when nothing was."""


class SkipBatch(Exception):
    """Thrown into a story: end the batch being drawn with what it has."""


@dataclass(frozen=True)
class Noise:
    """The noise of a batch.  first: (B, C, h, w), which the pictures grow from.   later: for what samplers add on the way."""

    first: torch.Tensor
    later: PictureNoise


def draw_noise(alone: Sequence[GenerationRequest], settings: Settings, pipeline: Pipeline, size: tuple[int, int]) -> Noise:
    """alone: the requests of the batch's pictures.   size: (h, w) of the latents."""
    seeds = [picture_seed(one, settings, pipeline.downscale) for one in alone]
    later = PictureNoise(seeds, (pipeline.latent_channels, *size), NoiseSource(settings.randn_source, pipeline.device.torch))
    return Noise(later.first(), later)


@dataclass(frozen=True)
class Pass:
    """A sampling that is ready to run.

    first_x: where it begins.   steps: as the user counts them.   requests: one for each picture.
    watch: sees every estimate and may change it; None where nobody does.
    """

    plan: Plan
    denoiser: Denoiser | RefinedDenoiser
    pictures: Sequence[Guided]
    first_x: torch.Tensor
    start: Start
    steps: int
    calls: int
    level_pairs: dict[str, str]
    noise_pairs: dict[str, str]
    padding_key: str | None
    requests: tuple[GenerationRequest, ...] = ()
    watch: Watch | None = None

    def used(self, place: int) -> dict[str, str]:
        """Infotext pairs of one picture, in A1111's order; complete when the pass is done."""
        picture = self.pictures[place]
        padded = {self.padding_key: "True"} if self.padding_key and self.denoiser.has_padded else {}
        return {
            **self.start.used,
            **picture.conditioning.used,
            **self.level_pairs,
            **self.noise_pairs,
            **self.plan.used,
            **picture.guidance.used,
            **padded,
            **self.denoiser.used,
        }

    def sample(self, clock: Clock, every: int, preview: Show) -> Generator[UNetCall | EngineEvent, Answer, Sampled]:
        """Run to the end, telling how far it is.  every: steps between two previews, none when below 1."""
        sampling = self.plan.begin(self.first_x)
        estimate: torch.Tensor | None = None
        done, step = 0.0, 0
        try:
            call = next(sampling, None)
            while call is not None:
                answer = yield from self.denoiser.denoise(call)
                estimate = answer[0] if call.with_uncond else answer
                done = max(done, _part_done(self.denoiser.calls_made, call.sigma, self.plan))
                step = min(self.steps, max(1, round(self.steps * done)))
                if self.watch:
                    estimate = self.watch(self.requests, call.x, estimate, Moment(step, self.steps, float(call.sigma)))
                    answer = torch.stack([estimate, answer[1]]) if call.with_uncond else estimate
                yield clock.progress(step, self.steps, done)
                if every > 0 and step % every == 0 and step < self.steps and (show := preview()) and (image := show(estimate)):
                    yield Preview(image, step)
                call = sampling.send(answer)
        except StopIteration as finished:
            return self.start.blended(finished.value), 0
        except SkipBatch:
            return (None if estimate is None else self.start.blended(estimate)), step
        return self.first_x, 0


def build_pass(
    alone: Sequence[GenerationRequest],
    settings: Settings,
    pipeline: Pipeline,
    prompts: PromptReader,
    noise: Noise,
    start: Start,
    *,
    fix_steps: bool = False,
    refiner: Refiner | None = None,
    controls: PassControls = NO_CONTROLS,
    hooks: EngineHooks = NO_ENGINE_HOOKS,
) -> Pass:
    """alone: what the batch's pictures ask of this pass.   start: what it begins with; noise alone where that has no latents.

    fix_steps: make all steps that were asked for, however weak the denoising is.   refiner: what takes over on the way.
    controls: ControlNet units; a refiner has none.   hooks: what extensions change.
    """
    first = alone[0]
    conditionings = [prompts.read(one) for one in alone]
    levels, level_pairs = levels_for(pipeline.levels, settings)
    sampler = find_sampler(first.sampler)
    plan = plan_sampling(
        sampler.label, first.schedule, first.steps, levels, noise.later, read_options(first, settings),
        denoising=None if start.latents is None else first.denoising_strength, fix_steps=fix_steps, hooks=hooks,
    )  # fmt: skip
    pictures = [
        Guided(one, hooks.guide(build_guidance(asked, settings, one.weights, sampler.cfg_factor), asked, settings))
        for asked, one in zip(alone, conditionings, strict=True)
    ]
    pad, padding_key = _padding(settings)

    def build_denoiser(model: Pipeline, guided: Sequence[Guided], calls_made: int, units: PassControls) -> Denoiser:
        return Denoiser(
            guided, levels_for(model.levels, settings)[0], model.prediction, calls=prompts.calls, pad=pad, start=start, model=model,
            walks_time_steps=not sampler.has_schedule, calls_made=calls_made, controls=units, planned_calls=plan.calls,
        )  # fmt: skip

    def build_second(calls_made: int) -> Denoiser:
        assert refiner is not None
        model, reader = refiner.begin()
        check_successor(pipeline, model)
        guided = [Guided(reader.read(asked), one.guidance) for asked, one in zip(alone, pictures, strict=True)]
        return build_denoiser(model, guided, calls_made, NO_CONTROLS)

    own = build_denoiser(pipeline, pictures, 0, controls)
    denoiser = RefinedDenoiser(own, build_second, refiner, levels, prompts.calls) if refiner else own
    strength = _noise_strength(first, settings, is_second=fix_steps and not first.init_images)
    first_x = _first_x(start, noise.first, plan, strength, settings.img2img_extra_noise)
    noise_pairs = {} if start.latents is None else _noise_pairs(strength, settings.img2img_extra_noise)
    watch = hooks.on_step if hooks.watches_steps else None
    told = level_pairs, noise_pairs, padding_key
    return Pass(plan, denoiser, pictures, first_x, start, first.steps, prompts.calls, *told, tuple(alone), watch)


def _first_x(start: Start, noise: torch.Tensor, plan: Plan, strength: float, extra: float) -> torch.Tensor:
    """Where sampling begins, (B, C, h, w).  strength: of the noise over a picture.   extra: more of it, as if of the picture."""
    if start.latents is None:
        return noise * plan.noise_scale
    noised = noise * strength
    return (start.latents.to(noised) + noised * extra) * plan.latent_scale + noised * plan.noise_scale


def _noise_pairs(strength: float, extra: float) -> dict[str, str]:
    multiplied = {"Noise multiplier": str(strength)} if strength != 1.0 else {}
    return multiplied | ({"Extra noise": str(extra)} if extra else {})


def _noise_strength(request: GenerationRequest, settings: Settings, *, is_second: bool) -> float:
    """What the noise over a picture is multiplied with; in A1111 the second pass of a hires fix does not heed it."""
    if is_second:
        return 1.0
    return settings.initial_noise_multiplier if request.noise_multiplier is None else request.noise_multiplier


def _padding(settings: Settings) -> tuple[str | None, str | None]:
    """How prompts are brought to one length, and the infotext's key for it."""
    if settings.pad_cond_uncond_v0:
        return "last vector", "Pad conds v0"
    return ("empty prompt", "Pad conds") if settings.pad_cond_uncond else (None, None)


def _part_done(calls_made: int, sigma: torch.Tensor, plan: Plan) -> float:
    """0..1. A sampler that chooses its own steps is as far as the noise has fallen, on a logarithmic scale."""
    if plan.calls is not None:
        return min(1.0, calls_made / plan.calls)
    high, low = plan.sigma_range
    return min(1.0, max(0.01, float((high / sigma).log() / (high / low).log())))


class Clock:
    """How far the job is and how long it will still take.  passes: steps of each pass of a batch."""

    def __init__(self, batches: int, passes: Sequence[int]) -> None:
        self._batches = batches
        self._passes = passes
        self._batch = 0
        self._pass = 0
        self._started: float | None = None
        self._fraction_at_start = 0.0

    def start(self, batch: int, number: int = 0) -> None:
        """A pass of a batch begins; the time before the first step of all (prompts, models) is not that of a step."""
        self._batch, self._pass = batch, number
        if self._started is None:
            self._started, self._fraction_at_start = time.monotonic(), batch / self._batches

    def progress(self, step: int, steps: int, of_pass: float) -> Progress:
        """of_pass: 0..1, how much of the pass is done."""
        done = sum(self._passes[: self._pass]) + of_pass * self._passes[self._pass]
        fraction = (self._batch + done / sum(self._passes)) / self._batches
        elapsed = time.monotonic() - (self._started or time.monotonic())
        eta = elapsed / (fraction - self._fraction_at_start) * (1 - fraction)
        return Progress(self._batch, self._batches, step, steps, fraction, eta)
