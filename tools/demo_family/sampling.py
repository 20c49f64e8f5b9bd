"""Pictures to look at while something trains. The program's own engine draws those that are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from tools.demo_family.device import in_bfloat16
from tools.demo_family.networks import Base, alphas_cumprod


@torch.no_grad()
def draw(
    unet: nn.Module,
    base: Base,
    captions: Sequence[str],
    *,
    extra: torch.Tensor | None = None,
    seed: int = 0,
    steps: int = 12,
    guidance: float = 3.0,
    more: Any = None,
    contexts: torch.Tensor | None = None,
    empty: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B, 3, 128, 128) in [-1, 1] on the CPU, by DDIM.

    extra: (B, E, 16, 16) for UNets with further channels.   more: of (noisy, time steps, contexts), further arguments of the UNet.
    contexts: (B, 77, 128), instead of the captions'.   empty: (1, 77, 128), instead of the empty caption's.
    Source: Song et al. 2021, "Denoising Diffusion Implicit Models", with the velocity of Salimans and Ho 2022.
    """
    alphas = alphas_cumprod()
    told = base.contexts(captions) if contexts is None else contexts
    untold = base.contexts([""]) if empty is None else empty
    context = torch.cat([told, untold.expand(len(captions), -1, -1)])
    beside = None if extra is None else torch.cat([extra, extra]).to(base.device)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    latents = noise.to(base.device).expand(len(captions), -1, -1, -1).clone()
    levels = torch.linspace(len(alphas) - 1, 0, steps + 1).round().long().tolist()
    for now, after in pairwise(levels):
        twice = torch.cat([latents, latents])
        at = torch.full((len(twice),), now, device=base.device)
        seen = twice if beside is None else torch.cat([twice, beside], 1)
        with in_bfloat16(base.device):
            answer = unet(seen, at, context, **(more(twice, at, context) if more else {})).sample.float()
        towards, away = answer.chunk(2)
        velocity = away + guidance * (towards - away)
        signal, next_signal = alphas[now], alphas[after]
        clean = signal.sqrt() * latents - (1 - signal).sqrt() * velocity
        noise = signal.sqrt() * velocity + (1 - signal).sqrt() * latents
        latents = next_signal.sqrt() * clean + (1 - next_signal).sqrt() * noise if after else clean
    pixels: torch.Tensor = base.vae.decode(latents / base.vae.config["scaling_factor"]).sample
    return pixels.clamp(-1, 1).cpu()


def save_sheet(columns: Sequence[torch.Tensor], path: Path) -> None:
    """Each column a batch (B, 3, H, W) in [-1, 1]."""
    whole = torch.cat([torch.cat(list(column.cpu()), 1) for column in columns], 2)
    Image.fromarray(((whole + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(path, quality=88)
