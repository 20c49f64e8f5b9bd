"""Guidance: how a picture's answers to its prompts become one. Each kind is an object; they are put around each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from webui.core.request import GenerationRequest
from webui.core.settings import Settings


@dataclass(frozen=True)
class Moment:
    """Where sampling is.

    call: denoiser calls made before.   calls: those expected in all.   sigma: the noise level now; for samplers that walk time steps
    the time step, as in A1111.
    """

    call: int
    calls: int
    sigma: float


@dataclass(frozen=True)
class Estimates:
    """What the model says of one picture.

    positives: (P, C, h, w), denoised towards each part of the prompt.   weights: of the parts.
    negative: (C, h, w), denoised towards the negative prompt; None where that was not asked.
    apart: the same without knowing the picture that is drawn from, where a model wants it.
    """

    positives: torch.Tensor
    weights: tuple[float, ...]
    negative: torch.Tensor | None
    apart: torch.Tensor | None = None


class Guidance(Protocol):
    """What may be put into the loop; an extension may bring another one."""

    def wants_negative(self, moment: Moment) -> bool:
        """Whether the negative prompt shall be evaluated at this moment."""
        ...

    def combine(self, estimates: Estimates) -> torch.Tensor:
        """One (C, h, w) of what the model said."""
        ...

    @property
    def used(self) -> Mapping[str, str]:
        """Infotext pairs for what has had an effect so far."""
        ...


class ClassifierFree:
    """Away from the negative prompt, towards each part of the prompt: n + sum of weight * scale * (p - n).

    Source: Ho & Salimans 2022; Liu et al. 2022 for several parts. At scale 1 a single part is the answer, so the negative
    prompt is not evaluated. Where it was not, the first part stands in its place.
    image_scale: how closely the result follows the picture, where the model is asked without it too (Brooks et al. 2023, eq. 3).
    """

    used: Mapping[str, str] = {}

    def __init__(self, scale: float, weights: tuple[float, ...] = (1.0,), image_scale: float = 1.0) -> None:
        self._scale = scale
        self._image_scale = image_scale
        self._cancels_out = scale == 1.0 and weights == (1.0,)

    def wants_negative(self, moment: Moment) -> bool:
        """Not where it would cancel out."""
        return not self._cancels_out

    def combine(self, estimates: Estimates) -> torch.Tensor:
        """As above."""
        start = estimates.positives[0] if estimates.negative is None else estimates.negative
        if estimates.negative is None and len(estimates.weights) == 1:
            return start
        combined = start if estimates.apart is None else estimates.apart + (start - estimates.apart) * self._image_scale
        for positive, weight in zip(estimates.positives, estimates.weights, strict=True):
            combined = combined + (positive - start) * (weight * self._scale)
        return combined


class SkipEarly:
    """No negative prompt in the first part of the steps.  part: 0..1."""

    def __init__(self, inner: Guidance, part: float) -> None:
        self._inner = inner
        self._part = part
        self._has_skipped = False

    def wants_negative(self, moment: Moment) -> bool:
        """Not in the first part."""
        if moment.call / moment.calls <= self._part:
            self._has_skipped = True
            return False
        return self._inner.wants_negative(moment)

    def combine(self, estimates: Estimates) -> torch.Tensor:
        """As inside."""
        return self._inner.combine(estimates)

    @property
    def used(self) -> Mapping[str, str]:
        """Says so when it has skipped."""
        return {**self._inner.used, **({"Skip Early CFG": str(self._part)} if self._has_skipped else {})}


class NegativeMinimumSigma:
    """No negative prompt in every second call (or in every one) once the noise is below a level: A1111's NGMS."""

    def __init__(self, inner: Guidance, sigma: float, *, in_all: bool = False) -> None:
        self._inner = inner
        self._sigma = sigma
        self._in_all = in_all
        self._has_skipped = False

    def wants_negative(self, moment: Moment) -> bool:
        """Not below the level."""
        if (moment.call % 2 or self._in_all) and moment.sigma < self._sigma:
            self._has_skipped = True
            return False
        return self._inner.wants_negative(moment)

    def combine(self, estimates: Estimates) -> torch.Tensor:
        """As inside."""
        return self._inner.combine(estimates)

    @property
    def used(self) -> Mapping[str, str]:
        """Says so when it has skipped."""
        if not self._has_skipped:
            return self._inner.used
        return {**self._inner.used, "NGMS": str(self._sigma), **({"NGMS all steps": "True"} if self._in_all else {})}


class Rescaled:
    """Brings the spread of the result back to that of the prompt's own answer.  share: 0 does nothing, 1 all of it.

    Source: Lin et al. 2023, section 3.4, here on the denoised picture.
    """

    def __init__(self, inner: Guidance, share: float) -> None:
        self._inner = inner
        self._share = share

    def wants_negative(self, moment: Moment) -> bool:
        """As inside."""
        return self._inner.wants_negative(moment)

    def combine(self, estimates: Estimates) -> torch.Tensor:
        """The inner result, with its spread changed."""
        combined = self._inner.combine(estimates)
        factor = estimates.positives[0].std() / combined.std()
        return combined * (self._share * factor + (1 - self._share))

    @property
    def used(self) -> Mapping[str, str]:
        """As inside: the share is a parameter of the request."""
        return self._inner.used


def build_guidance(request: GenerationRequest, settings: Settings, weights: tuple[float, ...], scale_factor: float = 1.0) -> Guidance:
    """The guidance that one picture is to have.

    weights: of its prompt's parts.   scale_factor: what the sampler multiplies the CFG scale with.
    """
    guidance: Guidance = ClassifierFree(request.cfg_scale * scale_factor, weights, request.image_cfg_scale)
    if request.cfg_rescale:
        guidance = Rescaled(guidance, request.cfg_rescale)
    sigma = settings.s_min_uncond or request.s_min_uncond or 0.0
    if sigma:
        guidance = NegativeMinimumSigma(guidance, sigma, in_all=settings.s_min_uncond_all)
    if settings.skip_early_cond:
        guidance = SkipEarly(guidance, settings.skip_early_cond)
    return guidance
