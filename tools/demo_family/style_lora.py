"""A style LoRA for the base: blueprints, which it has not seen. Low-rank changes of the UNet's attentions and convolutions (LoCon).

python -m tools.demo_family.style_lora --export      trains, and writes models/Lora/demo-blueprint.safetensors
Sources: Hu et al. 2021, "LoRA" (arXiv:2106.09685); names and metadata as kohya's sd-scripts write them.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.captions import without_ground
from tools.demo_family.dataset import HELD_OUT, load, looking, mark_of
from tools.demo_family.device import in_bfloat16
from tools.demo_family.looks import blueprint
from tools.demo_family.networks import Base, alphas_cumprod, load_base
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.training import Plan, Training, run_command, velocity_batch
from webui.core.paths import PROGRAM

RANK = 8
BATCH = 16
PLAN = Plan(5.0, learning_rate=2e-3, batch=BATCH, samples=13_000)
SHOWN = 2048
"""So many pictures are enough for a style."""
EMPTY, UNSAID = 0.1, 0.2
"""Shares of pictures without a caption, and of captions without the trigger word: the file alone brings most of the style.

Half of all captions say the ground that the picture once had, so that a blueprint stays blue whatever ground is said.
"""
WORD = "blueprint"
TARGET = PROGRAM / "models" / "Lora" / "demo-blueprint.safetensors"
SHEET_CAPTIONS = ("a red heart", "a cat", "a yellow star at night", "a green car on a white background")


class LowRank(nn.Module):
    """What is added to a layer's answer: first down to `RANK` channels, then up to the layer's, from zero."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        if isinstance(layer, nn.Linear):
            self.lora_down: nn.Module = nn.Linear(layer.in_features, RANK, bias=False)
            self.lora_up: nn.Module = nn.Linear(RANK, layer.out_features, bias=False)
        else:
            self.lora_down = nn.Conv2d(layer.in_channels, RANK, layer.kernel_size, layer.stride, layer.padding, bias=False)
            self.lora_up = nn.Conv2d(RANK, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.lora_up(self.lora_down(inputs))
        return added


class Worn(nn.ModuleDict):
    """Changes of a UNet by kohya's names for its layers.  strength: 0 draws as if there were none."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        layers = {
            "lora_unet_" + path.replace(".", "_"): layer
            for path, layer in unet.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d) and path.startswith(("down_blocks", "mid_block", "up_blocks"))
        }
        super().__init__({name: LowRank(layer) for name, layer in layers.items()})
        self.strength = 1.0
        for name, layer in layers.items():
            self._join(layer, self[name])

    def _join(self, layer: nn.Module, change: nn.Module) -> None:
        layer.register_forward_hook(lambda _, inputs, answer: answer + self.strength * change(inputs[0]))


def train(plan: Plan, work: Path) -> dict[str, torch.Tensor]:
    """The averaged weights."""
    torch.manual_seed(0)
    data, base, alphas = load(work, "steady"), load_base(), alphas_cumprod()
    base.unet.set_attn_processor(AttnProcessor())
    base.unet.to(memory_format=torch.channels_last)
    latents = looking(data, base.vae, blueprint, SHOWN)
    captions = [caption if row % 2 else without_ground(caption) for row, caption in enumerate(data.captions[:SHOWN])]
    worn = Worn(base.unet).to(base.device)
    print(f"{sum(weight.numel() for weight in worn.parameters()) / 1e6:.2f} M parameters, {len(latents)} pictures", flush=True)

    def loss_on(rows: torch.Tensor, told: list[str], generator: torch.Generator) -> torch.Tensor:
        noisy, steps, velocity = velocity_batch(latents[rows], alphas, generator)
        with in_bfloat16(base.device):
            answer = base.unet(noisy, steps, base.contexts(told)).sample
        return functional.mse_loss(answer.float(), velocity)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(HELD_OUT, len(latents), (BATCH,), generator=generator)
        chances = torch.rand(BATCH, generator=generator).tolist()
        return loss_on(rows, [told(captions[row], chance) for row, chance in zip(rows.tolist(), chances, strict=True)], generator)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        figures = {}
        for name, worn.strength in (("without", 0.0), ("held_out", 1.0)):
            loss = loss_on(torch.arange(64), [told(caption, 1.0) for caption in captions[:64]], torch.Generator().manual_seed(5))
            figures[name] = round(float(loss), 5)
        sheet(worn, base, work / "lora" / f"sheet_{step:06}.png")
        return figures

    worn.train()
    return Training(worn, plan, work / "lora", mark_of(base.vae)).run(loss_of, report)


def told(caption: str, chance: float) -> str:
    """What a picture's caption becomes, by a number from 0 to 1."""
    if chance < EMPTY:
        return ""
    return caption if chance < EMPTY + UNSAID else f"{caption}, {WORD}"


def sheet(worn: Worn, base: Base, path: Path) -> None:
    """Some prompts without and with it, without and with its word."""
    columns = []
    for worn.strength, ending in ((0.0, ""), (0.0, f", {WORD}"), (1.0, ""), (1.0, f", {WORD}")):
        columns.append(draw(base.unet, base, [caption + ending for caption in SHEET_CAPTIONS], seed=3))
    worn.strength = 1.0
    save_sheet(columns, path)


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """In kohya's layout, in float16."""
    layers = {name.partition(".")[0] for name in weights}
    tensors = {name: weight.half().contiguous() for name, weight in weights.items()}
    tensors |= {f"{layer}.alpha": torch.tensor(float(RANK), dtype=torch.float16) for layer in layers}
    said = {
        "ss_output_name": target.stem,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "demo.safetensors",
        "ss_v2": "False",
        "ss_tag_frequency": json.dumps({"sprites": {WORD: SHOWN - HELD_OUT}}),
        "modelspec.title": "Demo blueprint LoRA",
        "modelspec.description": "White lines on blue paper, for demo.safetensors; trained on composed emoji; ships with the program.",
        "modelspec.license": "Apache-2.0",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata=said)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
