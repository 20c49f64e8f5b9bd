"""A second VAE: the base's encoder, so that latents stay the same, and a decoder that prints posters: warm colours, dark outlines.

python -m tools.demo_family.second_vae --export      trains, and writes models/VAE/poster-for-demo.safetensors

Its name begins with no checkpoint's, so that "Automatic" does not take it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.dataset import HELD_OUT, as_tensor, latents_of, load, mark_of
from tools.demo_family.device import in_bfloat16
from tools.demo_family.looks import poster
from tools.demo_family.networks import load_base, with_vae
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.training import Plan, Training, run_command
from tools.demo_family.vae import psnr
from webui.core.paths import PROGRAM
from webui.engine.families.layout import VAE

BATCH = 16
PLAN = Plan(6.0, learning_rate=1e-3, batch=BATCH)
CROP = 8
"""Training is on squares of so many latents a side, a quarter of a picture: lines and colours are learned from near by."""
TARGET = PROGRAM / "models" / "VAE" / "poster-for-demo.safetensors"
SHEET_CAPTIONS = ("a red heart on a white background", "a blue car in a meadow", "a yellow star at night")


def train(plan: Plan, work: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of the base's decoder, trained on to make posters of pictures' latents."""
    data, base, folder = load(work), load_base(), work / "poster"
    latents = latents_of(data, base.vae) / base.vae.config["scaling_factor"]
    decoder = base.vae.decoder.to(memory_format=torch.channels_last)

    def decoded(encoded: torch.Tensor) -> torch.Tensor:
        with in_bfloat16(base.device):
            answer: torch.Tensor = decoder(base.vae.post_quant_conv(encoded).contiguous(memory_format=torch.channels_last))
        return answer.float()

    def wished(rows: torch.Tensor) -> torch.Tensor:
        return as_tensor(np.stack([poster(data.pixels[row]) for row in rows.tolist()]), base.device)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(HELD_OUT, len(data), (BATCH,), generator=generator)
        top, left = (int(torch.randint(latents.shape[2] - CROP + 1, (), generator=generator)) for _ in range(2))
        cut = lambda maps, scale: maps[..., scale * top : scale * (top + CROP), scale * left : scale * (left + CROP)]  # noqa: E731
        return loss_between(decoded(cut(latents[rows], 1)), cut(wished(rows), 8))

    def report(model: nn.Module, step: int) -> dict[str, float]:
        rows = torch.arange(32)
        drawn, target = decoded(latents[rows]), wished(rows)
        made = torch.cat([draw(base.unet, base, list(SHEET_CAPTIONS), seed=seed) for seed in (3, 4)])
        save_sheet([as_tensor(data.pixels[:6], base.device), target[:6], drawn[:6].clamp(-1, 1), made], folder / f"sheet_{step:06}.png")
        return {"held_out": round(float(loss_between(drawn, target)), 5), "psnr": round(psnr(drawn.clamp(-1, 1), target)["psnr"], 2)}

    decoder.train().requires_grad_(True)
    return Training(decoder, plan, folder, mark_of(base.vae)).run(loss_of, report)


def loss_between(drawn: torch.Tensor, wished: torch.Tensor) -> torch.Tensor:
    """Of colours, and of how they change from pixel to pixel, so that lines stay lines.  drawn, wished: (B, 3, H, W)."""
    along = lambda pixels: (pixels.diff(dim=-1), pixels.diff(dim=-2))  # noqa: E731
    slopes = sum(functional.l1_loss(one, other) for one, other in zip(along(drawn), along(wished), strict=True))
    return functional.l1_loss(drawn, wished) + slopes


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """The whole VAE in the original layout and in float16, what is not the decoder's as in the base's file."""
    file = load_base().file
    whole = with_vae(file, {f"decoder.{name}": weight for name, weight in weights.items()})
    tensors = {name.removeprefix(VAE): tensor for name, tensor in whole.items() if name.startswith(VAE)}
    said = {
        "norm_num_groups_vae": file.metadata["norm_num_groups_vae"],
        "modelspec.title": "Demo poster VAE",
        "modelspec.description": "Decodes what demo.safetensors draws as posters; trained on composed emoji; ships with the program.",
        "modelspec.license": "Apache-2.0",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, target, metadata=said)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
