"""Figures and sheets of the base: what it draws from prompts that it has not been trained on, by the classifier's judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from tools.demo_family.base_checkpoint import SHEET_CAPTIONS
from tools.demo_family.classifier import load_classifier, named
from tools.demo_family.dataset import as_tensor
from tools.demo_family.networks import Base, load_base
from tools.demo_family.prompts import Wish, held_out
from tools.demo_family.sampling import draw, save_sheet
from tools.demo_family.scenes import Scene
from tools.demo_family.subjects import SUBJECTS, with_article
from tools.demo_family.vae import psnr

STEPS, GUIDANCE = 16, 3.0
PART = 25
COLUMNS = 8


def judge_base(scenes: Sequence[Scene], sheets: Path | None) -> dict[str, float]:
    """Shares of what is right. A prompt with two things is right when both subjects are, each on its side.  scenes: for the VAE alone."""
    base = load_base()
    wishes = held_out()
    parts = [wishes[start : start + PART] for start in range(0, len(wishes), PART)]
    drawn = torch.cat([_drawn(base, [wish.prompt for wish in part], seed) for seed, part in enumerate(parts)])
    pixels = ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    model, figures = load_classifier()
    singles = [(wish, *named(model, picture, None)) for wish, picture in zip(wishes, pixels, strict=True) if len(wish.things) == 1]
    doubles = [(wish, picture) for wish, picture in zip(wishes, pixels, strict=True) if len(wish.things) == 2]
    if sheets:
        _save_sheets(sheets, drawn)
    pairs = [(wish, [named(model, picture, half) for half in (0, 1)]) for wish, picture in doubles]
    return {
        **{f"classifier: {name} named right on held-out pictures": figure for name, figure in figures.items()},
        "base: subject right": _share(wish.things[0][1] == subject for wish, subject, _, _ in singles),
        "base: colour right": _share(wish.things[0][0] == colour for wish, _, colour, _ in singles),
        "base: ground right": _share(wish.ground == ground for wish, _, _, ground in singles),
        "base: both subjects of two right": _share(_subjects(wish) == [one[0] for one in seen] for wish, seen in pairs),
        "base: both colours of two right": _share([one for one, _ in wish.things] == [one[1] for one in seen] for wish, seen in pairs),
        **_psnr(base.vae, scenes),
    }


def _drawn(base: Base, prompts: Sequence[str], seed: int) -> torch.Tensor:
    return draw(base.unet, base, prompts, seed=seed, steps=STEPS, guidance=GUIDANCE)


def _subjects(wish: Wish) -> list[str]:
    return [subject for _, subject in wish.things]


@torch.no_grad()
def _psnr(vae: torch.nn.Module, scenes: Sequence[Scene]) -> dict[str, float]:
    pictures = as_tensor(np.stack([scene.pixels for scene in scenes]), vae.device)
    again = torch.cat([vae(part).sample.clamp(-1, 1) for part in pictures.split(PART)])
    figures = psnr(again, pictures)
    return {
        "VAE: PSNR of held-out pictures, mean over pictures, dB": figures["psnr"],
        "VAE: PSNR of held-out pictures, all pixels together, dB": figures["psnr_together"],
    }


def _save_sheets(sheets: Path, drawn: torch.Tensor) -> None:
    """The first held-out prompts as they come; all subjects by their names alone; and what people may try first."""
    base = load_base()
    save_sheet([drawn[column : 4 * COLUMNS : COLUMNS] for column in range(COLUMNS)], sheets / "demo-held-out.jpg")
    names = [with_article(subject) + " on a white background" for subject in SUBJECTS]
    names += ["a red apple and a yellow banana on a white background", "a blue car and a green tree in a meadow"]
    all_of_them = torch.cat([_drawn(base, names[at : at + 16], 3) for at in range(0, len(names), 16)])
    save_sheet([all_of_them[column::COLUMNS] for column in range(COLUMNS)], sheets / "demo-subjects.jpg")
    tried = [_drawn(base, SHEET_CAPTIONS[:COLUMNS], seed) for seed in (1, 2, 3)]
    save_sheet([torch.stack(own) for own in zip(*tried, strict=True)], sheets / "demo-base.jpg")


def _share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))
