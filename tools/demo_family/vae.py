"""The family's VAE: pictures to latents and back. Encoder and decoder learn together, on squares cut out of pictures.

python -m tools.demo_family.vae --export                             from random weights
python -m tools.demo_family.vae --minutes 28 --export --further      goes on from the VAE that ships

Both put it into models/Stable-diffusion/demo.safetensors. All else in the family reads its latents and is to be trained again after it.
Source: Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; Rombach et al. 2022, "High-Resolution Image Synthesis with Latent
Diffusion Models" (a Kullback-Leibler term of one millionth).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional

from tools.demo_family.dataset import HELD_OUT, LAYOUTS, as_tensor, load
from tools.demo_family.device import in_bfloat16
from tools.demo_family.networks import BASE, load_base, save_whole, with_vae
from tools.demo_family.sampling import save_sheet
from tools.demo_family.scenes import SIDE
from tools.demo_family.training import Plan, Training, run_command

BATCH = 32
PLAN = Plan(120.0, learning_rate=7e-4, batch=BATCH, every=2.5)
CROP = 64
"""Training is on squares of so many pixels a side, a quarter of a picture: four times as many for the same time."""
FACTOR = 8
LOOKED_AT = 64
"""So many held-out pictures of each kind show how good it is."""
SLOPES, DIVERGENCE = 0.02, 1e-6
"""How much counts, beside the squared error, how colours change from pixel to pixel, and how far latents are from the unit Gaussian."""


def train(plan: Plan, work: Path, *, further: bool = False) -> dict[str, torch.Tensor]:
    """The averaged weights of the whole VAE, normalised."""
    torch.manual_seed(0)
    shipped: AutoencoderKL = load_base().vae
    vae = shipped if further else AutoencoderKL.from_config(shipped.config).to(shipped.device)
    every = [load(work, layout).pixels for layout in LAYOUTS]
    known, unseen = np.concatenate([own[HELD_OUT:] for own in every]), np.concatenate([own[:LOOKED_AT] for own in every])
    del every
    folder = work / ("vae-further" if further else "vae")
    print(f"{sum(weight.numel() for weight in vae.parameters()) / 1e6:.2f} M parameters, {len(known)} pictures", flush=True)
    vae.to(memory_format=torch.channels_last).train().requires_grad_(True)
    passes = torch.compile(lambda pixels, noise: through(vae, pixels, noise))

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(known), (BATCH,), generator=generator).numpy()
        top, left = (FACTOR * int(at) for at in torch.randint((SIDE - CROP) // FACTOR + 1, (2,), generator=generator))
        pixels = as_tensor(known[rows, top : top + CROP, left : left + CROP], vae.device)
        noise = torch.randn(BATCH, 4, CROP // FACTOR, CROP // FACTOR, generator=generator).to(vae.device)
        return loss_between(pixels, *passes(pixels, noise))

    def report(model: nn.Module, step: int) -> dict[str, float]:
        pixels = as_tensor(unseen, vae.device)
        again = torch.cat([model(part).sample.clamp(-1, 1) for part in pixels.split(32)])
        save_sheet([pixels[:6], again[:6], pixels[-6:], again[-6:]], folder / f"sheet_{step:06}.png")
        return {name: round(figure, 2) for name, figure in psnr(again, pixels).items()}

    trained = Training(vae, plan, folder).run(loss_of, report)
    vae.load_state_dict(trained)
    with torch.no_grad():
        latents = vae.encode(as_tensor(unseen, vae.device)).latent_dist.mode()
    return normalised(trained, float(latents.std()) * vae.config["scaling_factor"])


def normalised(weights: Mapping[str, torch.Tensor], deviation: float) -> dict[str, torch.Tensor]:
    """The weights of a VAE whose latents have a deviation of one, as Stable Diffusion's noise levels want it, and which is else the same.

    deviation: what the scaled latents have now; the divergence lets it shrink.
    """
    mean, spread = weights["quant_conv.weight"].chunk(2)
    mean_bias, spread_bias = weights["quant_conv.bias"].chunk(2)
    return {
        **weights,
        "quant_conv.weight": torch.cat([mean / deviation, spread]),
        "quant_conv.bias": torch.cat([mean_bias / deviation, spread_bias - 2 * math.log(deviation)]),
        "post_quant_conv.weight": weights["post_quant_conv.weight"] * deviation,
    }


def through(vae: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures that went through latents, and the mean and the logarithm of the variance of these.  noise: (B, 4, h, w)."""
    with in_bfloat16(vae.device):
        mean, spread = vae.quant_conv(vae.encoder(pixels)).float().chunk(2, 1)
        spread = spread.clamp(-30, 20)
        latents = mean + (spread / 2).exp() * noise
        again = vae.decoder(vae.post_quant_conv(latents.contiguous(memory_format=torch.channels_last)))
    return again.float(), mean, spread


def loss_between(pixels: torch.Tensor, again: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """Pictures are (B, 3, H, W)."""
    slopes = torch.stack([functional.l1_loss(again.diff(dim=along), pixels.diff(dim=along)) for along in (-1, -2)]).sum()
    divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
    return functional.mse_loss(again, pixels) + SLOPES * slopes + DIVERGENCE * divergence


def psnr(again: torch.Tensor, pixels: torch.Tensor) -> dict[str, float]:
    """In dB, of pictures in [-1, 1]: the mean over pictures, and that of all pixels together."""
    errors = (again - pixels).square().mean((1, 2, 3))
    return {"psnr": float((10 * torch.log10(4 / errors)).mean()), "psnr_together": 10 * math.log10(4 / float(errors.mean()))}


def export(weights: dict[str, torch.Tensor], target: Path = BASE) -> None:
    """All else stays as it is in the file."""
    file = load_base().file
    save_whole(with_vae(file, weights), target, file.metadata)


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
