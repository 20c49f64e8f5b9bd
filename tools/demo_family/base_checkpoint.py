"""The base: text to image, of things in the middle of pictures. A UNet from scratch, and the text encoder that reads captions for it.

python -m tools.demo_family.dataset --count 32768 --layout steady
python -m tools.demo_family.base_checkpoint --export
python -m tools.demo_family.base_checkpoint --minutes 18 --export --further      goes on from the UNet and the words that ship

The others train, or resume what was begun, and write models/Stable-diffusion/demo.safetensors. The VAE and the text
encoder's first weights are those of the file that is there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from tools.demo_family.captions import style_first
from tools.demo_family.dataset import HELD_OUT, latents_of, load, mark_of
from tools.demo_family.device import in_bfloat16
from tools.demo_family.networks import (
    BASE,
    HEADS,
    Base,
    alphas_cumprod,
    base_without_unet,
    for_training,
    load_base,
    new_unet,
    original_unet,
    padded_rows,
    save_whole,
)
from tools.demo_family.prompts import is_held_out
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.training import Plan, Training, run_command, velocity_batch
from webui.engine.families.unet import UNetShape

SHAPE = UNetShape(
    channels=(64, 128, 256), layers=1, attention=(False, True, False), depths=(1, 1, 1), in_channels=4, out_channels=4, context=128,
    heads=(HEADS,) * 3, groups=32,
)  # fmt: skip
BATCH = 64
PLAN = Plan(85.0, learning_rate=1e-3, batch=BATCH, samples=390_000, every=6.0)
EMPTY, TURNED = 0.1, 0.3
"""Shares of pictures whose caption is left out, so that there is something to guide away from, and of captions with the style first."""
LEAN = 0.75
"""Where things are and what they are is decided in much noise: time steps are drawn as chance to this power."""
SHEET_CAPTIONS = (
    "a red apple on a white background", "a cat on a blue background, cartoon style", "a blue car in the snow", "a yellow star at night",
    "a green frog on a yellow background, flat style", "an orange fish under water", "a pink heart on a black background",
    "a rocket in space", "a brown dog in a meadow", "a purple house at sunset", "a red mushroom and a blue butterfly on a white background",
    "a penguin",
)  # fmt: skip


class Reader(nn.Module):
    """UNet and text encoder in training. Of the word vectors only those that occur are trained: `used` are their tokens."""

    def __init__(self, base: Base, captions: list[str], unet: nn.Module) -> None:
        super().__init__()
        tokens = padded_rows(base.tokens(captions))
        self.used, rows = torch.unique(tokens, return_inverse=True)
        self.text, self.unet = base.text, for_training(unet).to(base.device)
        words = base.text.get_input_embeddings().weight[self.used].detach().clone()
        self.text.set_input_embeddings(nn.Embedding.from_pretrained(words, freeze=False))
        self._rows = rows.to(base.device)
        # Compiled, a training step takes half as long. In a tuple, so that the modules are not counted twice.
        self._compiled = (torch.compile(self.text), torch.compile(self.unet))

    def context(self, places: torch.Tensor) -> torch.Tensor:
        """(n, 77, 128) of captions by their places."""
        hidden: torch.Tensor = self.text(input_ids=self._rows[places]).last_hidden_state
        return hidden

    def forward(self, noisy: torch.Tensor, steps: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The velocity, (B, 4, 16, 16)."""
        text, unet = self._compiled if self.training else (self.text, self.unet)
        with in_bfloat16(noisy.device):
            context = text(input_ids=self._rows[places]).last_hidden_state
            answer: torch.Tensor = unet(noisy.contiguous(memory_format=torch.channels_last), steps, context).sample
        return answer.float()


def train(plan: Plan, work: Path, *, further: bool = False) -> dict[str, torch.Tensor]:
    """The averaged weights, and the tokens of the word vectors."""
    torch.manual_seed(0)
    data, base, alphas = load(work, "steady"), load_base(), alphas_cumprod()
    latents, folder = latents_of(data, base.vae), work / ("base-further" if further else "base")
    count = len(data)
    # Captions as they are, with the style first, none, and those to look at.
    unet = base.unet if further else new_unet(SHAPE)
    reader = Reader(base, [*data.captions, *map(style_first, data.captions), "", *SHEET_CAPTIONS], unet)
    none, first_shown = 2 * count, 2 * count + 1
    known = torch.tensor([row for row in range(HELD_OUT, count) if not is_held_out(data.captions[row])])
    print(f"{sum(weight.numel() for weight in reader.parameters()) / 1e6:.2f} M parameters, {len(known)} pictures", flush=True)

    def loss_on(rows: torch.Tensor, places: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noisy, steps, velocity = velocity_batch(latents[rows], alphas, generator, lean=LEAN)
        return functional.mse_loss(reader(noisy, steps, places), velocity)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = known[torch.randint(len(known), (BATCH,), generator=generator)]
        chance = torch.rand(BATCH, generator=generator)
        places = torch.where(chance < EMPTY, none, torch.where(chance < EMPTY + TURNED, rows + count, rows))
        return loss_on(rows, places, generator)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        rows = torch.arange(HELD_OUT)
        places = torch.arange(first_shown, first_shown + len(SHEET_CAPTIONS))
        sheet(reader, base, reader.context(places), reader.context(torch.tensor([none])), folder / f"sheet_{step:06}.png")
        return {"held_out": round(float(loss_on(rows, rows, torch.Generator().manual_seed(5))), 5)}

    reader.train().requires_grad_(True)
    return {**Training(reader, plan, folder, mark_of(base.vae)).run(loss_of, report), "used": reader.used}


def sheet(reader: Reader, base: Base, contexts: torch.Tensor, empty: torch.Tensor, path: Path) -> None:
    """The captions to look at, drawn from two seeds."""
    drawn = [draw(reader.unet, base, SHEET_CAPTIONS, contexts=contexts, empty=empty, seed=seed, steps=16, guidance=3) for seed in (1, 2)]
    save_sheet([torch.stack(both) for both in zip(*drawn, strict=True)], path)


def export(weights: dict[str, torch.Tensor], target: Path = BASE) -> None:
    """The whole checkpoint in one file, in the original layout and in float16."""
    file = load_base().file
    tensors = base_without_unet(file)
    tensors |= original_unet({name.removeprefix("unet."): weight for name, weight in weights.items() if name.startswith("unet.")}, SHAPE)
    for name, weight in weights.items():
        if name.startswith("text."):
            _put_text(tensors, name.removeprefix("text."), weight, weights["used"])
    save_whole(tensors, target, {**file.metadata, "default_cfg_scale": "3"})


def _put_text(tensors: dict[str, torch.Tensor], name: str, weight: torch.Tensor, used: torch.Tensor) -> None:
    (place,) = (own for own in tensors if own.startswith("cond_stage_model.") and own.endswith(name))
    if weight.shape == tensors[place].shape:
        tensors[place] = weight
    else:
        tensors[place] = tensors[place].index_copy(0, used, weight.to(tensors[place].dtype))


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
