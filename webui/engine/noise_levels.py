"""The noise levels a model was trained on, and what its output means: sigma <-> time step, eps or v -> denoised."""

from __future__ import annotations

import torch


class NoiseLevels:
    """The discrete DDPM schedule of Stable Diffusion 1.x and 2.x, and the continuous view of it.

    alphas_cumprod: (T,), falling.   sigmas: (T,), rising: sqrt((1 - a) / a).
    Source: Karras et al. 2022, appendix C.3, for sigma; "scaled linear" betas as in latent diffusion.
    """

    def __init__(self, alphas_cumprod: torch.Tensor) -> None:
        self.alphas_cumprod = alphas_cumprod
        self.sigmas = ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5
        self.log_sigmas = self.sigmas.log()

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
