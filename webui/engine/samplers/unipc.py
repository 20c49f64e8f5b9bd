"""UniPC: a multistep predictor whose every new answer also corrects the step that led to it, on the model's continuous time.

x: (B, C, h, w) = alpha picture + sigma noise, alpha^2 + sigma^2 = 1.   time: (time step + 1) / 1000, from 1 down to 1/1000.
lambda = log(alpha / sigma), piecewise through log alpha, which is linear in time between the trained steps.
Source: Zhao et al. 2023 (UniPC), in data prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from webui.engine.noise_levels import NoiseLevels
from webui.engine.samplers.base import Sampling
from webui.engine.samplers.timestep import question

TRAINED = 1000


@dataclass(frozen=True)
class UniPCOptions:
    """A1111's settings of it.

    variant: "bh1", "bh2" or "vary_coeff", the function B(h).   skip_type: "time_uniform", "time_quadratic" or "logSNR", the spacing.
    order: 1 or more; steps look at so many answers, fewer while there are not so many.   lower_order_final: fewer at the end, too.
    """

    variant: str = "bh1"
    skip_type: str = "time_uniform"
    order: int = 3
    lower_order_final: bool = True


@dataclass(frozen=True)
class _Weights:
    """What a step does.

    start, first: weights of x and of the last answer.   predictor, corrector: of the earlier answers' differences to the last.
    new: of the new answer's, by the corrector.
    """

    start: float
    first: float
    predictor: tuple[float, ...]
    corrector: tuple[float, ...]
    new: float


class VpTime:
    """alpha, sigma and lambda of the variance-preserving process at any time."""

    def __init__(self, levels: NoiseLevels) -> None:
        self._log_alpha = 0.5 * levels.alphas_cumprod.double().log().cpu().numpy()
        self._times = np.arange(1, TRAINED + 1) / TRAINED

    def alpha(self, time: float) -> float:
        """How much of the picture there is, 0..1."""
        return float(np.exp(np.interp(time, self._times, self._log_alpha)))

    def sigma(self, time: float) -> float:
        """How much noise there is, 0..1."""
        return (1 - self.alpha(time) ** 2) ** 0.5

    def log_snr(self, time: float) -> float:
        """lambda, half the logarithm of the signal-to-noise ratio."""
        return float(np.log(self.alpha(time) / self.sigma(time)))

    def spaced(self, skip_type: str, start: float, steps: int) -> list[float]:
        """steps + 1 times from start down to the first trained one."""
        end = 1 / TRAINED
        if skip_type == "time_uniform":
            return np.linspace(start, end, steps + 1).tolist()
        if skip_type == "time_quadratic":
            return (np.linspace(start**0.5, end**0.5, steps + 1) ** 2).tolist()
        log_alpha = -0.5 * np.logaddexp(0, -2 * np.linspace(self.log_snr(start), self.log_snr(end), steps + 1))
        return np.interp(log_alpha, self._log_alpha[::-1], self._times[::-1]).tolist()


def unipc(x: torch.Tensor, levels: NoiseLevels, steps: int, options: UniPCOptions, start: float = 1.0) -> Sampling:
    """Sample from the time `start` in so many steps, each asking once; the state at the last time is not asked about."""
    vp = VpTime(levels)
    times = vp.spaced(options.skip_type, start, steps)
    answers = [(yield from _denoised(x, levels, vp, times[0]))]
    for step, order in enumerate(step_orders(steps, options), start=1):
        weights = _step_weights(vp, times[step - order : step + 1], options.variant)
        last = answers[0]
        base = weights.start * x + weights.first * last
        changes = [answer - last for answer in answers[1:order]]
        x = base + _sum(weights.predictor, changes)
        if step < steps:
            new = yield from _denoised(x, levels, vp, times[step])
            x = base + _sum(weights.corrector, changes) + weights.new * (new - last)
            answers = [new, *answers[: options.order - 1]]
    return x


def step_orders(steps: int, options: UniPCOptions) -> list[int]:
    """The order of each step: it grows while answers are gathered, and with lower_order_final falls again at the end."""
    highest = min(options.order, steps)
    falling = [steps + 1 - step if options.lower_order_final and step >= highest else highest for step in range(1, steps + 1)]
    return [min(highest, step, most) for step, most in enumerate(falling, start=1)]


def _denoised(x: torch.Tensor, levels: NoiseLevels, vp: VpTime, time: float) -> Sampling:
    """The picture, from the noise that the model sees at this time."""
    asked = question(x, levels, min(max(time * TRAINED - 1, 0.0), TRAINED - 1))
    answer = yield asked
    eps = (asked.x - answer) / asked.sigma
    return (x - vp.sigma(time) * eps) / vp.alpha(time)


def _sum(weights: tuple[float, ...], changes: list[torch.Tensor]) -> torch.Tensor | float:
    return sum((weight * change for weight, change in zip(weights, changes, strict=True)), start=0.0)


def _step_weights(vp: VpTime, times: list[float], variant: str) -> _Weights:
    """A step from times[-2] to times[-1] with the answers at times[:-1], as many as its order."""
    here, there = times[-2], times[-1]
    h = vp.log_snr(there) - vp.log_snr(here)
    ratios = np.array([(vp.log_snr(time) - vp.log_snr(here)) / h for time in times[-3::-1]] + [1.0])
    predictor, corrector = varying_weights(-h, ratios) if variant == "vary_coeff" else b_weights(-h, ratios, variant)
    alpha = vp.alpha(there)
    scaled = [-alpha * weight / ratio for weight, ratio in zip(corrector, ratios, strict=True)]
    return _Weights(
        start=vp.sigma(there) / vp.sigma(here),
        first=-alpha * float(np.expm1(-h)),
        predictor=tuple(-alpha * float(weight) / ratio for weight, ratio in zip(predictor, ratios[:-1], strict=True)),
        corrector=tuple(float(weight) for weight in scaled[:-1]),
        new=float(scaled[-1]),
    )


def b_weights(hh: float, ratios: np.ndarray, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the divided differences by predictor and corrector for B(h) = h (bh1) or e^h - 1 (bh2).

    hh: -h.   ratios: (order,), of the answers' distances to h; the last is the new one's, 1.
    As in the paper, the predictor of order 2 and the corrector of order 1 have 1/2.
    """
    order = len(ratios)
    b_of_h = hh if variant == "bh1" else float(np.expm1(hh))
    moments = _phis(hh, order) * np.cumprod(np.arange(1, order + 1)) / b_of_h
    powers = np.vander(ratios, order, increasing=True).T
    predictor = np.full(1, 0.5) if order == 2 else np.linalg.solve(powers[:-1, :-1], moments[:-1])
    corrector = np.full(1, 0.5) if order == 1 else np.linalg.solve(powers, moments)
    return b_of_h * predictor, b_of_h * corrector


def varying_weights(hh: float, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for coefficients that vary with h.

    The new answer's weight is the inverse matrix's next to last row's with the last moment, as in the authors' own program.
    """
    order = len(ratios)
    factorials = np.cumprod(np.arange(1, order + 1))
    matrix = np.vander(ratios, order, increasing=True) / factorials
    phis = _phis(hh, order)
    predictor = phis[: order - 1] @ np.linalg.inv(matrix[:-1, :-1]) if order > 1 else np.zeros(0)
    inverse = np.linalg.inv(matrix)
    corrector = phis[: order - 1] @ inverse[: order - 1, :-1]
    return predictor, np.append(corrector, phis[order - 1] * inverse[max(order - 2, 0), -1])


def _phis(hh: float, count: int) -> np.ndarray:
    """h phi_k(h) for k = 2, ..., count + 1, where h phi_1(h) = e^h - 1 and phi_(k+1) = (phi_k - 1/k!) / h."""
    values, value, factorial = [], float(np.expm1(hh)), 1
    for k in range(1, count + 1):
        value = value / hh - 1 / factorial
        factorial *= k + 1
        values.append(value)
    return np.array(values)
