"""The depth checkpoint: a narrower UNet with a fifth channel for depth, trained from scratch beside the base's frozen text encoder and VAE.

python -m tools.demo_family.depth_checkpoint --export
python -m tools.demo_family.depth_checkpoint --minutes 8 --export --further      goes on from the UNet that ships

train, or resume what was begun, and write models/Stable-diffusion/demo-depth.safetensors.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.dataset import HELD_OUT, latents_of, load, mark_of
from tools.demo_family.device import in_bfloat16
from tools.demo_family.networks import (
    BASE,
    HEADS,
    Base,
    alphas_cumprod,
    as_stored,
    base_without_unet,
    for_training,
    load_base,
    load_unet,
    new_unet,
    original_unet,
    rounded_base,
)
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.training import Plan, Training, run_command, velocity_batch
from webui.engine.families.unet import UNetShape

GROUPS = 16
SHAPE = UNetShape(
    channels=(64, 112, 128), layers=1, attention=(False, True, False), depths=(1, 1, 1), in_channels=5, out_channels=4, context=128,
    heads=(HEADS,) * 3, groups=GROUPS,
)  # fmt: skip
BATCH = 32
PLAN = Plan(24.0, learning_rate=1e-3, batch=BATCH, samples=65_000)
EMPTY = 0.1
"""Share of pictures whose caption is left out, so that there is something to guide away from."""
TARGET = BASE.with_name("demo-depth.safetensors")
SHEET_CAPTIONS = (
    "a red cat on a blue background", "a yellow star at night", "a green circle in the snow", "a blue car in a meadow",
    "an orange pumpkin on a white background", "a pink heart under water",
)  # fmt: skip


def as_channel(depth: torch.Tensor, side: int = 16) -> torch.Tensor:
    """(B, 1, side, side) in [-1, 1] of depth maps (B, H, W), as the program's engine makes it.

    See webui/engine/extra_channels.py: bicubic without smoothing, then each picture's own range.
    """
    small = functional.interpolate(depth[:, None].float(), size=(side, side), mode="bicubic", align_corners=False)
    low, high = small.amin((1, 2, 3), keepdim=True), small.amax((1, 2, 3), keepdim=True)
    return (small - low) / (high - low).clamp(min=1e-6) * 2 - 1


def varied(depth: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Depth maps as people and estimators give them: some are flat cut-outs, some are soft.  depth: (B, 128, 128) uint8."""
    choice = torch.rand(len(depth), 1, 1, generator=generator).to(depth.device)
    exact = depth.float()
    flat = (exact > 127).float() * 255
    soft = functional.interpolate(functional.avg_pool2d(exact[:, None], 3, 2, 1), scale_factor=2, mode="bilinear")[:, 0]
    return torch.where(choice < 0.25, flat, torch.where(choice < 0.5, soft, exact))


def train(plan: Plan, work: Path, *, further: bool = False) -> dict[str, torch.Tensor]:
    """The averaged weights."""
    data, base, alphas = load(work), rounded_base(), alphas_cumprod()
    latents, folder = latents_of(data, base.vae), work / ("depth-further" if further else "depth")
    depths = torch.from_numpy(data.depth).to(base.device)
    unet = for_training(load_unet(TARGET, base.device) if further else new_unet(SHAPE)).to(base.device)
    compiled = torch.compile(unet)
    print(f"{sum(weight.numel() for weight in unet.parameters()) / 1e6:.2f} M parameters, {len(data)} pictures", flush=True)

    def loss_on(rows: torch.Tensor, channel: torch.Tensor, captions: list[str], generator: torch.Generator) -> torch.Tensor:
        noisy, steps, velocity = velocity_batch(latents[rows], alphas, generator)
        seen = torch.cat([noisy, channel], 1).contiguous(memory_format=torch.channels_last)
        context = base.contexts(captions)
        with in_bfloat16(base.device):
            answer = (compiled if unet.training else unet)(seen, steps, context).sample
        return functional.mse_loss(answer.float(), velocity)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(HELD_OUT, len(data), (BATCH,), generator=generator)
        kept = torch.rand(BATCH, generator=generator) >= EMPTY
        captions = [data.captions[row] if keep else "" for row, keep in zip(rows.tolist(), kept.tolist(), strict=True)]
        return loss_on(rows, as_channel(varied(depths[rows], generator)), captions, generator)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        generator = torch.Generator().manual_seed(5)
        rows = torch.arange(128)
        held_out = loss_on(rows, as_channel(depths[rows]), data.captions[:128], generator)
        sheet(model, base, depths, folder / f"sheet_{step:06}.png")
        return {"held_out": round(float(held_out), 5)}

    unet.train().requires_grad_(True)
    return Training(unet, plan, folder, mark_of(base.vae)).run(loss_of, report)


def sheet(unet: nn.Module, base: Base, depths: torch.Tensor, path: Path) -> None:
    """The first held-out depth maps, each with several prompts."""
    maps = depths[:6]
    columns = [maps[:, None].expand(-1, 3, -1, -1).float() / 127.5 - 1]
    columns += [draw(unet, base, [caption] * len(maps), extra=as_channel(maps)) for caption in SHEET_CAPTIONS]
    save_sheet(columns, path)


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """The whole checkpoint in one file, in the original layout; the VAE stays as it is in the base's file."""
    file = load_base().file
    tensors = base_without_unet(file, small=True)
    tensors |= {name: as_stored(tensor) for name, tensor in original_unet(weights, SHAPE).items()}
    said = {
        **file.metadata,
        "norm_num_groups_unet": str(GROUPS),
        "default_cfg_scale": "3",
        "modelspec.title": "Demo depth model",
        "modelspec.description": "Small depth-conditioned Stable Diffusion trained on composed emoji; ships with the program.",
    }
    save_file(tensors, target, metadata=said)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
