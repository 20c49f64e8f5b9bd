"""DPM-Solver in single steps of order 1 to 3, on a fixed budget of calls or with steps chosen by their error.

x: (B, C, h, w).   t = -log sigma: rising while noise falls.   eta, strength: how much noise a step replaces, and how strong it is.
Source: Lu et al. 2022a (DPM-Solver), in sigma terms, where alpha is 1.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from webui.engine.samplers.base import Denoise, FreshNoise, Sampling, ancestral_step


def dpm_fast(x: torch.Tensor, high: float, low: float, calls: int, draw: FreshNoise, eta: float, strength: float) -> Sampling:
    """Steps of order 3, and one or two lower ones for what is left of the calls, even in log sigma from high to low; both above 0.

    Source: Lu et al. 2022a, DPM-Solver-fast.
    """
    orders = fast_orders(calls)
    end = -torch.tensor(low).log()
    times = torch.linspace(float(-torch.tensor(high).log()), float(end), len(orders) + 1)
    for order, (t, t_next) in zip(orders, pairwise(times), strict=True):
        target, up = _ancestral_target(t, t_next, end, eta)
        eps = yield from _noise_in(x, t)
        if order == 1:
            x = _first(x, t, target, eps)
        else:
            part = 1 / order
            eps_there = yield from _part_way(x, t, target, eps, part)
            x = _second(x, t, target, eps, eps_there, part) if order == 2 else (yield from _third(x, t, target, eps, eps_there))
        if eta:
            x = x + up * strength * draw()
    return x


def fast_orders(calls: int) -> list[int]:
    """Orders of the steps that together make so many calls."""
    if calls < 1:
        return []
    return [3] * (calls // 3 - 1) + [2, 1] if calls % 3 == 0 else [3] * (calls // 3) + [calls % 3]


def dpm_adaptive(x: torch.Tensor, high: float, low: float, draw: FreshNoise, eta: float) -> Sampling:
    """Steps of order 3 whose lengths follow the difference to order 2, over the whole batch; both levels above 0.

    A step that gives no number is the last, so that a broken model cannot keep it going for ever.
    Source: Lu et al. 2022a, DPM-Solver-23, with its tolerances 0.0078 and 0.05.
    """
    t, end = -torch.tensor(high).log(), -torch.tensor(low).log()
    length = StepLength(0.05, order=1.5 if eta else 3)
    x_before = x
    while t < end - 1e-5:
        t_next = torch.minimum(end, t + length.h)
        target, up = _ancestral_target(t, t_next, end, eta)
        eps = yield from _noise_in(x, t)
        eps_third = yield from _part_way(x, t, target, eps, 1 / 3)
        x_low = _second(x, t, target, eps, eps_third, 1 / 3)
        x_high = yield from _third(x, t, target, eps, eps_third)
        tolerance = (0.05 * torch.maximum(x_low.abs(), x_before.abs())).clamp(min=0.0078)
        error = float(torch.linalg.norm((x_low - x_high) / tolerance)) / x.numel() ** 0.5
        if math.isnan(error):
            return x_high
        if length.accepts(error):
            x_before, x, t = x_low, x_high, t_next
            if eta:
                x = x + up * draw()
    return x


class StepLength:
    """The integral controller of a solver's step length: it grows where the error is below the tolerance.

    h: the length to try.   order: of the error in h.   Source: Söderlind 2003 (digital filters in adaptive time-stepping).
    """

    def __init__(self, h: float, *, order: float) -> None:
        self.h = h
        self._order = order

    def accepts(self, error: float) -> bool:
        """Whether a step of this error (1: as much as is tolerated) counts; h becomes the next one to try."""
        wanted = (1 / (error + 1e-8)) ** (1 / self._order)
        factor = 1 + math.atan(wanted - 1)
        self.h *= factor
        return factor >= 0.81


def _ancestral_target(t: torch.Tensor, t_next: torch.Tensor, end: torch.Tensor, eta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where to step to, at most to the end, and how much noise to add then to be at t_next."""
    if not eta:
        return t_next, t.new_zeros(())
    down, _ = ancestral_step((-t).exp(), (-t_next).exp(), eta)
    target = torch.minimum(end, -down.log())
    return target, ((-t_next).exp() ** 2 - (-target).exp() ** 2).clamp(min=0).sqrt()


def _noise_in(x: torch.Tensor, t: torch.Tensor) -> Sampling:
    """The standard normal noise that the denoiser sees in x."""
    sigma = (-t).exp()
    denoised = yield Denoise(x, sigma)
    return (x - denoised) / sigma


def _part_way(x: torch.Tensor, t: torch.Tensor, t_next: torch.Tensor, eps: torch.Tensor, part: float) -> Sampling:
    """The noise a part of the way on, reached by a step of order 1."""
    return (yield from _noise_in(_first(x, t, t + part * (t_next - t), eps), t + part * (t_next - t)))


def _first(x: torch.Tensor, t: torch.Tensor, t_next: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    return x - (-t_next).exp() * (t_next - t).expm1() * eps


def _second(
    x: torch.Tensor, t: torch.Tensor, t_next: torch.Tensor, eps: torch.Tensor, eps_there: torch.Tensor, part: float
) -> torch.Tensor:
    """Order 2 from the noise here and a part of the way on."""
    return _first(x, t, t_next, eps) - (-t_next).exp() / (2 * part) * (t_next - t).expm1() * (eps_there - eps)


def _third(x: torch.Tensor, t: torch.Tensor, t_next: torch.Tensor, eps: torch.Tensor, eps_third: torch.Tensor) -> Sampling:
    """Order 3 from the noise here, at a third and at two thirds of the way."""
    h = t_next - t
    part = 2 / 3 * h
    there = t + part
    x_there = _first(x, t, there, eps) - (-there).exp() * 2 * (part.expm1() / part - 1) * (eps_third - eps)
    eps_there = yield from _noise_in(x_there, there)
    return _first(x, t, t_next, eps) - (-t_next).exp() / (2 / 3) * (h.expm1() / h - 1) * (eps_there - eps)
