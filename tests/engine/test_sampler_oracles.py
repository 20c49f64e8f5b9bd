"""Samplers against diffusers' schedulers, against exact solutions, and against what theory says of their order."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import TCDScheduler

from tools.sampler_oracles import BETAS, agreements, finish, on_trajectory, silent, unified
from tools.sampler_orders import convergences, unipc_error
from webui.core.samplers import SAMPLERS
from webui.engine.samplers import Sampling, dpm, multistep, sde
from webui.engine.samplers.consistency import tcd_timesteps
from webui.engine.samplers.unipc import UniPCOptions, varying_weights
from webui.engine.schedules import karras

# diffusers' schedulers are not written for numpy 2; torchsde warns where it is asked about the ends.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

LABELS = [sampler.label for sampler in SAMPLERS]
NOT_SOLVERS = {"DPM adaptive", "LCM", "TCD"}


@pytest.mark.parametrize("label", LABELS)
def test_a_sampler_agrees_with_its_oracle(label: str) -> None:
    agreement = agreements()[label]
    ours, theirs = agreement.pair()
    assert float(ours.abs().max()) > 0.1
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= agreement.limit


@pytest.mark.parametrize("label", sorted(set(LABELS) - NOT_SOLVERS))
def test_a_solver_converges_to_the_exact_solution_in_its_order(label: str) -> None:
    convergence = convergences()[label]
    assert convergence.error(convergence.steps[0]) > 1e-7
    assert convergence.measured() == pytest.approx(convergence.order, abs=0.2)


def test_every_sampler_is_held_against_something() -> None:
    assert set(agreements()) == set(LABELS)
    assert set(convergences()) == set(LABELS) - NOT_SOLVERS


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_unipc_is_diffusers_in_every_order(variant: str, order: int) -> None:
    ours, theirs = unified(variant, order)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(("variant", "order", "slope"), [("bh1", 1, 2.2), ("bh2", 1, 2.0), ("bh1", 2, 3.0), ("bh2", 2, 2.8)])
def test_unipc_converges_one_order_faster_than_its_predictor(variant: str, order: int, slope: float) -> None:
    few, many = (unipc_error(UniPCOptions(variant, "logSNR", order), steps) for steps in (20, 40))
    assert math.log2(few / many) == pytest.approx(slope, abs=0.2)


def test_unipc_with_varying_coefficients_is_of_order_1_as_its_authors_program_is() -> None:
    few, many = (unipc_error(UniPCOptions("vary_coeff", "logSNR", 2), steps) for steps in (80, 160))
    assert math.log2(few / many) == pytest.approx(1.0, abs=0.15)


def test_the_weights_of_varying_coefficients_are_the_authors_programs() -> None:
    predictor, corrector = varying_weights(-0.5, np.array([-1.0, 1.0]))
    second = math.expm1(-0.5) / -0.5 - 1
    third = second / -0.5 - 1 / 2
    # The matrix [[1, -1/2], [1, 1/2]] has the inverse [[1/2, 1/2], [-1, 1]].
    assert predictor == pytest.approx([second])
    assert corrector == pytest.approx([second / 2, third / 2])


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_tcd_is_diffusers_with_every_gamma(eta: float) -> None:
    ours, theirs = on_trajectory(eta)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_tcd_asks_at_diffusers_time_steps() -> None:
    for steps in range(1, 51):
        scheduler = TCDScheduler(**BETAS)
        scheduler.set_timesteps(steps)
        assert tcd_timesteps(steps) == scheduler.timesteps.tolist()
    assert tcd_timesteps(200) == tcd_timesteps(50)


def exact_from(x: float, sigma: float, sigma_next: float, answer: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """The solution of dx/dsigma = (x - D) / sigma when D depends on log sigma alone, by a very fine quadrature."""
    lambdas = torch.linspace(-math.log(sigma), -math.log(sigma_next), 20001, dtype=torch.float64)
    return sigma_next / sigma * x + sigma_next * float(torch.trapezoid(lambdas.exp() * answer(-lambdas), lambdas))


@pytest.mark.parametrize(
    "sampler",
    [
        partial(sde.dpmpp_2m_sde, brownian=silent, eta=0.0, strength=1.0, solver="heun"),
        partial(sde.dpmpp_3m_sde, brownian=silent, eta=0.0, strength=1.0),
    ],
)
def test_a_multistep_method_steps_exactly_where_the_answers_are_linear_in_log_sigma(sampler: Callable[..., Sampling]) -> None:
    states: list[float] = []

    def linear(log_sigma: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.8 * log_sigma

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        states.append(float(x))
        return linear(sigma.log()).reshape(1, 1, 1, 1)

    sigmas = karras(9, 0.1, 10.0)[:-1].double()
    result, _ = finish(sampler(torch.full((1, 1, 1, 1), 4.0, dtype=torch.float64), sigmas=sigmas), denoise)
    errors = [
        abs(exact_from(x, float(sigma), float(sigma_next), linear) - x_next)
        for (x, x_next), (sigma, sigma_next) in zip(pairwise([*states, float(result)]), pairwise(sigmas), strict=True)
    ]
    assert errors[0] > 1e-3
    assert max(errors[1:]) < 1e-6


def test_the_weights_of_lms_integrate_polynomials_exactly() -> None:
    known, target = [3.0, 4.0, 6.5, 9.0], 1.5
    for degree in range(4):
        weights = multistep.adams_weights(known, target)
        integral = (target ** (degree + 1) - known[0] ** (degree + 1)) / (degree + 1)
        assert sum(weight * place**degree for weight, place in zip(weights, known, strict=True)) == pytest.approx(integral)


@pytest.mark.parametrize("calls", range(1, 40))
def test_dpm_fast_spends_its_calls_on_steps_of_order_three_as_far_as_they_go(calls: int) -> None:
    orders = dpm.fast_orders(calls)
    assert sum(orders) == calls
    assert all(first >= second for first, second in pairwise(orders))
    assert orders.count(3) >= calls // 3 - 1


def test_a_step_length_grows_where_the_error_is_small_and_shrinks_where_it_is_not() -> None:
    length = dpm.StepLength(0.1, order=3)
    assert length.accepts(0.01)
    assert length.h > 0.1
    grown = length.h
    assert not length.accepts(30.0)
    assert length.h < grown


def test_a_step_counts_up_to_somewhat_more_than_the_error_that_is_tolerated() -> None:
    assert dpm.StepLength(0.1, order=3).accepts(1.8)
    assert not dpm.StepLength(0.1, order=3).accepts(2.0)


def test_dpm_adaptive_comes_to_an_end_when_the_model_gives_no_numbers() -> None:
    answers = [float("nan")] * 3
    result, _ = finish(dpm.dpm_adaptive(torch.ones(1, 1, 1, 1), 14.6, 0.03, silent, 0.0), lambda x, sigma: x * answers.pop())
    assert result.isnan().all()
