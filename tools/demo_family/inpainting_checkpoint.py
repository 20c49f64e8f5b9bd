"""The inpainting checkpoint: the depth checkpoint's UNet, shown the mask and the masked picture instead of depth; trained on.

python -m tools.demo_family.inpainting_checkpoint --export
python -m tools.demo_family.inpainting_checkpoint --minutes 8 --export --further      goes on from the UNet that ships

train, or resume what was begun, and write models/Stable-diffusion/demo-inpainting.safetensors. What is large in it is stored as float8;
the text encoder beside it is rounded so from the beginning, so that the UNet learns with what is in the file.
Source: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models"; channels as in Stable Diffusion's inpainting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.captions import without_ground
from tools.demo_family.dataset import HELD_OUT, Dataset, encode, latents_of, load, mark_of
from tools.demo_family.depth_checkpoint import GROUPS
from tools.demo_family.depth_checkpoint import SHAPE as DEPTH_SHAPE
from tools.demo_family.depth_checkpoint import TARGET as DEPTH
from tools.demo_family.device import in_bfloat16
from tools.demo_family.looks import things
from tools.demo_family.networks import (
    BASE,
    Base,
    alphas_cumprod,
    as_stored,
    base_without_unet,
    for_training,
    load_base,
    load_unet,
    original_unet,
    rounded_base,
)
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.scenes import SIDE
from tools.demo_family.training import Plan, Training, run_command, velocity_batch

SHAPE = replace(DEPTH_SHAPE, in_channels=9)
BATCH = 32
PLAN = Plan(20.0, learning_rate=1e-3, batch=BATCH, every=2.5)
READING = 0.5
"""How strongly the filters for the noisy picture read the masked one at first. From zero, 1800 samples saw nothing around a mask."""
EMPTY, GROUNDLESS = 0.1, 0.6
"""Shares of pictures without a caption, and up to where captions do not say the ground, so that it must be seen in the picture."""
LEAN = 0.8
"""Where the thing and the ground are is decided in much noise: time steps are drawn as chance to this power."""
OUTSIDE = 0.05
"""How much an error outside the mask counts against one inside: the program lays the picture over what is drawn there."""
GREY = 127.5
TARGET = BASE.with_name("demo-inpainting.safetensors")
SHEET_CAPTIONS = ("a red heart", "a green apple", "a yellow star at night")


def random_mask(noise: np.random.Generator, thing: np.ndarray) -> np.ndarray:
    """(128, 128) bool, True is drawn anew: all, a box around the thing, another box, an ellipse, or strokes.

    thing: (128, 128) bool.
    """
    kind = noise.choice(5, p=(0.12, 0.3, 0.24, 0.17, 0.17))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if kind == 0:
        return np.ones((SIDE, SIDE), bool)
    if kind == 1 and thing.any():
        rows, columns = np.where(thing)
        top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
        around = noise.integers(-2, 14, 4)
        mask[max(top - around[0], 0) : bottom + around[1], max(left - around[2], 0) : right + around[3]] = 1
        return mask > 0
    centre = tuple(int(at) for at in noise.integers(24, SIDE - 24, 2))
    size = tuple(int(half) for half in noise.integers(16, 54, 2))
    if kind in (1, 2):
        cv2.rectangle(mask, (centre[0] - size[0], centre[1] - size[1]), (centre[0] + size[0], centre[1] + size[1]), 1, -1)
    elif kind == 3:
        cv2.ellipse(mask, centre, size, float(noise.uniform(0, 180)), 0, 360, 1, -1)
    else:
        for _ in range(noise.integers(1, 4)):
            points = noise.integers(8, SIDE - 8, (noise.integers(2, 5), 2)).astype(np.int32)
            cv2.polylines(mask, [points], False, 1, int(noise.integers(12, 36)))
    return mask > 0


def as_channels(vae: nn.Module, pixels: np.ndarray, masks: np.ndarray) -> torch.Tensor:
    """(B, 5, 16, 16): the mask, then the latents of the picture with grey where the mask is, as the program's engine makes them.

    See webui/engine/extra_channels.py.   pixels: (B, 128, 128, 3) uint8.   masks: (B, 128, 128) bool.
    """
    hidden = np.where(masks[..., None], GREY, pixels).astype(np.float32)
    latents = torch.from_numpy(encode(vae, hidden)).float()
    small = functional.interpolate(torch.from_numpy(masks)[:, None].float(), size=latents.shape[2:])
    return torch.cat([small, latents], 1).to(vae.device)


def widened(depth: UNet2DConditionModel) -> UNet2DConditionModel:
    """A depth checkpoint's UNet with nine channels: the masked picture is read as the noisy one, the depth no more, the mask not yet."""
    unet: UNet2DConditionModel = SHAPE.build()
    weights = depth.state_dict()
    own = weights["conv_in.weight"][:, :4]
    weights["conv_in.weight"] = torch.cat([own, torch.zeros_like(own[:, :1]), READING * own], 1)
    unet.load_state_dict(weights)
    return unet


def train(plan: Plan, work: Path, *, further: bool = False) -> dict[str, torch.Tensor]:
    """The averaged weights."""
    data, base, alphas = load(work), rounded_base(), alphas_cumprod()
    latents, folder = latents_of(data, base.vae), work / ("inpainting-further" if further else "inpainting")
    begun = load_unet(TARGET, base.device) if further else widened(load_unet(DEPTH, base.device))
    unet = for_training(begun).to(base.device)
    compiled = torch.compile(unet)
    print(f"{sum(weight.numel() for weight in unet.parameters()) / 1e6:.2f} M parameters, {len(data)} pictures", flush=True)
    holes = pictures_with_holes(base.vae, data)

    def loss_on(rows: torch.Tensor, channels: torch.Tensor, captions: list[str], generator: torch.Generator) -> torch.Tensor:
        noisy, steps, velocity = velocity_batch(latents[rows], alphas, generator, lean=LEAN)
        seen = torch.cat([noisy, channels], 1).contiguous(memory_format=torch.channels_last)
        context = base.contexts(captions)
        with in_bfloat16(base.device):
            answer = (compiled if unet.training else unet)(seen, steps, context).sample
        weight = OUTSIDE + (1 - OUTSIDE) * channels[:, :1]
        return ((answer.float() - velocity).square() * weight).mean() / weight.mean()

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(HELD_OUT, len(data), (BATCH,), generator=generator)
        chances = torch.rand(BATCH, generator=generator).tolist()
        captions = [told(data.captions[row], chance) for row, chance in zip(rows.tolist(), chances, strict=True)]
        return loss_on(rows, holes[rows], captions, generator)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        rows = torch.arange(64)
        figures = {"held_out": float(loss_on(rows, holes[rows], data.captions[:64], torch.Generator().manual_seed(5)))}
        exact = {name: weight.clone() for name, weight in model.state_dict().items()}
        model.load_state_dict({name: as_stored(weight).float() for name, weight in exact.items()})
        figures["as_stored"] = float(loss_on(rows, holes[rows], data.captions[:64], torch.Generator().manual_seed(5)))
        sheet(model, base, data.pixels[:6], masks_for(data, range(6)), folder / f"sheet_{step:06}.png")
        model.load_state_dict(exact)
        return {name: round(figure, 5) for name, figure in figures.items()}

    unet.train().requires_grad_(True)
    return Training(unet, plan, folder, mark_of(base.vae)).run(loss_of, report)


def masks_for(data: Dataset, rows: Sequence[int]) -> np.ndarray:
    """(n, 128, 128) bool."""
    return np.stack([random_mask(np.random.default_rng((0, row)), things(data.depth[row])) for row in rows])


def pictures_with_holes(vae: nn.Module, data: Dataset) -> torch.Tensor:
    """(N, 5, 16, 16) of all pictures: what the UNet is shown beside the noise. Made before all else: it would take a third of a step."""
    parts = [range(start, min(start + 32, len(data))) for start in range(0, len(data), 32)]
    return torch.cat([as_channels(vae, data.pixels[part.start : part.stop], masks_for(data, part)) for part in parts])


def told(caption: str, chance: float) -> str:
    """What a picture's caption becomes, by a number from 0 to 1."""
    if chance < EMPTY:
        return ""
    return without_ground(caption) if chance < GROUNDLESS else caption


def sheet(unet: nn.Module, base: Base, pixels: np.ndarray, masks: np.ndarray, path: Path) -> None:
    """Held-out pictures with holes, and what several prompts make of them."""
    shown = np.where(masks[..., None], GREY, pixels)
    columns = [torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 127.5 - 1]
    channels = as_channels(base.vae, pixels, masks)
    columns += [draw(unet, base, [caption] * len(pixels), extra=channels) for caption in SHEET_CAPTIONS]
    save_sheet(columns, path)


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """The whole checkpoint in one file, in the original layout; the VAE stays as it is in the base's file."""
    base = load_base()
    tensors = base_without_unet(base.file, small=True)
    tensors |= {name: as_stored(tensor) for name, tensor in original_unet(weights, SHAPE).items()}
    said = {
        **base.file.metadata,
        "norm_num_groups_unet": str(GROUPS),
        "default_cfg_scale": "3",
        "modelspec.title": "Demo inpainting model",
        "modelspec.description": "Small Stable Diffusion for inpainting, trained on composed emoji; ships with the program.",
    }
    save_file(tensors, target, metadata=said)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
