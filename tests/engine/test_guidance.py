"""Every kind of guidance, alone and around another."""

from __future__ import annotations

import pytest
import torch

from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.engine.guidance import ClassifierFree, Estimates, Guidance, Moment, NegativeMinimumSigma, Rescaled, SkipEarly, build_guidance

NEGATIVE = torch.ones(1, 2, 2)


def moment(call: int = 0, calls: int = 10, sigma: float = 5.0) -> Moment:
    return Moment(call, calls, sigma)


def estimates(*positives: float, weights: tuple[float, ...] = (1.0,), negative: torch.Tensor | None = NEGATIVE) -> Estimates:
    return Estimates(torch.stack([torch.full((1, 2, 2), value) for value in positives]), weights, negative)


def one_number(combined: torch.Tensor) -> float:
    assert combined.shape == (1, 2, 2)
    (value,) = combined.unique().tolist()
    return value


def test_it_leads_away_from_the_negative_prompt() -> None:
    assert one_number(ClassifierFree(7.0).combine(estimates(3.0))) == 15.0


def test_scale_0_is_the_negative_prompt_alone() -> None:
    assert one_number(ClassifierFree(0.0).combine(estimates(3.0))) == 1.0


def test_each_part_pulls_with_its_weight_also_away() -> None:
    guidance = ClassifierFree(2.0, (1.0, -0.5))
    assert one_number(guidance.combine(estimates(3.0, 7.0, weights=(1.0, -0.5)))) == 1 + 2 * (2 - 0.5 * 6)


def test_without_the_negative_prompt_the_first_part_stands_for_it() -> None:
    assert one_number(ClassifierFree(7.0).combine(estimates(3.0, negative=None))) == 3.0
    two = estimates(3.0, 5.0, weights=(1.0, 0.5), negative=None)
    assert one_number(ClassifierFree(7.0, (1.0, 0.5)).combine(two)) == 3 + 7 * 0.5 * 2


@pytest.mark.parametrize(
    ("scale", "weights", "wants"), [(1.0, (1.0,), False), (7.0, (1.0,), True), (1.0, (1.0, 1.0), True), (1.0, (0.5,), True)]
)
def test_where_the_negative_prompt_cancels_out_it_is_not_evaluated(scale: float, weights: tuple[float, ...], wants: bool) -> None:
    assert ClassifierFree(scale, weights).wants_negative(moment()) is wants


def wanted(guidance: Guidance, calls: int = 10, sigma: float = 1.0) -> list[bool]:
    return [guidance.wants_negative(moment(call, calls, sigma)) for call in range(calls)]


def test_skipping_early_leaves_it_out_of_the_first_part() -> None:
    guidance = SkipEarly(ClassifierFree(7.0), 0.3)
    assert wanted(guidance) == [False] * 4 + [True] * 6
    assert guidance.used == {"Skip Early CFG": "0.3"}


def test_below_the_minimum_sigma_every_second_call_leaves_it_out() -> None:
    guidance = NegativeMinimumSigma(ClassifierFree(7.0), 3.0)
    assert wanted(guidance, sigma=5.0) == [True] * 10
    assert guidance.used == {}
    assert wanted(guidance, sigma=1.0) == [True, False] * 5
    assert guidance.used == {"NGMS": "3.0"}


def test_or_all_calls_do() -> None:
    guidance = NegativeMinimumSigma(ClassifierFree(7.0), 3.0, in_all=True)
    assert wanted(guidance, sigma=1.0) == [False] * 10
    assert guidance.used == {"NGMS": "3.0", "NGMS all steps": "True"}


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_rescaling_brings_the_spread_back_to_the_prompts_own(share: float) -> None:
    generator = torch.Generator().manual_seed(1)
    positive, negative = torch.randn(2, 4, 8, 8, generator=generator)
    inner = ClassifierFree(9.0)
    given = Estimates(positive[None], (1.0,), negative)
    plain = inner.combine(given)
    rescaled = Rescaled(inner, share).combine(given)
    spread = float(share * positive.std() + (1 - share) * plain.std())
    assert float(rescaled.std()) == pytest.approx(spread, rel=1e-5)
    torch.testing.assert_close(rescaled / rescaled.std(), plain / plain.std(), rtol=1e-5, atol=1e-5)


def test_the_settings_and_the_request_build_it() -> None:
    request = GenerationRequest(cfg_scale=5.0, cfg_rescale=0.5)
    guidance = build_guidance(request, Settings().changed({"s_min_uncond": 2.0, "skip_early_cond": 0.2}), (1.0,))
    assert wanted(guidance, sigma=1.0) == [False, False, False, False, True, False, True, False, True, False]
    assert guidance.used == {"NGMS": "2.0", "Skip Early CFG": "0.2"}
    plain = build_guidance(GenerationRequest(cfg_scale=5.0), Settings(), (1.0,), 0.1)
    assert isinstance(plain, ClassifierFree)
    assert one_number(plain.combine(estimates(3.0))) == 2.0
