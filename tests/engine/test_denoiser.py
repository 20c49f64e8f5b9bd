"""Questions to the UNet, and its outputs as one denoised estimate."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from webui.engine.adaptation import NO_CHANGE, AdaptationTimeline
from webui.engine.denoiser import Denoiser, Guided
from webui.engine.guidance import ClassifierFree, NegativeMinimumSigma
from webui.engine.noise_levels import EpsPrediction, scaled_linear
from webui.engine.prompts import Conditioning
from webui.engine.rows import UNetCall
from webui.engine.samplers import Denoise
from webui.engine.timeline import Timeline

LEVELS = scaled_linear()
SIGMA = torch.tensor(2.0)


def context(value: float, tokens: int = 77) -> torch.Tensor:
    return torch.full((tokens, 4), value)


def constant(value: float, tokens: int = 77) -> Timeline:
    return Timeline(((1000, context(value, tokens)),))


def conditioning(*positives: Timeline, weights: Sequence[float] = (1.0,), negative: Timeline | None = None) -> Conditioning:
    return Conditioning(positives, tuple(weights), negative or constant(0.0), AdaptationTimeline(10), context(9.0))


CAT = conditioning(constant(1.0))


def ask(denoiser: Denoiser, x: torch.Tensor, *, with_uncond: bool = False) -> tuple[UNetCall, torch.Tensor]:
    """One question; the stand-in for the UNet says its context's first number everywhere."""
    asking = denoiser.denoise(Denoise(x, SIGMA, with_uncond))
    call = next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send([torch.ones_like(rows.x) * rows.context[:, :1, :1, None] for rows in call.rows])
    return call, end.value.value


def denoiser(*pictures: Guided, pad: str | None = None) -> Denoiser:
    return Denoiser(pictures, LEVELS, EpsPrediction(), calls=10, pad=pad)


def test_pictures_of_one_prompt_make_one_block_for_each_branch() -> None:
    guided = Guided(CAT, ClassifierFree(7.0))
    call, answer = ask(denoiser(guided, guided, guided), torch.zeros(3, 4, 8, 8))
    assert [len(rows) for rows in call.rows] == [3, 3]
    assert [float(rows.context[0, 0, 0]) for rows in call.rows] == [1.0, 0.0]
    assert call.rows[0].adaptation == NO_CHANGE
    # eps is 0 + 7 * (1 - 0), and the denoised is x - sigma * eps
    assert answer.unique().tolist() == [-14.0]


def test_every_picture_is_asked_and_answered_under_its_own_prompts() -> None:
    dog = conditioning(constant(2.0), constant(3.0), weights=(1.0, 0.5))
    pictures = [Guided(CAT, ClassifierFree(1.5)), Guided(dog, ClassifierFree(2.0, (1.0, 0.5))), Guided(CAT, ClassifierFree(1.5))]
    x = torch.arange(3.0)[:, None, None, None].expand(3, 4, 8, 8)
    call, answer = ask(denoiser(*pictures), x)
    assert sum(map(len, call.rows)) == 2 + 3 + 2
    assert answer[:, 0, 0, 0].tolist() == [-2 * 1.5, 1 - 2 * (2 * 2 + 2 * 0.5 * 3), 2 - 2 * 1.5]


def test_the_rows_are_scaled_for_the_model_and_carry_its_time_step() -> None:
    call, _ = ask(denoiser(Guided(CAT, ClassifierFree(7.0))), torch.ones(1, 4, 8, 8))
    assert call.rows[0].x.unique().tolist() == pytest.approx([5**-0.5])
    torch.testing.assert_close(call.rows[0].timestep, LEVELS.timestep(SIGMA)[None])


def test_prompts_change_at_the_call_after_their_number() -> None:
    edited = conditioning(Timeline(((2, context(1.0)), (10, context(5.0)))))
    asked = denoiser(Guided(edited, ClassifierFree(1.0)))
    seen = [float(ask(asked, torch.zeros(1, 4, 8, 8))[0].rows[0].context[0, 0, 0]) for _ in range(5)]
    assert seen == [1.0, 1.0, 1.0, 5.0, 5.0]
    assert asked.calls_made == 5


def test_past_the_end_of_a_timeline_its_beginning_holds() -> None:
    assert float(Timeline(((2, context(1.0)), (4, context(5.0)))).at(9)[0, 0]) == 1.0


def test_where_guidance_wants_no_negative_prompt_it_is_not_asked() -> None:
    asked = denoiser(Guided(CAT, NegativeMinimumSigma(ClassifierFree(7.0), 3.0)))
    assert [len(ask(asked, torch.zeros(1, 4, 8, 8))[0].rows) for _ in range(4)] == [2, 1, 2, 1]


def test_a_sampler_may_want_the_negative_prompts_answer_too() -> None:
    dark = conditioning(constant(1.0), negative=constant(-1.0))
    call, answer = ask(denoiser(Guided(dark, ClassifierFree(1.0))), torch.zeros(1, 4, 8, 8), with_uncond=True)
    assert len(call.rows) == 2
    assert answer.shape == (2, 1, 4, 8, 8)
    assert answer[:, 0, 0, 0, 0].tolist() == [-2.0, 2.0]


@pytest.mark.parametrize(
    ("pad", "positive", "negative", "lengths", "ends"),
    [
        (None, 77, 154, (77, 154), (1.0, 0.0)),
        ("empty prompt", 77, 231, (231, 231), (9.0, 0.0)),
        ("empty prompt", 154, 77, (154, 154), (1.0, 9.0)),
        ("last vector", 154, 77, (154, 154), (1.0, 0.0)),
        ("last vector", 77, 154, (77, 77), (1.0, 0.0)),
        ("empty prompt", 77, 77, (77, 77), (1.0, 0.0)),
    ],
)
def test_prompts_of_unequal_length_are_padded_when_wished(
    pad: str | None, positive: int, negative: int, lengths: tuple[int, int], ends: tuple[float, float]
) -> None:
    asked = denoiser(Guided(conditioning(constant(1.0, positive), negative=constant(0.0, negative)), ClassifierFree(7.0)), pad=pad)
    call, _ = ask(asked, torch.zeros(1, 4, 8, 8))
    assert tuple(rows.context.shape[1] for rows in call.rows) == lengths
    assert tuple(float(rows.context[0, -1, 0]) for rows in call.rows) == ends
    assert asked.has_padded == (pad is not None and positive != negative)
