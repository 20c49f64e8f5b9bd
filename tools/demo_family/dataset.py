"""The pictures to train on, made once and kept: composed, encoded by the base's VAE, and read back memory-mapped.

python -m tools.demo_family.dataset --count 12288                      things anywhere, for the members of the family
python -m tools.demo_family.dataset --count 32768 --layout steady      things in the middle, for the base
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from tools.demo_family.networks import load_base
from tools.demo_family.scenes import FREE, SIDE, STEADY, Layout, compose, load_sprites

WORK = Path("tmp/demo_family")
SHARD = 1024
LAYOUTS: Mapping[str, Layout] = MappingProxyType({"data": FREE, "steady": STEADY})
"""By the folder that their pictures lie in."""
HELD_OUT = 256
"""So many pictures at the beginning are for evaluation alone."""

Look = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A picture (128, 128, 3) uint8 made of another and its depth map."""


@dataclass(frozen=True)
class Dataset:
    """latents: (N, 4, 16, 16) float16, scaled.   pixels: (N, 128, 128, 3) uint8.   depth: (N, 128, 128) uint8, more is nearer."""

    latents: np.ndarray
    pixels: np.ndarray
    depth: np.ndarray
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


def make(count: int, work: Path = WORK, layout: str = "data") -> None:
    """Shards of 1024 pictures; those that are there already stay."""
    torch.set_num_threads(1)
    base, sprites = load_base(), load_sprites(work / "sprites")
    folder = work / layout
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-count // SHARD)):
        done = folder / f"{number:04}.json"
        if done.exists():
            continue
        scenes = [compose(number * SHARD + place, sprites, LAYOUTS[layout]) for place in range(SHARD)]
        pixels = np.stack([scene.pixels for scene in scenes])
        np.save(folder / f"{number:04}.pixels.npy", pixels)
        np.save(folder / f"{number:04}.depth.npy", np.stack([scene.depth for scene in scenes]))
        np.save(folder / f"{number:04}.latents.npy", np.concatenate([encode(base.vae, part) for part in np.split(pixels, SHARD // 32)]))
        done.write_text(json.dumps([scene.caption for scene in scenes]), encoding="utf-8")
        print(f"{(number + 1) * SHARD} pictures", flush=True)


def load(work: Path = WORK, layout: str = "data") -> Dataset:
    """All that is there.  Raises FileNotFoundError when nothing is."""
    parts = sorted((work / layout).glob("*.json"))
    if not parts:
        raise FileNotFoundError(
            f"There are no pictures in {work / layout}. Make them with: python -m tools.demo_family.dataset --layout {layout}"
        )
    read = {kind: [np.load(part.with_suffix(f".{kind}.npy"), mmap_mode="r") for part in parts] for kind in ("latents", "pixels", "depth")}
    captions = [caption for part in parts for caption in json.loads(part.read_text(encoding="utf-8"))]
    return Dataset(**{kind: np.concatenate(arrays) for kind, arrays in read.items()}, captions=captions)


def looking(data: Dataset, vae: torch.nn.Module, look: Look, count: int) -> torch.Tensor:
    """(N, 4, 16, 16), scaled: the first pictures, as many as there are up to `count`, with another look."""
    parts = []
    for start in range(0, min(count, len(data)), 32):
        part = slice(start, start + 32)
        pixels = [look(picture, depth) for picture, depth in zip(data.pixels[part], data.depth[part], strict=True)]
        parts.append(torch.from_numpy(encode(vae, np.stack(pixels))).float())
    return torch.cat(parts)


@torch.no_grad()
def encode(vae: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """(B, 4, 16, 16) float16, scaled.  pixels: (B, 128, 128, 3), 0..255."""
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16):
        mode = vae.encode(batch.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
    return (mode.float() * vae.config["scaling_factor"]).half().numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=16384, help=f"pictures, in shards of {SHARD} of {SIDE}x{SIDE} pixels")
    parser.add_argument("--layout", choices=LAYOUTS, default="data")
    asked = parser.parse_args()
    make(asked.count, layout=asked.layout)
