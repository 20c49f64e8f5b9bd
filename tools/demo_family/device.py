"""Where a training computes: on a CUDA device if there is one, else on the CPU, in bfloat16 on both."""

from __future__ import annotations

import torch


def training_device() -> torch.device:
    """The device that this machine trains on. Random numbers are always drawn on the CPU, so that they are the same on both."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_bfloat16(device: torch.device) -> torch.autocast:
    """A context in which matrix products and convolutions on that device are in bfloat16; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16)
