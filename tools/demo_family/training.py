"""One loop that trains every model of the family: AdamW, warm-up and cosine, a moving average of the weights, state that can be resumed."""

from __future__ import annotations

import argparse
import inspect
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from tools.demo_family.dataset import WORK

Loss = Callable[[torch.Generator], torch.Tensor]
"""Draws a batch and says how wrong the model is on it."""


@dataclass(frozen=True)
class Plan:
    """minutes, samples: of training in all, over all runs; it ends with whichever are used up first. The learning rate falls from two
    fifths of them on.   batch: samples a step.

    every: minutes between two looks at it, when the state is kept and `report` is called.
    """

    minutes: float
    learning_rate: float
    batch: int
    samples: float = math.inf
    warm_up: int = 100
    decay: float = 0.998
    every: float = 2.0


class Training:
    """Owner of a model in training and of its state in `folder`: state.pt, and curve.jsonl with a line for each look.

    beside: what it is trained beside, a mark of it; a state of a training beside something else is refused with ValueError.
    """

    def __init__(self, model: nn.Module, plan: Plan, folder: Path, beside: str = "") -> None:
        self.model, self.plan, self.folder = model, plan, folder
        self._beside = beside
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self._average = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._step, self._seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self._state.exists():
            self._resume()

    def run(self, loss_of: Loss, report: Callable[[nn.Module, int], dict[str, float]]) -> dict[str, torch.Tensor]:
        """Train until the plan's minutes or samples are used up; the averaged weights, on the CPU.

        report: of the model with averaged weights and the step, figures for the curve.
        """
        if self._used() >= 1:
            print(f"The plan is used up. To begin anew, remove {self.folder}; to go on, say more minutes or samples.", flush=True)
        generator = torch.Generator().manual_seed(1000 + self._step)
        looked, losses = time.monotonic(), []
        last = looked
        while self._used() < 1:
            losses.append(self._advance(loss_of(generator)))
            now = time.monotonic()
            self._seconds, last = self._seconds + now - last, now
            if now - looked > 60 * self.plan.every:
                self._look(losses, now - looked, report)
                looked = last = time.monotonic()
                losses = []
        if losses:
            self._look(losses, time.monotonic() - looked, report)
        return {name: value.cpu() for name, value in self._average.items()}

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

    def _used(self) -> float:
        """How much of the plan is behind it, of 1."""
        return max(self._seconds / 60 / max(self.plan.minutes, 1e-9), self._step * self.plan.batch / max(self.plan.samples, 1))

    def _share(self) -> float:
        falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, (self._used() - 0.4) / 0.6)))
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
            "step": self._step, "seconds": self._seconds, "beside": self._beside,
        }  # fmt: skip
        part = self._state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._state)

    def _resume(self) -> None:
        state = torch.load(self._state, map_location=self._trained[0].device, weights_only=True)
        if state["beside"] != self._beside:
            raise ValueError(f"In {self.folder} is a training beside another VAE or base. To begin anew, remove it.")
        self.model.load_state_dict(state["model"])
        self._average = state["average"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self._seconds = state["step"], state["seconds"]
        print(f"resumed at step {self._step}, {self._seconds / 60:.1f} minutes", flush=True)


def velocity_batch(
    latents: torch.Tensor, alphas: torch.Tensor, generator: torch.Generator, *, first: int = 0, lean: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy latents, their time steps (spread evenly from the first on), and the velocity that is to be predicted.

    latents: (B, 4, h, w); the answers are on their device.   alphas: (T,), products of all alphas so far.
    lean: below 1, more of the steps have much noise.
    Source: Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", section 4 (v).
    """
    count = len(latents)
    even = ((torch.arange(count) + torch.rand(count, generator=generator)) / count) ** lean
    steps = (first + even * (len(alphas) - first)).long().clamp(max=len(alphas) - 1)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    signal = alphas[steps].view(-1, 1, 1, 1).to(latents.device)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, steps.to(latents.device), signal.sqrt() * noise - (1 - signal).sqrt() * latents


def run_command(
    description: str | None,
    plan: Plan,
    train: Callable[..., dict[str, torch.Tensor]],
    export: Callable[[dict[str, torch.Tensor]], None],
    arguments: Sequence[str] | None = None,
) -> None:
    """The command line of a training.

    description: its module's text.   plan: unless minutes, samples or the learning rate are said.   train: of a plan and the folder to
    work in; if it takes `further`, training can go on from the weights that ship.   arguments: None for the process's own.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=plan.minutes, help="of training in all, at most (default: %(default)s)")
    parser.add_argument("--samples", type=float, default=plan.samples, help="in all, at most (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=plan.learning_rate, help="the highest (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of pictures, states and curves (default: %(default)s)")
    parser.add_argument("--export", action="store_true", help="write the model's file at the end")
    if "further" in inspect.signature(train).parameters:
        parser.add_argument("--further", action="store_true", help="go on from the weights that ship, in a folder of its own")
    asked = vars(parser.parse_args(arguments))
    plan = replace(plan, **{name: asked.pop(name) for name in ("minutes", "samples", "learning_rate")})
    exported, work = asked.pop("export"), asked.pop("work")
    trained = train(plan, work, **asked)
    if exported:
        export(trained)
