"""A small network that names what a picture shows: the judge of the base. It learns from composed pictures, and only tests have it.

python -m tools.demo_family.classifier --export      trains, and writes tests/data/demo_judge.safetensors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from tools.demo_family.captions import ground_in, things_in
from tools.demo_family.dataset import HELD_OUT, WORK, Dataset, latents_of, load
from tools.demo_family.device import in_bfloat16, training_device
from tools.demo_family.networks import load_base
from tools.demo_family.subjects import COLOURS, SCENES, SHAPES, SUBJECTS, with_article
from tools.demo_family.training import Plan, Training, run_command
from webui.core.paths import PROGRAM

BATCH = 64
PLAN = Plan(7.0, learning_rate=1e-3, batch=BATCH, every=1.0)
SIDE = 64
UNKNOWN = -100
"""In place of what a caption leaves out; functional.cross_entropy passes over it."""
SUBJECT_NAMES = (*SUBJECTS, *SHAPES)
COLOUR_NAMES = tuple(COLOURS)
GROUND_NAMES = (*(f"on {with_article(colour)} background" for colour in COLOURS), *SCENES)
WIDTHS = (32, 64, 128, 192)
TARGET = PROGRAM / "tests" / "data" / "demo_judge.safetensors"


class Classifier(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1]: scores of subjects, colours and grounds."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True):
            layers += [nn.Conv2d(before, after, 3, 1, 1), nn.GroupNorm(8, after), nn.ReLU(), nn.Conv2d(after, after, 3, 2, 1), nn.ReLU()]
        self.seen = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(WIDTHS[-1] * 16, 256), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(256, len(names)) for names in (SUBJECT_NAMES, COLOUR_NAMES, GROUND_NAMES))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(B, 52), (B, 12), (B, 20)."""
        seen = self.seen(pictures)
        return [head(seen) for head in self.heads]


@dataclass(frozen=True)
class View:
    """What the classifier is shown: a picture, or one half of a picture with two things.   half: None, 0 or 1.   labels: three indices."""

    row: int
    half: int | None
    labels: tuple[int, int, int]


def views_of(captions: Sequence[str], first: int = 0) -> list[View]:
    """All that can be learned from these captions, of which the first is of that row."""
    views = []
    for row, caption in enumerate(captions, first):
        things, ground = things_in(caption), ground_in(caption)
        for half, (colour, subject) in enumerate(things):
            labels = (SUBJECT_NAMES.index(subject), _index(COLOUR_NAMES, colour), _index(GROUND_NAMES, ground))
            views.append(View(row, half if len(things) == 2 else None, labels))
    return views


def view(pixels: np.ndarray, half: int | None) -> np.ndarray:
    """(64, 64, 3) float32 of (128, 128, 3) uint8: the whole at half its size, or the square around the left or right thing."""
    if half is None:
        return pixels.reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3), dtype=np.float32)
    return pixels[32:96, 64 * half : 64 * (half + 1)].astype(np.float32)


def shown(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, 3, 64, 64) in [-1, 1] of views."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def train(plan: Plan, work: Path) -> dict[str, torch.Tensor]:
    """The averaged weights."""
    torch.manual_seed(0)
    data, device = load(work, "steady"), training_device()
    views = views_of(data.captions[HELD_OUT:], HELD_OUT)
    judged, truth = _held_out(data)
    print(f"{len(views)} views", flush=True)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        chosen = [views[place] for place in torch.randint(len(views), (BATCH,), generator=generator).tolist()]
        pictures = _worn(shown([view(data.pixels[one.row], one.half) for one in chosen]), generator).to(device)
        labels = torch.tensor([one.labels for one in chosen], device=device).T
        with in_bfloat16(device):
            scores = model(pictures)
        losses = [functional.cross_entropy(one.float(), own) for one, own in zip(scores, labels, strict=True)]
        return torch.stack(losses).sum()

    def report(_: nn.Module, step: int) -> dict[str, float]:
        return {name: round(figure, 4) for name, figure in accuracy(model, judged, truth).items()}

    model = Classifier().to(device).train()
    return Training(model, plan, work / "classifier").run(loss_of, report)


def accuracy(model: Classifier, pictures: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Share that is named right, of what is known.  truth: (3, B)."""
    scores = [one.cpu() for one in model(pictures.to(model.device))]
    return {
        name: float((one.argmax(1) == own)[own != UNKNOWN].float().mean())
        for name, one, own in zip(("subjects", "colours", "grounds"), scores, truth, strict=True)
    }


@torch.no_grad()
def named(model: Classifier, pixels: np.ndarray, half: int | None = None) -> tuple[str, str, str]:
    """Subject, colour and ground that a picture (128, 128, 3) uint8 shows.  half: 0 or 1 of a picture with two things."""
    subject, colour, ground = (int(scores.argmax()) for scores in model(shown([view(pixels, half)]).to(model.device)))
    return SUBJECT_NAMES[subject], COLOUR_NAMES[colour], GROUND_NAMES[ground]


def load_classifier(work: Path = WORK) -> tuple[Classifier, dict[str, float]]:
    """The exported one, and how often it is right on held-out pictures that went through the VAE."""
    model = Classifier()
    model.load_state_dict({name: weight.float() for name, weight in load_file(TARGET).items()})
    model.eval()
    with torch.no_grad():
        return model, accuracy(model, *_held_out(load(work, "steady")))


def export(weights: dict[str, torch.Tensor], target: Path = TARGET) -> None:
    """In float16."""
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


@torch.no_grad()
def _held_out(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The held-out pictures as the base's VAE decodes them, which is the best that the base can draw."""
    vae = load_base().vae
    latents = latents_of(data.first(HELD_OUT), vae) / vae.config["scaling_factor"]
    decoded = torch.cat([vae.decode(part).sample.clamp(-1, 1).cpu() for part in latents.split(32)])
    pixels = ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    views = views_of(data.captions[:HELD_OUT])
    return shown([view(pixels[one.row], one.half) for one in views]), torch.tensor([one.labels for one in views]).T


def _worn(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some blurred, all a little noisy and moved, as drawn pictures are."""
    soft = functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    share = torch.rand(len(pictures), 1, 1, 1, generator=generator)
    noise = torch.randn(pictures.shape, generator=generator) * 0.1 * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    down, across = (int(by) for by in torch.randint(-3, 4, (2,), generator=generator))
    return torch.roll(pictures.lerp(soft, share) + noise, (down, across), (2, 3))


def _index(names: Sequence[str], name: str | None) -> int:
    return names.index(name) if name in names else UNKNOWN


if __name__ == "__main__":
    run_command(__doc__, PLAN, train, export)
