"""A tiny DPT that estimates depth, trained on composed pictures and their exact depth.

python -m tools.demo_family.depth_estimator --export     trains, and writes models/Depth/demo-dpt
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import DPTConfig, DPTForDepthEstimation

from tools.demo_family.dataset import HELD_OUT, as_tensor, load
from tools.demo_family.device import in_bfloat16, training_device
from tools.demo_family.sampling import save_sheet
from tools.demo_family.scenes import SIDE
from tools.demo_family.training import Plan, Training, run_command
from webui.core.paths import PROGRAM

BATCH = 8
PLAN = Plan(7.5, learning_rate=8e-4, batch=BATCH, samples=12_000, warm_up=40, every=1.0)
TARGET = PROGRAM / "models" / "Depth" / "demo-dpt"
THRESHOLD = 0.5
"""Depth above which something is a thing rather than ground; 0 is farthest."""


def config() -> DPTConfig:
    """16x16 patches of 8 pixels, four layers, maps of 32, 16, 8 and 4 squares, an answer of 128 pixels."""
    return DPTConfig(
        image_size=SIDE, patch_size=8, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=384,
        backbone_out_indices=[0, 1, 2, 3], reassemble_factors=[2, 1, 0.5, 0.25], neck_hidden_sizes=[32, 64, 96, 128],
        fusion_hidden_size=32, readout_type="ignore", is_hybrid=False, head_in_index=-1, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, use_auxiliary_head=False,
    )  # fmt: skip


def train(plan: Plan, work: Path) -> dict[str, torch.Tensor]:
    """The averaged weights."""
    data, device = load(work), training_device()
    torch.manual_seed(0)
    made = config()
    made._attn_implementation = "eager"  # the fused one's backward pass is slow on a CPU
    network = DPTForDepthEstimation(made).to(device, memory_format=torch.channels_last)
    last = next(layer for layer in reversed(list(network.head.modules())) if isinstance(layer, nn.Conv2d))
    nn.init.constant_(last.bias, 0.3)  # behind it is a ReLU, which must not begin at nothing
    print(f"{sum(weight.numel() for weight in network.parameters()) / 1e6:.2f} M parameters, {len(data)} pictures", flush=True)

    def batch(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return as_tensor(data.pixels[rows], device), torch.from_numpy(data.depth[rows]).to(device).float() / 255

    def estimate(pixels: torch.Tensor) -> torch.Tensor:
        with in_bfloat16(device):
            answer = network(pixel_values=pixels).predicted_depth
        return answer.float()

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pixels, depth = batch(torch.randint(HELD_OUT, len(data), (BATCH,), generator=generator).numpy())
        if torch.rand((), generator=generator) < 0.5:
            pixels, depth = pixels.flip(-1), depth.flip(-1)
        guessed = estimate(pixels)
        # The absolute error alone is content with ground everywhere, which most pixels are.
        return functional.l1_loss(guessed, depth) + 4 * functional.mse_loss(guessed, depth)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        pixels, depth = batch(np.arange(64))
        guessed = estimate(pixels)
        grey = lambda maps: maps[:8, None].expand(-1, 3, -1, -1).clamp(0, 1) * 2 - 1  # noqa: E731
        save_sheet([pixels[:8], grey(depth), grey(guessed)], work / "dpt" / f"sheet_{step:06}.png")
        return {"error": round(float((guessed - depth).abs().mean()), 5), "overlap": round(overlap(guessed, depth), 4)}

    network.train().requires_grad_(True)
    return Training(network, plan, work / "dpt").run(loss_of, report)


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    """Intersection over union of what is a thing, averaged over pictures."""
    one, other = first > THRESHOLD, second > THRESHOLD
    both, either = (one & other).sum((1, 2)), (one | other).sum((1, 2))
    return float((both / either.clamp(min=1)).mean())


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """In transformers' layout: a folder with config.json and model.safetensors, in float16."""
    network = DPTForDepthEstimation(config())
    network.load_state_dict(weights)
    network.half().save_pretrained(target)
    print(f"{target}: {(target / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
