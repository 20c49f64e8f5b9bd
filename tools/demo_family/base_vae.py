"""The base's VAE made better: its decoder trained on, so that edges become crisp. What it encodes stays the same for all that read it.

python -m tools.demo_family.base_vae --minutes 10 --export      trains, and puts the decoder into models/Stable-diffusion/demo.safetensors
"""

from __future__ import annotations

from pathlib import Path

import torch

from tools.demo_family.dataset import load
from tools.demo_family.networks import BASE, load_base, save_whole
from tools.demo_family.second_vae import train_decoder, vae_with
from tools.demo_family.training import run_command


def train(minutes: float, work: Path) -> dict[str, torch.Tensor]:
    """The decoder's averaged weights after so many minutes of training in all."""
    return train_decoder(minutes, work / "base-vae", load(work, "steady"), lambda pixels: pixels)


def export(weights: dict[str, torch.Tensor], target: Path = BASE) -> None:
    """All else stays as it is in the file."""
    file = load_base().file
    save_whole({name: file.tensor(name) for name in file.names} | vae_with(file, weights), target, file.metadata)


if __name__ == "__main__":
    run_command(__doc__, 10.0, train, export)
