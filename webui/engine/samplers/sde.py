"""DPM-Solver++ with noise: the ancestral two-stage method, and the solvers of the diffusion SDE.

x: (B, C, h, w).   sigmas: (n + 1,), falling.   eta: how much noise a step replaces; 0 solves the ODE, 1 the SDE.
strength: of that noise.   brownian(sigma, sigma_next): the noise of that stretch.
Source: Lu et al. 2022b (DPM-Solver++).
"""

from __future__ import annotations

from itertools import pairwise

import torch

from webui.engine.samplers.base import BrownianNoise, Denoise, FreshNoise, Sampling, ancestral_step, slope


def dpmpp_2s_ancestral(x: torch.Tensor, sigmas: torch.Tensor, draw: FreshNoise, eta: float, strength: float) -> Sampling:
    """Two-stage DPM-Solver++ to a lower level than asked, then fresh noise up to it.  Source: Lu et al. 2022b, algorithm 1, r = 1/2."""
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        down, up = ancestral_step(sigma, sigma_next, eta)
        if down == 0:
            x = x + slope(x, sigma, denoised) * (down - sigma)
        else:
            t, t_next = -sigma.log(), -down.log()
            h = t_next - t
            middle = t + h / 2
            x_middle = (-middle).exp() / (-t).exp() * x - (-h / 2).expm1() * denoised
            denoised_middle = yield Denoise(x_middle, (-middle).exp())
            x = (-t_next).exp() / (-t).exp() * x - (-h).expm1() * denoised_middle
        if sigma_next > 0:
            x = x + draw() * strength * up
    return x


def dpmpp_sde(x: torch.Tensor, sigmas: torch.Tensor, brownian: BrownianNoise, eta: float, strength: float) -> Sampling:
    """Two-stage DPM-Solver++ of the SDE: down to the middle, a second look there, then the whole step.  r = 1/2.

    The levels are taken from their logarithms again, as k-diffusion does: a Brownian path is asked about the very same numbers.
    """
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        if sigma_next == 0:
            return x + slope(x, sigma, denoised) * (sigma_next - sigma)
        t, t_next = -sigma.log(), -sigma_next.log()
        middle = t + (t_next - t) / 2
        here, half, there = (-t).exp(), (-middle).exp(), (-t_next).exp()
        down, up = ancestral_step(here, half, eta)
        x_middle = _to_level(x, denoised, t, down) + brownian(here, half) * strength * up
        denoised_middle = yield Denoise(x_middle, half)
        down, up = ancestral_step(here, there, eta)
        x = _to_level(x, denoised_middle, t, down) + brownian(here, there) * strength * up
    return x


def _to_level(x: torch.Tensor, denoised: torch.Tensor, t: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact solution from log-level -t to sigma for a constant answer."""
    t_next = -sigma.log()
    return (-t_next).exp() / (-t).exp() * x - (t - t_next).expm1() * denoised


def dpmpp_2m_sde(
    x: torch.Tensor, sigmas: torch.Tensor, brownian: BrownianNoise, eta: float, strength: float, *, solver: str = "midpoint"
) -> Sampling:
    """Second-order multistep solver of the SDE.  solver: "midpoint", or "heun", which weights the change of the answers exactly.

    Source: SDE-DPM-Solver++(2M), Lu et al. 2022b; the share eta of the noise is k-diffusion's (K. Crowson).
    """
    previous: torch.Tensor | None = None
    h_previous = sigmas.new_zeros(())
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        if sigma_next == 0:
            return denoised
        t, t_next = -sigma.log(), -sigma_next.log()
        h = t_next - t
        eta_h = eta * h
        whole = (-h - eta_h).expm1().neg()
        x = sigma_next / sigma * (-eta_h).exp() * x + whole * denoised
        if previous is not None:
            change = (denoised - previous) * (h / h_previous)
            x = x + change * (whole / (-h - eta_h) + 1 if solver == "heun" else 0.5 * whole)
        if eta:
            x = x + brownian(sigma, sigma_next) * sigma_next * (-2 * eta_h).expm1().neg().sqrt() * strength
        previous, h_previous = denoised, h
    return x


def dpmpp_3m_sde(x: torch.Tensor, sigmas: torch.Tensor, brownian: BrownianNoise, eta: float, strength: float) -> Sampling:
    """Multistep solver of the SDE from three answers: their first and second divided differences in log sigma.

    The curvature has half of the weight that would make it exact, in DPM-Solver++'s own program, k-diffusion, A1111 and so here; that
    leaves it of order 2, with a smaller error than 2M's.
    Source: k-diffusion (K. Crowson); phi_2 and phi_2 / whole - 1/2 are those of exponential integrators (Hochbruck & Ostermann 2010).
    """
    answers: list[torch.Tensor] = []
    lengths: list[torch.Tensor] = []
    for sigma, sigma_next in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        if sigma_next == 0:
            return denoised
        t, t_next = -sigma.log(), -sigma_next.log()
        h = t_next - t
        whole = h * (eta + 1)
        x = (-whole).exp() * x - (-whole).expm1() * denoised
        phi_2 = (-whole).expm1() / whole + 1
        if len(answers) == 2:
            r_1, r_2 = lengths[0] / h, lengths[1] / h
            nearer, farther = (denoised - answers[0]) / r_1, (answers[0] - answers[1]) / r_2
            curve = (nearer - farther) / (r_1 + r_2)
            x = x + phi_2 * (nearer + curve * r_1) - (phi_2 / whole - 0.5) * curve
        elif answers:
            x = x + phi_2 * (denoised - answers[0]) / (lengths[0] / h)
        if eta:
            x = x + brownian(sigma, sigma_next) * sigma_next * (-2 * h * eta).expm1().neg().sqrt() * strength
        answers, lengths = [denoised, *answers[:1]], [h, *lengths[:1]]
    return x
