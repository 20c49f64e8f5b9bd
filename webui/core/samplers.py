"""The names of samplers and schedules, as A1111 shows and accepts them. Their arithmetic is in engine/samplers/ and engine/schedules.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webui.core.errors import UnknownName
from webui.core.extension_points import is_added

CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
NOISE = ("s_noise",)


@dataclass(frozen=True)
class Schedule:
    """A spacing of noise levels.

    default_rho: the exponent it has unless another is set; -1 where it has none, as A1111 reports it.
    needs_model: whether it is made from the model's own levels, and not from the lowest and the highest alone.
    """

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float = -1.0
    needs_model: bool = False


@dataclass(frozen=True)
class Sampler:
    """A sampling method.

    schedule: what "Automatic" means for it (None: the model's own uniform spacing).
    discard_next_to_last_sigma: its schedule is made one step longer, and loses the last level above its end.
    uses_ensd: the infotext tells the eta noise seed delta.   second_order: it calls the denoiser twice a step.
    brownian_noise: its noise is a Brownian path over the noise levels, not drawn anew for each step.
    solver_type: the variant of the method, where A1111 names one.
    has_schedule: False for methods that walk the model's time steps and ignore the schedule.
    eta: the infotext's key for how much fresh noise it adds, "Eta" or "Eta DDIM"; None where that cannot be chosen.
    knobs: which of s_churn, s_tmin, s_tmax and s_noise it heeds.   cfg_factor: what the CFG scale is multiplied with.
    """

    label: str
    aliases: tuple[str, ...]
    schedule: str | None = None
    discard_next_to_last_sigma: bool = False
    uses_ensd: bool = False
    second_order: bool = False
    brownian_noise: bool = False
    solver_type: str | None = None
    has_schedule: bool = True
    eta: str | None = None
    knobs: tuple[str, ...] = ()
    cfg_factor: float = 1.0

    @property
    def model_calls(self) -> int:
        """Denoiser calls a step, by which prompts are timed: A1111's count, in which the last step is like the others."""
        return 2 if self.second_order else 1

    @property
    def options(self) -> dict[str, str]:
        """What A1111's API tells of it, as it spells it."""
        told = {
            "scheduler": find_schedule(self.schedule).name if self.schedule else None,
            "discard_next_to_last_sigma": self.discard_next_to_last_sigma,
            "uses_ensd": self.uses_ensd,
            "second_order": self.second_order,
            "brownian_noise": self.brownian_noise,
            "solver_type": self.solver_type,
        }
        return {name: str(value) for name, value in told.items() if value}


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("automatic", "Automatic"),
    Schedule("uniform", "Uniform", needs_model=True),
    Schedule("karras", "Karras", default_rho=7.0),
    Schedule("exponential", "Exponential"),
    Schedule("polyexponential", "Polyexponential", default_rho=1.0),
    Schedule("sgm_uniform", "SGM Uniform", ("SGMUniform",), needs_model=True),
    Schedule("kl_optimal", "KL Optimal"),
    Schedule("align_your_steps", "Align Your Steps"),
    Schedule("simple", "Simple", needs_model=True),
    Schedule("normal", "Normal", needs_model=True),
    Schedule("ddim", "DDIM", needs_model=True),
    Schedule("beta", "Beta", needs_model=True),
)

SAMPLERS: tuple[Sampler, ...] = (
    Sampler("DPM++ 2M", ("k_dpmpp_2m",), schedule="Karras"),
    Sampler("DPM++ SDE", ("k_dpmpp_sde",), schedule="Karras", second_order=True, brownian_noise=True, eta="Eta", knobs=NOISE),
    Sampler("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), schedule="Exponential", brownian_noise=True, eta="Eta", knobs=NOISE),
    Sampler(
        "DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun",), schedule="Exponential", brownian_noise=True, solver_type="heun",
        eta="Eta", knobs=NOISE,
    ),
    Sampler("DPM++ 2S a", ("k_dpmpp_2s_a",), schedule="Karras", uses_ensd=True, second_order=True, eta="Eta", knobs=NOISE),
    Sampler(
        "DPM++ 3M SDE", ("k_dpmpp_3m_sde",), schedule="Exponential", discard_next_to_last_sigma=True, brownian_noise=True,
        eta="Eta", knobs=NOISE,
    ),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral"), uses_ensd=True, eta="Eta"),
    Sampler("Euler", ("k_euler",), knobs=CHURN),
    Sampler("LMS", ("k_lms",)),
    Sampler("Heun", ("k_heun",), second_order=True, knobs=CHURN),
    Sampler("DPM2", ("k_dpm_2",), schedule="Karras", discard_next_to_last_sigma=True, second_order=True, knobs=CHURN),
    Sampler(
        "DPM2 a", ("k_dpm_2_a",), schedule="Karras", discard_next_to_last_sigma=True, uses_ensd=True, second_order=True,
        eta="Eta", knobs=NOISE,
    ),
    Sampler("DPM fast", ("k_dpm_fast",), uses_ensd=True, eta="Eta", knobs=NOISE),
    Sampler("DPM adaptive", ("k_dpm_ad",), uses_ensd=True, eta="Eta"),
    Sampler("Restart", ("restart",), schedule="Karras", second_order=True),
    Sampler("DDIM", ("ddim",), has_schedule=False, eta="Eta DDIM"),
    Sampler("DDIM CFG++", ("ddim_cfgpp",), has_schedule=False, eta="Eta DDIM", cfg_factor=1 / 12.5),
    Sampler("PLMS", ("plms",), has_schedule=False),
    Sampler("UniPC", ("unipc",), has_schedule=False),
    Sampler("LCM", ("k_lcm",)),
    Sampler("TCD", ("tcd",), has_schedule=False, uses_ensd=True, eta="Eta"),
)  # fmt: skip


def find_sampler(name: str, samplers: Sequence[Sampler] = SAMPLERS) -> Sampler:
    """The sampler of that label or alias, whatever its case; what an extension adds, whether that is there or not.

    Raises UnknownName with the nearest labels.
    """
    wanted = name.strip().lower()
    for sampler in samplers:
        if wanted in (sampler.label.lower(), *sampler.aliases):
            return sampler
    if is_added(name):
        return Sampler(name.strip(), ())
    raise UnknownName("sampler", name, [sampler.label for sampler in samplers])


def find_schedule(name: str, schedules: Sequence[Schedule] = SCHEDULES) -> Schedule:
    """The schedule of that label, name or alias, whatever its case; added ones as in find_sampler.  Raises UnknownName with the nearest."""
    wanted = name.strip().lower()
    for schedule in schedules:
        if wanted in _names(schedule):
            return schedule
    if is_added(name):
        return Schedule(name.strip(), name.strip())
    raise UnknownName("schedule type", name, [schedule.label for schedule in schedules])


def split_combined_name(name: str) -> tuple[str, str | None]:
    """An old combined name in its two parts: "DPM++ 2M Karras" is ("DPM++ 2M", "Karras"); a plain name has None.

    The longest schedule's name counts: "Euler SGM Uniform" is Euler on SGM Uniform. A1111 before 1.9 wrote such names.
    """
    if is_added(name) or any(name.strip().lower() in (sampler.label.lower(), *sampler.aliases) for sampler in SAMPLERS):
        return name, None
    endings = [(ending, schedule.label) for schedule in SCHEDULES for ending in _names(schedule)]
    for ending, label in sorted(endings, key=lambda pair: -len(pair[0])):
        if name.lower().endswith(" " + ending) and (head := name[: -len(ending)].rstrip()):
            return head, label
    return name, None


def resolve_schedule(sampler: Sampler, schedule: str) -> str | None:
    """The label of the spacing really used: what "Automatic" stands for; None for samplers without a schedule."""
    if not sampler.has_schedule:
        return None
    label = find_schedule(schedule).label
    return (sampler.schedule or "Uniform") if label == "Automatic" else label


def _names(schedule: Schedule) -> tuple[str, ...]:
    """All it answers to, in lower case."""
    return (schedule.label.lower(), schedule.name, *(alias.lower() for alias in schedule.aliases))
