"""Brownian paths are torchsde's, and are a function of the seed alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torchsde

from tests.engine.picture_noises import randn
from webui.engine.brownian import KEPT_CUTS, BrownianPath, BrownianTrees
from webui.engine.noise_levels import scaled_linear
from webui.engine.schedules import Spacing, make_sigmas

SHAPE = (4, 6, 5)


def trees(seeds: list[int], low: float, high: float, shape: tuple[int, ...] = SHAPE) -> BrownianTrees:
    return BrownianTrees(seeds, shape, low, high, randn)


def theirs(seeds: list[int], low: float, high: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """k-diffusion's way with torchsde: a tree a picture, its increments scaled by the root of their length."""
    made = [torchsde.BrownianTree(torch.tensor(low), torch.zeros(SHAPE), torch.tensor(high), entropy=seed) for seed in seeds]

    def noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            increments = torch.stack([tree(sigma_next, sigma) for tree in made])
        return -increments / (sigma - sigma_next).sqrt()

    return noise


@pytest.mark.parametrize("schedule", ["Karras", "Exponential", "KL Optimal"])
@pytest.mark.parametrize("steps", [4, 25])
def test_the_noise_of_a_sampling_is_torchsdes(schedule: str, steps: int) -> None:
    sigmas = make_sigmas(schedule, scaled_linear(), steps, Spacing())
    sigmas = sigmas[sigmas > 0]
    seeds = [0, 12345, 2**63 - 1]
    low, high = float(sigmas[-1]), float(sigmas[0])
    ours, expected = trees(seeds, low, high), theirs(seeds, low, high)
    for sigma, sigma_next in pairwise(sigmas):
        torch.testing.assert_close(ours(sigma, sigma_next), expected(sigma, sigma_next), rtol=0, atol=1e-5)


def test_places_asked_about_in_any_order_and_overlapping_are_torchsdes() -> None:
    ours, expected = trees([7], 0.03, 14.6), theirs([7], 0.03, 14.6)
    generator = torch.Generator().manual_seed(1)
    for _ in range(60):
        sigma_next, sigma = (torch.rand(2, generator=generator) * 14.57 + 0.03).sort().values
        torch.testing.assert_close(ours(sigma, sigma_next), expected(sigma, sigma_next), rtol=0, atol=2e-5)


def test_places_just_outside_count_as_the_ends_as_with_torchsde() -> None:
    ours, expected = trees([7], 0.5, 10.0), theirs([7], 0.5, 10.0)
    sigma, sigma_next = torch.tensor(10.0000009), torch.tensor(0.4999995)
    torch.testing.assert_close(ours(sigma, sigma_next), expected(sigma, sigma_next), rtol=0, atol=1e-5)


def test_increments_do_not_depend_on_what_was_asked_before() -> None:
    sigmas = torch.linspace(14.0, 0.05, 40)
    fallen, risen = trees([3], 0.05, 14.0), trees([3], 0.05, 14.0)
    falling = [fallen(*pair) for pair in pairwise(sigmas)]
    rising = [risen(*pair) for pair in reversed(list(pairwise(sigmas)))]
    for one, other in zip(falling, reversed(rising), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_picture_of_a_batch_has_the_noise_it_has_alone() -> None:
    sigma, sigma_next = torch.tensor(5.0), torch.tensor(2.0)
    together = trees([10, 11, 12], 0.03, 14.6)(sigma, sigma_next)
    assert together.shape == (3, *SHAPE)
    for number, seed in enumerate([10, 11, 12]):
        assert torch.equal(together[number], trees([seed], 0.03, 14.6)(sigma, sigma_next)[0])


def test_increments_add_up() -> None:
    path = BrownianPath(5, SHAPE, 0.03, 14.6, randn)
    places = [0.03, 0.1, 1.0, 1.000001, 7.3, 14.6]
    parts = sum(path.increment(*pair) for pair in pairwise(places))
    torch.testing.assert_close(parts, path.increment(0.03, 14.6), rtol=0, atol=1e-5)


def test_the_noise_is_standard_normal_and_independent_from_step_to_step() -> None:
    noise = trees([1], 0.03, 14.6, (4, 64, 64))
    steps = [noise(sigma, sigma_next)[0].flatten() for sigma, sigma_next in pairwise(torch.tensor([14.6, 9.1, 1.7, 0.2, 0.03]))]
    for step in steps:
        assert float(step.mean()) == pytest.approx(0, abs=0.03)
        assert float(step.std()) == pytest.approx(1, abs=0.03)
    correlations = torch.corrcoef(torch.stack(steps)) - torch.eye(4)
    assert float(correlations.abs().max()) < 0.03


def test_going_up_is_the_opposite_of_going_down() -> None:
    noise = trees([9], 0.03, 14.6)
    down, up = noise(torch.tensor(3.0), torch.tensor(1.0)), noise(torch.tensor(1.0), torch.tensor(3.0))
    assert torch.equal(down, -up)


@pytest.mark.parametrize("place", [3.0, 0.03, 14.6])
def test_between_equal_levels_there_is_no_noise(place: float) -> None:
    noise = trees([9], 0.03, 14.6)
    assert noise(torch.tensor(place), torch.tensor(place)).abs().max() == 0


def test_a_path_keeps_a_bounded_number_of_cuts_and_finds_older_ones_again() -> None:
    path = BrownianPath(5, (2,), 0.03, 14.6, randn)
    first = path.increment(0.5, 0.6)
    for number in range(60):
        path.increment(1 + number * 0.2, 1.03 + number * 0.2)
    assert len(path._lefts) == KEPT_CUTS
    assert torch.equal(path.increment(0.5, 0.6), first)


def test_a_cut_that_two_questions_share_is_drawn_once() -> None:
    drawn = []

    def counting(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
        drawn.append(seed)
        return randn(seed, shape)

    path = BrownianPath(5, SHAPE, 0.03, 14.6, counting)
    path.increment(2.0, 3.0)
    before = len(drawn)
    path.increment(2.0, 3.0)
    assert len(drawn) == before
    path.increment(1.5, 2.0)
    assert len(drawn) == len(set(drawn))
