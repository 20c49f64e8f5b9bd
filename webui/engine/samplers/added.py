"""Samplers and schedules of extensions, made to fit where the program's own are."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch

from webui.core.errors import ExtensionFailed
from webui.core.hook_ports import EngineHooks
from webui.engine.samplers.base import Denoise, Sampling
from webui.engine.samplers.sigma_methods import Begin, SigmaRun
from webui.engine.schedules import Wish


def added_method(hooks: EngineHooks, label: str, run: SigmaRun) -> tuple[Begin, int]:
    """The generator of an extension's sampler, and the calls that it makes.  Raises UnknownName, ExtensionFailed."""
    sampler = hooks.find_sampler(label)

    def begin(x: torch.Tensor) -> Sampling:
        sampling = hooks.run(label, sampler.sample, x=x, sigmas=run.sigmas, draw=run.noise.draw, eta=run.eta)
        if not isinstance(sampling, Generator):
            raise ExtensionFailed(f"{label} is no generator function; it must yield Denoise.")
        return _followed(hooks, label, sampling, x)

    return begin, run.once * sampler.calls


def added_sigmas(hooks: EngineHooks, label: str, wish: Wish) -> torch.Tensor:
    """The levels of an extension's schedule: float32, falling.  Raises UnknownName, ExtensionFailed."""
    schedule = hooks.find_schedule(label)
    answer = hooks.run(label, schedule.spacing, steps=wish.steps, sigma_min=wish.low, sigma_max=wish.high)
    levels = hooks.run(label, lambda: torch.as_tensor(answer, dtype=torch.float32).flatten())
    sigmas = torch.as_tensor(levels)
    falls = bool((sigmas.diff() <= 0).all() and sigmas.isfinite().all() and (sigmas >= 0).all() and (sigmas[:1] > 0).all())
    if len(sigmas) != wish.steps + 1 or not falls:
        raise ExtensionFailed(f"{label} gave {sigmas.tolist()[:20]}; a schedule of {wish.steps} steps is {wish.steps + 1} falling levels.")
    return sigmas


def _followed(hooks: EngineHooks, label: str, sampling: Generator[Any, Any, Any], x: torch.Tensor) -> Sampling:
    """The extension's generator, its errors named, its questions and its end checked."""
    answer: torch.Tensor | None = None
    while True:
        ended, step = hooks.run(label, lambda given=answer: _next(sampling, given))
        if ended:
            if not isinstance(step, torch.Tensor) or step.shape != x.shape:
                raise ExtensionFailed(f"{label} returned {type(step).__name__}; return the latents, of shape {tuple(x.shape)}.")
            return step
        if not isinstance(step, Denoise):
            raise ExtensionFailed(f"{label} yielded a {type(step).__name__}; yield webui.engine.samplers.Denoise(x, sigma).")
        answer = yield step


def _next(sampling: Generator[Any, Any, Any], answer: torch.Tensor | None) -> tuple[bool, Any]:
    """(False, what it yields) or (True, what it returns)."""
    try:
        return False, sampling.send(answer)
    except StopIteration as end:
        return True, end.value
