"""The noise levels a model was trained on, and what its output means: sigma <-> time step, eps or v -> denoised."""

from __future__ import annotations

import torch

from webui.core.settings import Settings

ALMOST_NO_SIGNAL = 4.8973451890853435e-08


class NoiseLevels:
    """The discrete DDPM schedule of Stable Diffusion 1.x and 2.x, and the continuous view of it.

    alphas_cumprod: (T,), falling.   sigmas: (T,), rising: sqrt((1 - a) / a).
    Source: Karras et al. 2022, appendix C.3, for sigma; "scaled linear" betas as in latent diffusion.
    """

    def __init__(self, alphas_cumprod: torch.Tensor) -> None:
        sigmas = ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5
        self.alphas_cumprod = alphas_cumprod.float()
        self.sigmas = sigmas.float()
        self.log_sigmas = sigmas.log().float()

    @property
    def sigma_min(self) -> float:
        """The lowest trained noise level."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """The highest trained noise level."""
        return float(self.sigmas[-1])

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """Fractional time step of a noise level, linear in log sigma between the trained ones; ends are clamped."""
        log_sigma = sigma.log().to(self.log_sigmas)
        above = torch.searchsorted(self.log_sigmas, log_sigma.reshape(-1)).clamp(1, len(self.log_sigmas) - 1)
        below = above - 1
        low, high = self.log_sigmas[below], self.log_sigmas[above]
        weight = ((low - log_sigma.reshape(-1)) / (low - high)).clamp(0, 1)
        return ((1 - weight) * below + weight * above).reshape(sigma.shape)

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """Noise level at a fractional time step, the inverse of `timestep`."""
        below = timestep.floor().long()
        above = timestep.ceil().long()
        weight = timestep - below
        return ((1 - weight) * self.log_sigmas[below] + weight * self.log_sigmas[above]).exp()

    def with_zero_terminal_snr(self) -> NoiseLevels:
        """The same schedule stretched so that the last level is pure noise.

        Source: Lin et al. 2023, algorithm 1. A signal of exactly 0 has no sigma, so the last one is A1111's very small number. Levels
        that end so already stay as they are.
        """
        if self.alphas_cumprod[-1] <= 2 * ALMOST_NO_SIGNAL:
            return self
        signal = self.alphas_cumprod.sqrt()
        first, last = signal[0].clone(), signal[-1].clone()
        stretched = ((signal - last) * (first / (first - last))) ** 2
        stretched[-1] = ALMOST_NO_SIGNAL
        return NoiseLevels(stretched)

    def in_half_precision(self) -> NoiseLevels:
        """The levels computed in 16-bit numbers, rounded as those are."""
        return NoiseLevels(self.alphas_cumprod.half())


def levels_for(levels: NoiseLevels, settings: Settings) -> tuple[NoiseLevels, dict[str, str]]:
    """A model's levels as the settings wish them, and the infotext pairs that say so."""
    used = {}
    if settings.use_downcasted_alpha_bar:
        levels, used["Downcast alphas_cumprod"] = levels.in_half_precision(), "True"
    if settings.sd_noise_schedule == "Zero Terminal SNR":
        levels, used["Noise Schedule"] = levels.with_zero_terminal_snr(), settings.sd_noise_schedule
    return levels, used


def scaled_linear(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> NoiseLevels:
    """Stable Diffusion's own schedule: betas are the squares of a linear ramp between square roots."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return NoiseLevels(torch.cumprod(1 - betas, dim=0).float())


class EpsPrediction:
    """The model predicts the noise in its input: denoised = x - sigma * eps."""

    @staticmethod
    def denoised(x: torch.Tensor, output: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """x, output: (B, C, h, w).   sigma: (B, 1, 1, 1)."""
        return x - sigma * output


class VPrediction:
    """The model predicts v = sqrt(a) eps - sqrt(1 - a) x0.  Source: Salimans & Ho 2022, in sigma terms."""

    @staticmethod
    def denoised(x: torch.Tensor, output: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """x, output: (B, C, h, w).   sigma: (B, 1, 1, 1)."""
        return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5


def input_scale(sigma: torch.Tensor) -> torch.Tensor:
    """What brings x = x0 + sigma * noise to the unit variance that the model was trained on."""
    return 1 / (sigma**2 + 1) ** 0.5
