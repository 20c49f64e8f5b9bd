"""One denoised estimate of a batch: which rows the UNet is to be run on, and how its outputs are read and combined."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch

from webui.engine.adaptation import NO_CHANGE, Adaptation
from webui.engine.guidance import Estimates, Guidance, Moment
from webui.engine.noise_levels import EpsPrediction, NoiseLevels, VPrediction, input_scale
from webui.engine.prompts import Conditioning
from webui.engine.samplers import Denoise
from webui.engine.starts import NOWHERE, Start
from webui.engine.timeline import with_empty, with_last_repeated


@dataclass(frozen=True)
class Rows:
    """What the UNet is to be run on.

    x: (n, C, h, w), scaled for the model.   timestep: (n,).   context: (n, T, D).   pictures: whose rows they are, by their place
    in the batch.   adaptation: what the UNet is to wear.
    """

    x: torch.Tensor
    timestep: torch.Tensor
    context: torch.Tensor
    pictures: tuple[int, ...]
    adaptation: Adaptation = NO_CHANGE

    def __len__(self) -> int:
        return len(self.x)

    def part(self, first: int, last: int) -> Rows:
        """Rows from `first` up to `last`."""
        return Rows(self.x[first:last], self.timestep[first:last], self.context[first:last], self.pictures[first:last], self.adaptation)


@dataclass(frozen=True)
class UNetCall:
    """A wish to have the UNet run; the answer has one (n, C, h, w) float32 tensor for each of `rows`."""

    rows: tuple[Rows, ...]


Answer = Sequence[torch.Tensor]


@dataclass(frozen=True)
class Guided:
    """One picture: what it is conditioned on, and how its answers are combined."""

    conditioning: Conditioning
    guidance: Guidance


@dataclass(frozen=True)
class _Question:
    """One row: a picture under one context."""

    picture: int
    context: torch.Tensor
    adaptation: Adaptation


class Denoiser:
    """Answers a sampler's questions for one batch, call after call.

    pictures: one entry a row of x.   calls: those expected in all, by which prompts are timed.
    pad: None, or how prompts of unequal length are brought to one ("empty prompt" or "last vector").
    start: what a mask keeps of it is put in the place of each estimate.   walks_time_steps: the sampler is one for which A1111
    puts that into what the model is shown instead, and compares minimum sigmas with the time step.
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
    ) -> None:
        self._pictures = pictures
        self._levels = levels
        self._prediction = prediction
        self._calls = calls
        self._pad = pad
        self._start = start
        self._walks_time_steps = walks_time_steps
        self.calls_made = 0
        self.has_padded = False

    def denoise(self, call: Denoise) -> Generator[UNetCall, Answer, torch.Tensor]:
        """(B, C, h, w) without its noise; with_uncond: (2, B, C, h, w), the second towards the negative prompts alone."""
        sigma = call.sigma.expand(len(self._pictures))
        timestep = self._levels.timestep(sigma).to(call.x.device)
        moment = Moment(self.calls_made, self._calls, float(timestep[0] if self._walks_time_steps else call.sigma))
        sigma = sigma.to(call.x)[:, None, None, None]
        scaled = call.x * input_scale(sigma)
        if self._walks_time_steps:
            scaled = self._start.blended(scaled)
        asked = [self._questions(number, moment, also_negative=call.with_uncond) for number in range(len(self._pictures))]
        # Branch by branch (first parts, ..., negatives), so that pictures of one prompt make one block.
        questions = [question for branch in _by_branch(asked) for question in branch]
        blocks = _blocks(questions)
        rows = []
        for block in blocks:
            chosen = tuple(question.picture for question in block)
            context = block[0].context.expand(len(block), -1, -1)
            all_of_them = len(chosen) == len(self._pictures)
            picked = (scaled, timestep) if all_of_them else (scaled[list(chosen)], timestep[list(chosen)])
            rows.append(Rows(*picked, context, chosen, block[0].adaptation))
        outputs = yield UNetCall(tuple(rows))
        self.calls_made += 1
        answers: dict[int, list[torch.Tensor]] = {}
        for block, output in zip(blocks, outputs, strict=True):
            for question, one in zip(block, output, strict=True):
                number = question.picture
                answers.setdefault(number, []).append(self._prediction.denoised(call.x[number], one, sigma[number]))
        combined = torch.stack([self._combine(number, answers[number]) for number in range(len(self._pictures))])
        if not self._walks_time_steps:
            combined = self._start.blended(combined)
        if call.with_uncond:
            return torch.stack([combined, torch.stack([answers[number][-1] for number in range(len(self._pictures))])])
        return combined

    def _questions(self, number: int, moment: Moment, *, also_negative: bool) -> list[_Question]:
        """A picture's parts in order, then its negative prompt where that is wanted."""
        one = self._pictures[number]
        adaptation = one.conditioning.adaptations.at(moment.call)
        positives = [part.at(moment.call) for part in one.conditioning.positives]
        if not (one.guidance.wants_negative(moment) or also_negative):
            return [_Question(number, positive, adaptation) for positive in positives]
        negative = one.conditioning.negative.at(moment.call)
        if self._pad and len(negative) != len(positives[0]):
            positives, negative = self._padded(one.conditioning, positives, negative)
            self.has_padded = True
        return [_Question(number, context, adaptation) for context in (*positives, negative)]

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
        return one.guidance.combine(Estimates(torch.stack(answers[:parts]), one.conditioning.weights, negative))


def _by_branch(lists: Sequence[Sequence[_Question]]) -> list[list[_Question]]:
    """The first of each, the second of each, ... where there is one."""
    return [[one[place] for one in lists if place < len(one)] for place in range(max(map(len, lists)))]


def _blocks(questions: Sequence[_Question]) -> list[list[_Question]]:
    """Neighbours that differ in the picture alone, together."""
    blocks: list[list[_Question]] = []
    for question in questions:
        last = blocks[-1][-1] if blocks else None
        if last and last.context is question.context and last.adaptation == question.adaptation and last.picture < question.picture:
            blocks[-1].append(question)
        else:
            blocks.append([question])
    return blocks
