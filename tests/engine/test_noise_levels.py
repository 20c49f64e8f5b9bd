"""The model's own noise levels, and what its output means."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from webui.core.settings import Settings
from webui.engine.noise_levels import EpsPrediction, VPrediction, input_scale, levels_for, scaled_linear

LEVELS = scaled_linear()


def test_the_alphas_are_diffusers_scaled_linear() -> None:
    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
    torch.testing.assert_close(LEVELS.alphas_cumprod, theirs.alphas_cumprod, rtol=5e-6, atol=0)


def test_sigmas_rise_from_stable_diffusions_lowest_to_its_highest() -> None:
    assert (LEVELS.sigmas.diff() > 0).all()
    assert LEVELS.sigma_min == pytest.approx(0.0291675, rel=1e-5)
    assert LEVELS.sigma_max == pytest.approx(14.614643, rel=1e-6)


def test_trained_levels_are_whole_time_steps_both_ways() -> None:
    whole = torch.arange(1000.0)
    assert torch.equal(LEVELS.sigma(whole), LEVELS.log_sigmas.exp())
    torch.testing.assert_close(LEVELS.timestep(LEVELS.sigmas), whole, rtol=0, atol=1e-3)


def test_time_step_and_sigma_are_inverse_between_the_trained_levels() -> None:
    between = torch.tensor([0.25, 3.5, 499.9, 750.125, 998.75])
    torch.testing.assert_close(LEVELS.timestep(LEVELS.sigma(between)), between, rtol=0, atol=2e-3)


def test_between_trained_levels_the_step_is_linear_in_log_sigma() -> None:
    middle = (LEVELS.log_sigmas[600:602].mean()).exp()
    assert float(LEVELS.timestep(middle)) == pytest.approx(600.5, abs=1e-3)


def test_levels_outside_the_trained_ones_are_clamped() -> None:
    assert LEVELS.timestep(torch.tensor([1e-9, 1e-3, 15.0, 1e9])).tolist() == [0.0, 0.0, 999.0, 999.0]


def test_the_shape_of_the_question_is_the_shape_of_the_answer() -> None:
    assert LEVELS.timestep(torch.tensor(3.0)).shape == ()
    assert LEVELS.timestep(torch.ones(2, 1, 3)).shape == (2, 1, 3)


@pytest.mark.parametrize("timestep", [0, 10, 500, 999])
def test_eps_and_v_of_the_same_truth_give_the_same_picture_back(timestep: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x0, eps = torch.randn(2, 2, 4, 8, 8, generator=generator, dtype=torch.float64)
    a = LEVELS.alphas_cumprod[timestep].double()
    sigma = ((1 - a) / a).sqrt().expand(2)[:, None, None, None]
    x = x0 + sigma * eps
    v = a.sqrt() * eps - (1 - a).sqrt() * x0
    torch.testing.assert_close(EpsPrediction.denoised(x, eps, sigma), x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(VPrediction.denoised(x, v, sigma), x0, rtol=1e-9, atol=1e-9)


def test_the_models_input_is_the_variance_preserving_mixture() -> None:
    a = LEVELS.alphas_cumprod[700]
    assert float(input_scale(LEVELS.sigmas[700])) == pytest.approx(float(a.sqrt()), rel=1e-6)


def test_zero_terminal_snr_ends_in_almost_pure_noise_and_keeps_the_beginning() -> None:
    stretched = LEVELS.with_zero_terminal_snr()
    theirs = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, rescale_betas_zero_snr=True
    ).alphas_cumprod
    torch.testing.assert_close(stretched.alphas_cumprod[:-1], theirs[:-1], rtol=1e-3, atol=1e-7)
    assert stretched.sigma_max == pytest.approx(4518.6, rel=1e-3)
    assert stretched.alphas_cumprod[0] == pytest.approx(float(LEVELS.alphas_cumprod[0]), rel=1e-6)
    assert (stretched.sigmas.diff() > 0).all()


def test_levels_in_half_precision_are_rounded_and_near() -> None:
    half = LEVELS.in_half_precision()
    assert not torch.equal(half.sigmas, LEVELS.sigmas)
    torch.testing.assert_close(half.sigmas, LEVELS.sigmas, rtol=0.1, atol=0)
    assert half.sigmas.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, {}),
        ({"sd_noise_schedule": "Zero Terminal SNR"}, {"Noise Schedule": "Zero Terminal SNR"}),
        ({"use_downcasted_alpha_bar": True}, {"Downcast alphas_cumprod": "True"}),
    ],
)
def test_the_settings_choose_the_levels_and_the_infotext_says_so(changes: dict[str, object], said: dict[str, str]) -> None:
    levels, used = levels_for(LEVELS, Settings().changed(changes))
    assert used == said
    assert (levels is LEVELS) == (not changes)
