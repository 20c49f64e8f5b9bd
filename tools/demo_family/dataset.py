"""The pictures to train on, made once and kept: composed on all cores, encoded by the base's VAE when latents are asked for.

python -m tools.demo_family.dataset --count 12288                      things anywhere, for the members of the family
python -m tools.demo_family.dataset --count 32768 --layout steady      things in the middle, for the base
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from tools.demo_family.device import in_bfloat16
from tools.demo_family.scenes import FREE, SIDE, STEADY, Layout, compose, load_sprites

WORK = Path("tmp/demo_family")
SHARD = 1024
PART = 64
LAYOUTS: Mapping[str, Layout] = MappingProxyType({"data": FREE, "steady": STEADY})
"""By the folder that their pictures lie in."""
HELD_OUT = 256
"""So many pictures at the beginning are for evaluation alone."""

Look = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A picture (128, 128, 3) uint8 made of another and its depth map."""


@dataclass(frozen=True)
class Dataset:
    """pixels: (N, 128, 128, 3) uint8.   depth: (N, 128, 128) uint8, more is nearer.   folder: where they lie."""

    pixels: np.ndarray
    depth: np.ndarray
    captions: list[str]
    folder: Path

    def __len__(self) -> int:
        return len(self.captions)

    def first(self, count: int) -> Dataset:
        """So many of them."""
        return replace(self, pixels=self.pixels[:count], depth=self.depth[:count], captions=self.captions[:count])


def make(count: int, work: Path = WORK, layout: str = "data") -> None:
    """Shards of 1024 pictures, by as many processes as there are cores; those that are there already stay."""
    folder = work / layout
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(-(-count // SHARD)) if not (folder / f"{number:04}.json").exists()]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        for number in processes.map(partial(make_shard, work, layout), missing):
            print(f"{(number + 1) * SHARD} pictures", flush=True)


def make_shard(work: Path, layout: str, number: int, size: int = SHARD) -> int:
    """The shard of that number, which is the answer."""
    sprites = load_sprites(work / "sprites")
    scenes = [compose(number * SHARD + place, sprites, LAYOUTS[layout]) for place in range(size)]
    shard = work / layout / f"{number:04}.json"
    shard.parent.mkdir(parents=True, exist_ok=True)
    for latents in shard.parent.glob("latents-*.npy"):
        latents.unlink(missing_ok=True)
    np.save(shard.with_suffix(".pixels.npy"), np.stack([scene.pixels for scene in scenes]))
    np.save(shard.with_suffix(".depth.npy"), np.stack([scene.depth for scene in scenes]))
    shard.write_text(json.dumps([scene.caption for scene in scenes]), encoding="utf-8")
    return number


def load(work: Path = WORK, layout: str = "data") -> Dataset:
    """All that is there.  Raises FileNotFoundError when nothing is."""
    folder = work / layout
    parts = sorted(folder.glob("*.json"))
    if not parts:
        raise FileNotFoundError(f"There are no pictures in {folder}. Make them with: python -m tools.demo_family.dataset --layout {layout}")
    shards = {kind: [np.load(part.with_suffix(f".{kind}.npy"), mmap_mode="r") for part in parts] for kind in ("pixels", "depth")}
    read = {kind: np.concatenate(arrays) for kind, arrays in shards.items()}
    captions = [caption for part in parts for caption in json.loads(part.read_text(encoding="utf-8"))]
    return Dataset(**read, captions=captions, folder=folder)


def latents_of(data: Dataset, vae: torch.nn.Module) -> torch.Tensor:
    """(N, 4, 16, 16) float32 on the VAE's device, scaled. They are kept beside the pictures for this encoder; another one encodes anew."""
    kept = data.folder / f"latents-{mark_of(vae)}-{len(data)}.npy"
    if not kept.exists():
        print(f"encoding {len(data)} pictures", flush=True)
        part = kept.with_suffix(".part.npy")
        np.save(part, np.concatenate([encode(vae, data.pixels[start : start + PART]) for start in range(0, len(data), PART)]))
        part.replace(kept)
    return torch.from_numpy(np.load(kept)).float().to(vae.device)


def mark_of(vae: torch.nn.Module) -> str:
    """The same for VAEs that encode the same."""
    digest = hashlib.sha256(str(vae.config["scaling_factor"]).encode())
    for name, weight in sorted(vae.state_dict().items()):
        if not name.startswith(("decoder.", "post_quant_conv.")):
            digest.update(name.encode() + weight.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def looking(data: Dataset, vae: torch.nn.Module, look: Look, count: int) -> torch.Tensor:
    """(N, 4, 16, 16), scaled: the first pictures, as many as there are up to `count`, with another look."""
    parts = []
    for start in range(0, min(count, len(data)), PART):
        part = slice(start, min(start + PART, count))
        pixels = [look(picture, depth) for picture, depth in zip(data.pixels[part], data.depth[part], strict=True)]
        parts.append(torch.from_numpy(encode(vae, np.stack(pixels))).float())
    return torch.cat(parts).to(vae.device)


def as_tensor(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """(B, 3, H, W) float32 in [-1, 1], channels last in memory.  pixels: (B, H, W, 3), 0..255."""
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def encode(vae: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """(B, 4, 16, 16) float16, scaled.  pixels: (B, 128, 128, 3), 0..255."""
    with in_bfloat16(vae.device):
        mode = vae.encode(as_tensor(pixels, vae.device)).latent_dist.mode()
    return (mode.float() * vae.config["scaling_factor"]).half().cpu().numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16384, help=f"pictures, in shards of {SHARD} of {SIDE}x{SIDE} pixels")
    parser.add_argument("--layout", choices=LAYOUTS, default="data")
    asked = parser.parse_args()
    make(asked.count, layout=asked.layout)
