"""A second checkpoint that takes over in the middle of sampling: the sampler goes on and does not know."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import torch

from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.engine.denoiser import Denoiser
from webui.engine.extra_channels import extra_channels_of
from webui.engine.noise_levels import NoiseLevels
from webui.engine.pipeline_manager import Pipeline
from webui.engine.prompts import PromptReader
from webui.engine.rows import Answer, UNetCall
from webui.engine.samplers import Denoise


@dataclass(frozen=True)
class Refiner:
    """How a pass is to be finished by another model.

    begin: brings the model into memory and reads the prompts for it; called once, when its time has come.
    switch_at: how much of the schedule is done before, 0..1.   by_steps: counted in calls, not by the noise that is left.
    used: infotext pairs, true once it has taken over.
    """

    begin: Callable[[], tuple[Pipeline, PromptReader]]
    switch_at: float
    by_steps: bool
    used: Mapping[str, str]


class RefinedDenoiser:
    """Two denoisers as one.

    build: the second one, given the calls made before.   levels: the first one's, by which the time of the switch is told.
    calls: expected in all.
    """

    def __init__(self, first: Denoiser, build: Callable[[int], Denoiser], refiner: Refiner, levels: NoiseLevels, calls: int) -> None:
        self._first = first
        self._build = build
        self._refiner = refiner
        self._levels = levels
        self._calls = calls
        self._second: Denoiser | None = None

    @property
    def calls_made(self) -> int:
        """By both."""
        return (self._second or self._first).calls_made

    @property
    def has_padded(self) -> bool:
        """Whether either has."""
        return self._first.has_padded or (self._second is not None and self._second.has_padded)

    @property
    def used(self) -> Mapping[str, str]:
        """The refiner's infotext pairs, once it has taken over."""
        return self._refiner.used if self._second else {}

    def denoise(self, call: Denoise) -> Generator[UNetCall, Answer, torch.Tensor]:
        """The answer of the one whose turn it is."""
        if self._second is None and self._done(call.sigma) >= self._refiner.switch_at:
            self._second = self._build(self._first.calls_made)
        return (yield from (self._second or self._first).denoise(call))

    def _done(self, sigma: torch.Tensor) -> float:
        """How much of the schedule is done, as A1111 since 1.9 reckons it: by the nearest trained time step."""
        if self._refiner.by_steps:
            return self._first.calls_made / self._calls
        last = len(self._levels.sigmas) - 1
        nearest = int((self._levels.sigmas - sigma.max().to(self._levels.sigmas)).abs().argmin())
        return (last - nearest) / (last + 1)


def refiner_pairs(request: GenerationRequest, settings: Settings, title: str) -> dict[str, str]:
    """What A1111's infotext says of a refiner that has taken over.  title: the model's."""
    passes = settings.hires_fix_refiner_pass
    pairs = {
        "Hires refiner": passes if request.enable_hr and passes != "second pass" else None,
        "Refiner": title,
        "Refiner switch at": str(request.refiner_switch_at),
        "Refiner switch by sampling steps": "True" if settings.refiner_switch_by_sample_steps else None,
    }
    return {key: value for key, value in pairs.items() if value is not None}


def latents_are_alike(first: Pipeline, second: Pipeline) -> bool:
    """Whether two models' latents mean the same: the families that scale them differently have different VAEs."""
    kinds = [(one.latent_channels, one.downscale, one.scaling_factor) for one in (first, second)]
    return kinds[0] == kinds[1]


def check_successor(first: Pipeline, second: Pipeline) -> None:
    """Raises InvalidRequest when the second model cannot go on with the first one's latents."""
    if not latents_are_alike(first, second):
        raise InvalidRequest("The refiner works on latents of another kind than the checkpoint's. Choose two that belong together.")
    if extra_channels_of(first) != extra_channels_of(second):
        raise InvalidRequest(
            "Only one of checkpoint and refiner is an inpainting, depth or instruct-pix2pix model. Choose two of the same kind."
        )
