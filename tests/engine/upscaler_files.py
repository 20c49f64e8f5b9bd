"""Tiny upscalers of real architectures as files, and the same nets to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from spandrel import ModelLoader
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN


def random_weights(net: torch.nn.Module, seed: int, scale: float = 0.5) -> dict[str, torch.Tensor]:
    """Random weights of that net, the same for the same seed, without those that stay near zero."""
    generator = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    fan = {name: value[0].numel() if value.ndim > 1 else 1 for name, value in state.items()}
    return {
        name: torch.randn(value.shape, generator=generator) * (scale / fan[name] ** 0.5 if value.ndim > 1 else 0.05)
        for name, value in state.items()
    }


def esrgan_weights(seed: int = 1) -> dict[str, torch.Tensor]:
    """Real-ESRGAN's architecture, 4x, with 2 blocks of 16 channels."""
    weights = random_weights(ESRGAN(num_filters=16, num_blocks=2), seed)
    weights["model.10.weight"] *= 10  # and so that they are not one grey
    weights["model.10.bias"] = torch.full((3,), 0.5)  # so that pictures are neither black nor white
    return weights


def compact_weights(seed: int = 2, scale: int = 2) -> dict[str, torch.Tensor]:
    """Compact (SRVGGNet), 16 channels, 2 convolutions."""
    return random_weights(Compact(num_feat=16, num_conv=2, upscale=scale), seed)


def nearest_weights(scale: int = 2) -> dict[str, torch.Tensor]:
    """A Compact net that repeats every pixel: it adds nothing to the enlarged picture that it starts from."""
    return {name: torch.zeros_like(value) for name, value in compact_weights(scale=scale).items()}


def save(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """As safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    return path


def whole(weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """What spandrel itself makes of a picture (1, 3, H, W) given at once."""
    net: Any = ModelLoader().load_from_state_dict(dict(weights))
    net.eval()
    result: torch.Tensor = net(pixels)
    return result.clone()
