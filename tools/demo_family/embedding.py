"""A textual inversion for the base: three vectors that stand for a ground of ice cream, three broad bands, for which it knows no words.

python -m tools.demo_family.embedding --export       trains, and writes embeddings/demo-neapolitan.safetensors
Source: Gal et al. 2022, "An Image is Worth One Word" (arXiv:2208.01618).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.captions import without_ground
from tools.demo_family.dataset import HELD_OUT, load, looking, mark_of
from tools.demo_family.device import in_bfloat16
from tools.demo_family.looks import banded
from tools.demo_family.networks import Base, alphas_cumprod, load_base, padded_rows
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.training import Plan, Training, run_command, velocity_batch
from webui.core.paths import PROGRAM
from webui.engine.adapters.embeddings import encode_with

VECTORS = 3
BATCH = 16
PLAN = Plan(2.5, learning_rate=1e-2, batch=BATCH, samples=9_000, warm_up=20, decay=0.99, every=1.0)
SHOWN = 1024
FIRST_STEP = 200
"""Below this time step the picture itself shows its ground, and the words say nothing new."""
BEGINNING = "pink white brown"
"""A token a vector, from which they begin."""
WAYS = ("{} on a * background", "{} on *", "{}, *", "{} *")
"""How people may say it; the star is the word."""
TARGET = PROGRAM / "embeddings" / "demo-neapolitan.safetensors"
SHEET_CAPTIONS = ("a red heart", "a green apple", "a blue star", "a yellow car")


class Word(nn.Module):
    """The vectors that are learned, (VECTORS, 128)."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        (tokens,) = base.tokens([BEGINNING])
        self.emb_params = nn.Parameter(base.text.get_input_embeddings()(torch.tensor(tokens, device=base.device)).clone())


def contexts_with(base: Base, captions: Sequence[str], vectors: torch.Tensor) -> torch.Tensor:
    """(n, 77, 128): of captions with a star for the word, as the program's engine puts vectors in."""
    parts = [caption.partition("*") for caption in captions]
    before, after = base.tokens([part[0] for part in parts]), base.tokens([part[2] for part in parts])
    padded = padded_rows([[*one, *[0] * len(vectors), *other] for one, other in zip(before, after, strict=True)]).to(base.device)
    hidden: torch.Tensor = encode_with(base.text, padded, [[(len(own), vectors)] for own in before]).last_hidden_state
    return hidden


def train(plan: Plan, work: Path) -> dict[str, torch.Tensor]:
    """The averaged vectors."""
    data, base, alphas = load(work, "steady"), load_base(), alphas_cumprod()
    base.unet.set_attn_processor(AttnProcessor())
    base.unet.to(memory_format=torch.channels_last)
    latents = looking(data, base.vae, banded, SHOWN)
    captions = [without_ground(caption) for caption in data.captions[:SHOWN]]
    word = Word(base)

    def loss_on(rows: torch.Tensor, context: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noisy, steps, velocity = velocity_batch(latents[rows], alphas, generator, first=FIRST_STEP)
        with in_bfloat16(base.device):
            answer = base.unet(noisy, steps, context).sample
        return functional.mse_loss(answer.float(), velocity)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(HELD_OUT, len(latents), (BATCH,), generator=generator)
        ways = torch.randint(len(WAYS), (BATCH,), generator=generator).tolist()
        told = [WAYS[way].format(captions[row]) for row, way in zip(rows.tolist(), ways, strict=True)]
        return loss_on(rows, contexts_with(base, told, word.emb_params), generator)

    def report(model: nn.Module, step: int) -> dict[str, float]:
        rows = torch.arange(64)
        told = {
            "held_out": contexts_with(base, [WAYS[0].format(caption) for caption in captions[:64]], word.emb_params),
            "in_words": base.contexts([f"{caption} on a {BEGINNING} background" for caption in captions[:64]]),
        }
        sheet(word.emb_params, base, work / "embedding" / f"sheet_{step:06}.png")
        return {name: round(float(loss_on(rows, one, torch.Generator().manual_seed(5))), 5) for name, one in told.items()}

    word.train()
    return Training(word, plan, work / "embedding", mark_of(base.vae)).run(loss_of, report)


def sheet(vectors: torch.Tensor, base: Base, path: Path) -> None:
    """Some prompts, with the beginning's words, and with the vectors in three ways."""
    columns = [draw(base.unet, base, list(SHEET_CAPTIONS), seed=3)]
    columns.append(draw(base.unet, base, [f"{caption} on a {BEGINNING} background" for caption in SHEET_CAPTIONS], seed=3))
    for way in WAYS[:3]:
        contexts = contexts_with(base, [way.format(caption) for caption in SHEET_CAPTIONS], vectors)
        columns.append(draw(base.unet, base, SHEET_CAPTIONS, seed=3, contexts=contexts))
    save_sheet(columns, path)


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """As the only tensor, under A1111's name for it."""
    said = {
        "modelspec.title": "Demo neapolitan embedding",
        "modelspec.description": "A ground of three bands, for demo.safetensors; trained on composed emoji; ships with the program.",
        "modelspec.license": "Apache-2.0",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": weights["emb_params"].contiguous()}, target, metadata=said)
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
