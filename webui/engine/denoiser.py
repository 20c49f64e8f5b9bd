"""One denoised estimate of a batch: which rows the UNet is to be run on, and how its outputs are read and combined."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import torch

from webui.engine.adaptation import Adaptation
from webui.engine.adapters.controlnet import Control
from webui.engine.controls import NO_CONTROLS, PassControls
from webui.engine.guidance import Estimates, Guidance, Moment
from webui.engine.noise_levels import EpsPrediction, NoiseLevels, VPrediction, input_scale
from webui.engine.pipeline_manager import Pipeline
from webui.engine.prompts import Conditioning
from webui.engine.rows import Answer, Rows, UNetCall
from webui.engine.samplers import Denoise
from webui.engine.starts import NOWHERE, Start
from webui.engine.timeline import with_empty, with_last_repeated


@dataclass(frozen=True)
class Guided:
    """One picture: what it is conditioned on, and how its answers are combined."""

    conditioning: Conditioning
    guidance: Guidance


@dataclass(frozen=True)
class _Question:
    """One row: a picture under one context, and the vector beside it, where the model takes one.

    apart: it is not to know the picture that is drawn from.
    """

    picture: int
    context: torch.Tensor
    adaptation: Adaptation
    vector: torch.Tensor | None = None
    apart: bool = False
    controls: tuple[Control, ...] = ()

    def joins(self, other: _Question) -> bool:
        """Whether one context serves both; each may have controls of its own."""
        is_same = self.context is other.context and self.vector is other.vector
        return is_same and self.adaptation == other.adaptation and self.apart == other.apart


class Denoiser:
    """Answers a sampler's questions for one batch, call after call.

    pictures: one entry a row of x.   calls: those expected in all, by which prompts are timed.
    pad: None, or how prompts of unequal length are brought to one ("empty prompt" or "last vector").
    start: what a mask keeps of it is put in the place of each estimate.   walks_time_steps: the sampler is one for which A1111
    puts that into what the model is shown instead, and compares minimum sigmas with the time step.   model: None for the job's own.
    calls_made: by another denoiser before this one takes over.
    controls: ControlNet units, timed by `planned_calls`, the calls of this pass (None: `calls`).
    """

    def __init__(
        self,
        pictures: Sequence[Guided],
        levels: NoiseLevels,
        prediction: EpsPrediction | VPrediction,
        *,
        calls: int,
        pad: str | None = None,
        start: Start = NOWHERE,
        walks_time_steps: bool = False,
        model: Pipeline | None = None,
        calls_made: int = 0,
        controls: PassControls = NO_CONTROLS,
        planned_calls: int | None = None,
    ) -> None:
        self._pictures = pictures
        self._levels = levels
        self._prediction = prediction
        self._calls = calls
        self._pad = pad
        self._start = start
        self._walks_time_steps = walks_time_steps
        self._model = model
        self.calls_made = calls_made
        self._controls = controls
        self._planned_calls = max(1, planned_calls or calls)
        self.has_padded = False

    @property
    def used(self) -> Mapping[str, str]:
        """Infotext pairs: none, it is what everybody expects."""
        return {}

    def denoise(self, call: Denoise) -> Generator[UNetCall, Answer, torch.Tensor]:
        """(B, C, h, w) without its noise; with_uncond: (2, B, C, h, w), the second towards the negative prompts alone."""
        sigma = call.sigma.expand(len(self._pictures))
        timestep = self._levels.timestep(sigma).to(call.x.device)
        moment = Moment(self.calls_made, self._calls, float(timestep[0] if self._walks_time_steps else call.sigma))
        sigma = sigma.to(call.x)[:, None, None, None]
        scaled = call.x * input_scale(sigma)
        noise_level = float(call.sigma)
        if self._walks_time_steps:
            scaled = self._start.blended(scaled, noise_level)
        asked = [self._questions(number, moment, also_negative=call.with_uncond) for number in range(len(self._pictures))]
        # Branch by branch (first parts, ..., negatives), so that pictures of one prompt make one block.
        questions = [question for branch in _by_branch(asked) for question in branch]
        blocks = _blocks(questions)
        rows = []
        for block in blocks:
            chosen = tuple(question.picture for question in block)
            context = block[0].context.expand(len(block), -1, -1)
            all_of_them = len(chosen) == len(self._pictures)
            x = self._with_channels(scaled, apart=block[0].apart)
            picked = (x, timestep) if all_of_them else (x[list(chosen)], timestep[list(chosen)])
            vector = block[0].vector
            vector = None if vector is None else vector.expand(len(block), -1)
            controls = tuple(question.controls for question in block)
            rows.append(Rows(*picked, context, chosen, block[0].adaptation, vector, controls if any(controls) else ()))
        outputs = yield UNetCall(tuple(rows), self._model)
        self.calls_made += 1
        answers: dict[int, list[torch.Tensor]] = {}
        for block, output in zip(blocks, outputs, strict=True):
            for question, one in zip(block, output, strict=True):
                number = question.picture
                answers.setdefault(number, []).append(self._prediction.denoised(call.x[number], one, sigma[number]))
        combined = torch.stack([self._combine(number, answers[number]) for number in range(len(self._pictures))])
        if not self._walks_time_steps:
            combined = self._start.blended(combined, noise_level)
        if call.with_uncond:
            return torch.stack([combined, torch.stack([self._negative(number, answers[number]) for number in range(len(self._pictures))])])
        return combined

    def _with_channels(self, scaled: torch.Tensor, *, apart: bool) -> torch.Tensor:
        """x (B, C, h, w) and behind it what the UNet wants besides."""
        channels = self._start.channels_apart if apart else self._start.channels
        return scaled if channels is None else torch.cat([scaled, channels.to(scaled)], dim=1)

    def _questions(self, number: int, moment: Moment, *, also_negative: bool) -> list[_Question]:
        """A picture's parts in order, then its negative prompt where that is wanted."""
        one = self._pictures[number]
        adaptation = one.conditioning.adaptations.at(moment.call)
        positives = [part.at(moment.call) for part in one.conditioning.positives]
        vectors = [part.vector_at(moment.call) for part in one.conditioning.positives]
        controls, of_negative = (
            self._controls.at(number, moment.call, self._planned_calls, is_negative=is_negative) for is_negative in (False, True)
        )
        if not (one.guidance.wants_negative(moment) or also_negative):
            return [
                _Question(number, positive, adaptation, vector, controls=controls)
                for positive, vector in zip(positives, vectors, strict=True)
            ]
        negative = one.conditioning.negative.at(moment.call)
        if self._pad and len(negative) != len(positives[0]):
            positives, negative = self._padded(one.conditioning, positives, negative)
            self.has_padded = True
        questions = [
            _Question(number, positive, adaptation, vector, controls=controls) for positive, vector in zip(positives, vectors, strict=True)
        ]
        of_negatives = one.conditioning.negative.vector_at(moment.call)
        questions.append(_Question(number, negative, adaptation, of_negatives, controls=of_negative))
        if self._start.channels_apart is not None:
            questions.append(_Question(number, negative, adaptation, of_negatives, apart=True, controls=of_negative))
        return questions

    def _padded(
        self, conditioning: Conditioning, positives: list[torch.Tensor], negative: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        length = len(positives[0])
        if self._pad == "last vector":
            return positives, with_last_repeated(negative, length)[:length]
        assert conditioning.empty is not None
        longest = max(length, len(negative))
        empty = conditioning.empty
        return [with_empty(positive, empty, longest) for positive in positives], with_empty(negative, empty, longest)

    def _combine(self, number: int, answers: list[torch.Tensor]) -> torch.Tensor:
        one = self._pictures[number]
        parts = len(one.conditioning.weights)
        negative = answers[parts] if len(answers) > parts else None
        apart = answers[parts + 1] if len(answers) > parts + 1 else None
        return one.guidance.combine(Estimates(torch.stack(answers[:parts]), one.conditioning.weights, negative, apart))

    def _negative(self, number: int, answers: list[torch.Tensor]) -> torch.Tensor:
        return answers[len(self._pictures[number].conditioning.weights)]


def _by_branch(lists: Sequence[Sequence[_Question]]) -> list[list[_Question]]:
    """The first of each, the second of each, ... where there is one."""
    return [[one[place] for one in lists if place < len(one)] for place in range(max(map(len, lists)))]


def _blocks(questions: Sequence[_Question]) -> list[list[_Question]]:
    """Neighbours that differ in the picture alone, together."""
    blocks: list[list[_Question]] = []
    for question in questions:
        last = blocks[-1][-1] if blocks else None
        if last and last.picture < question.picture and last.joins(question):
            blocks[-1].append(question)
        else:
            blocks.append([question])
    return blocks
