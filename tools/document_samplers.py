"""Writes docs/samplers.md: every sampler and schedule, what was measured of it, and what it is held against.

    venv/bin/python -m tools.document_samplers

A test fails when the page leaves one out. Needs tests/requirements.txt.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from tools.sampler_oracles import agreements, paths
from tools.sampler_orders import convergences
from webui.core.paths import PROGRAM
from webui.core.samplers import SAMPLERS, SCHEDULES, Sampler, Schedule
from webui.engine.noise_levels import scaled_linear
from webui.engine.samplers import BrownianNoise, SamplerOptions, plan_sampling
from webui.engine.schedules import Spacing, make_sigmas

PAGE = PROGRAM / "docs" / "samplers.md"
STEPS = 20
INTRODUCTION = f"""# Samplers and schedules

Written by `python -m tools.document_samplers`. The names are A1111's, and so is the arithmetic: `benchmarks/parity.py` compares whole
pictures with A1111's own. On the reference checkpoint, the latents of all sampler and schedule cases came within 5e-5 of their spread.
TCD is ours. A name is accepted by label or alias in any case, and with a schedule behind it, as A1111 before 1.9
wrote it ("DPM++ 2M Karras").

- **schedule**: what "Automatic" means for it; none: it walks the model's own time steps.   **calls**: of the denoiser in {STEPS} steps.
- **heeds**: which settings act on it.   **order**: the power of the step length with which its error falls, measured without noise
  between two numbers of steps against the exact solution for normally distributed data. A multistep method begins with steps of a lower
  order, which show in the end. 3M gives the curvature half its weight in every program, A1111's too, and so is of order 2. UniPC is
  measured with its order 2 and logSNR steps.
- **held against**: diffusers' scheduler of that name, with the same levels and noise, or what else it must equal; then the largest
  difference in units of the largest value.

"""
SCHEDULE_NOTES = """
## Schedules

`sigma_min` and `sigma_max` change the range of those that have one, `rho` the exponent of Karras (7) and Polyexponential (1). All end at 0
but KL Optimal, whose pictures keep the noise of the lowest level, as A1111's do.

"""


class _NoNoise:
    def draw(self) -> torch.Tensor:
        """Never asked: only the plan is wanted."""
        raise AssertionError

    def brownian(self, low: float, high: float) -> BrownianNoise:
        """Nor here."""
        return paths(low, high)


def page() -> str:
    """The whole page."""
    heads = ("sampler", "aliases", "schedule", "calls", "heeds", "order", "held against", "difference")
    kinds = ("schedule", "name in the API", "levels of SD 1.x in 8 steps")
    return (
        INTRODUCTION
        + _table(heads, [_sampler_row(sampler) for sampler in SAMPLERS])
        + SCHEDULE_NOTES
        + _table(kinds, [_schedule_row(schedule) for schedule in SCHEDULES])
    )


def _sampler_row(sampler: Sampler) -> tuple[str, ...]:
    plan = plan_sampling(sampler.label, "Automatic", STEPS, scaled_linear(), _NoNoise(), SamplerOptions())
    convergence, agreement = convergences().get(sampler.label), agreements()[sampler.label]
    return (
        sampler.label,
        ", ".join(f"`{alias}`" for alias in sampler.aliases),
        (sampler.schedule or "Uniform") if sampler.has_schedule else "none",
        "as it needs" if plan.calls is None else str(plan.calls),
        ", ".join(([sampler.eta.lower()] if sampler.eta else []) + [f"`{knob}`" for knob in sampler.knobs]),
        f"{convergence.measured():.1f}" if convergence else "",
        agreement.oracle,
        f"{agreement.difference():.0e}",
    )


def _schedule_row(schedule: Schedule) -> tuple[str, ...]:
    if schedule.label == "Automatic":
        return schedule.label, f"`{schedule.name}`", "the sampler's own"
    sigmas = make_sigmas(schedule.label, scaled_linear(), 8, Spacing())
    return schedule.label, f"`{schedule.name}`", " ".join(f"{float(sigma):.3g}" for sigma in sigmas)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    """Write the page."""
    warnings.simplefilter("ignore")
    Path(PAGE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
