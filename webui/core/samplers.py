"""The names of samplers and schedules, as A1111 shows and accepts them. Their arithmetic is engine/samplers.py's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from webui.core.errors import UnknownName


@dataclass(frozen=True)
class Schedule:
    """A spacing of noise levels.  default_rho: -1 where the spacing has no rho, as A1111 reports it."""

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float = -1.0
    needs_model: bool = False


@dataclass(frozen=True)
class Sampler:
    """A sampling method.

    schedule: what "Automatic" means for it (None: the model's own uniform spacing).
    has_schedule: False for methods that walk the model's time steps and ignore the schedule.
    model_calls: denoiser calls a step.
    """

    label: str
    aliases: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    schedule: str | None = None
    has_schedule: bool = True
    model_calls: int = 1


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("automatic", "Automatic"),
    Schedule("uniform", "Uniform", needs_model=True),
    Schedule("karras", "Karras", default_rho=7.0),
)

SAMPLERS: tuple[Sampler, ...] = (
    Sampler("DPM++ 2M", ("k_dpmpp_2m",), {"scheduler": "karras"}, schedule="Karras"),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral"), {"uses_ensd": "True"}),
    Sampler("Euler", ("k_euler",)),
    Sampler("Heun", ("k_heun",), {"second_order": "True"}, model_calls=2),
    Sampler("DDIM", ("ddim",), has_schedule=False),
)


def find_sampler(name: str, samplers: Sequence[Sampler] = SAMPLERS) -> Sampler:
    """The sampler of that label or alias, whatever its case.  Raises UnknownName with the nearest labels."""
    wanted = name.strip().lower()
    for sampler in samplers:
        if wanted in (sampler.label.lower(), *sampler.aliases):
            return sampler
    raise UnknownName("sampler", name, [sampler.label for sampler in samplers])


def find_schedule(name: str, schedules: Sequence[Schedule] = SCHEDULES) -> Schedule:
    """The schedule of that label, name or alias, whatever its case.  Raises UnknownName with the nearest labels."""
    wanted = name.strip().lower()
    for schedule in schedules:
        if wanted in (schedule.label.lower(), schedule.name, *(alias.lower() for alias in schedule.aliases)):
            return schedule
    raise UnknownName("schedule type", name, [schedule.label for schedule in schedules])


def split_combined_name(name: str) -> tuple[str, str | None]:
    """An old combined name in its two parts: "DPM++ 2M Karras" is ("DPM++ 2M", "Karras"); a plain name has None."""
    for schedule in SCHEDULES:
        for suffix in (schedule.label, schedule.name, *schedule.aliases):
            head = name[: -len(suffix) - 1]
            if head and name.lower().endswith(" " + suffix.lower()):
                return head, schedule.label
    return name, None


def resolve_schedule(sampler: Sampler, schedule: str) -> str | None:
    """The label of the spacing really used: what "Automatic" stands for; None for samplers without a schedule."""
    if not sampler.has_schedule:
        return None
    label = find_schedule(schedule).label
    return (sampler.schedule or "Uniform") if label == "Automatic" else label
