"""One loop that trains every model of the family: AdamW, warm-up and cosine, a moving average of the weights, state that can be resumed."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tools.demo_family.dataset import WORK

Loss = Callable[[torch.Generator], torch.Tensor]
"""Draws a batch and says how wrong the model is on it."""


@dataclass(frozen=True)
class Plan:
    """minutes: of training in all, over all runs; the learning rate falls from two fifths of them on.   batch: for the log alone.

    every: minutes between two looks at it, when the state is kept and `report` is called.
    """

    minutes: float
    learning_rate: float
    batch: int
    warm_up: int = 100
    decay: float = 0.998
    every: float = 2.0


class Training:
    """Owner of a model in training and of its state in `folder`: state.pt, and curve.jsonl with a line for each look."""

    def __init__(self, model: nn.Module, plan: Plan, folder: Path) -> None:
        self.model, self.plan, self.folder = model, plan, folder
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self._average = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._step, self._seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self._state.exists():
            self._resume()

    def run(self, loss_of: Loss, report: Callable[[nn.Module, int], dict[str, float]]) -> dict[str, torch.Tensor]:
        """Train until the plan's minutes are used up; the averaged weights.

        report: of the model with averaged weights and the step, figures for the curve.
        """
        generator = torch.Generator().manual_seed(1000 + self._step)
        looked, losses = time.monotonic(), []
        last = looked
        while self._seconds < 60 * self.plan.minutes:
            losses.append(self._advance(loss_of(generator)))
            now = time.monotonic()
            self._seconds, last = self._seconds + now - last, now
            if now - looked > 60 * self.plan.every:
                self._look(losses, now - looked, report)
                looked = last = time.monotonic()
                losses = []
        if losses:
            self._look(losses, time.monotonic() - looked, report)
        return self._average

    @property
    def _state(self) -> Path:
        return self.folder / "state.pt"

    def _advance(self, loss: torch.Tensor) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * self._share()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimizer.step()
        self._step += 1
        # The average would otherwise remember the start for long.
        decay = min(self.plan.decay, (1 + self._step) / (12 + self._step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self._average[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def _share(self) -> float:
        used = self._seconds / (60 * self.plan.minutes)
        falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, (used - 0.4) / 0.6)))
        return min(1.0, (self._step + 1) / self.plan.warm_up) * (0.03 + 0.97 * falling)

    def _look(self, losses: list[float], seconds: float, report: Callable[[nn.Module, int], dict[str, float]]) -> None:
        current = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        self.model.eval()
        with torch.no_grad():
            figures = report(self.model, self._step)
        self.model.load_state_dict(current)
        self.model.train()
        line = {
            "minutes": round(self._seconds / 60, 2), "step": self._step, "samples": self._step * self.plan.batch,
            "per_second": round(len(losses) * self.plan.batch / seconds, 1), "loss": round(sum(losses) / len(losses), 5), **figures,
        }  # fmt: skip
        with (self.folder / "curve.jsonl").open("a", encoding="utf-8") as curve:
            curve.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        self._keep()

    def _keep(self) -> None:
        state = {
            "model": self.model.state_dict(), "average": self._average, "optimizer": self._optimizer.state_dict(),
            "step": self._step, "seconds": self._seconds,
        }  # fmt: skip
        part = self._state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._state)

    def _resume(self) -> None:
        state = torch.load(self._state, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._average = state["average"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self._seconds = state["step"], state["seconds"]
        print(f"resumed at step {self._step}, {self._seconds / 60:.1f} minutes", flush=True)


def velocity_batch(
    latents: torch.Tensor, alphas: torch.Tensor, generator: torch.Generator, *, first: int = 0, lean: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy latents, their time steps (spread evenly from the first on), and the velocity that is to be predicted.

    latents: (B, 4, h, w).   alphas: (T,), products of all alphas so far.   lean: below 1, more of the steps have much noise.
    Source: Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", section 4 (v).
    """
    count = len(latents)
    even = ((torch.arange(count) + torch.rand(count, generator=generator)) / count) ** lean
    steps = (first + even * (len(alphas) - first)).long().clamp(max=len(alphas) - 1)
    noise = torch.randn(latents.shape, generator=generator)
    signal = alphas[steps].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, steps, signal.sqrt() * noise - (1 - signal).sqrt() * latents


def run_command(
    description: str | None,
    minutes: float,
    train: Callable[[float, Path], dict[str, torch.Tensor]],
    export: Callable[[dict[str, torch.Tensor]], None],
) -> None:
    """The command line of a training.  description: its module's text.   minutes: how long, unless it is said."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--export", action="store_true")
    asked = parser.parse_args()
    trained = train(asked.minutes, asked.work)
    if asked.export:
        export(trained)
