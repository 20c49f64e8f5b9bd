"""What the user asks of samplers and schedules, by request and by settings, and what the infotext tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from webui.core.request import GenerationRequest
from webui.core.samplers import Sampler, find_schedule
from webui.core.settings import Settings
from webui.engine.samplers.base import Churn
from webui.engine.samplers.unipc import UniPCOptions
from webui.engine.schedules import Spacing

CHURN_LABELS = (("s_churn", "Sigma churn"), ("s_tmin", "Sigma tmin"), ("s_tmax", "Sigma tmax"), ("s_noise", "Sigma noise"))
ETA_OF_TCD = 0.3


@dataclass(frozen=True)
class SamplerOptions:
    """Everything that samplers and schedules take from the user.

    eta: the request's, None where it leaves that to eta_ancestral or eta_ddim, the settings'.
    churn: what acts.   churn_told: those of its settings that differ from their defaults, (setting's name, value).
    sgm_noise_multiplier: start as SDXL's own code does, at the spread of picture and noise together.
    """

    eta: float | None = None
    eta_ancestral: float = 1.0
    eta_ddim: float = 0.0
    churn: Churn = field(default_factory=Churn)
    churn_told: tuple[tuple[str, float], ...] = ()
    spacing: Spacing = field(default_factory=Spacing)
    sgm_noise_multiplier: bool = False
    unipc: UniPCOptions = field(default_factory=UniPCOptions)

    def eta_of(self, sampler: Sampler) -> float:
        """How much fresh noise this sampler is to add.

        TCD's default is its authors', unless the settings have another one than A1111's default.
        """
        if sampler.label == "TCD":
            eta = self.eta_ancestral if self.eta is None and self.eta_ancestral != 1.0 else self.eta
            return min(ETA_OF_TCD if eta is None else eta, 1.0)
        of_settings = self.eta_ddim if sampler.eta == "Eta DDIM" else self.eta_ancestral
        return of_settings if self.eta is None else self.eta

    def churn_of(self, sampler: Sampler) -> Churn:
        """The churn, as far as this sampler heeds it."""
        if "s_churn" in sampler.knobs:
            return self.churn
        return Churn(noise=self.churn.noise) if "s_noise" in sampler.knobs else Churn()

    def sampler_pairs(self, sampler: Sampler) -> dict[str, str]:
        """Infotext pairs for how the sampler adds noise, where that differs from the default."""
        pairs = {}
        eta = self.eta_of(sampler)
        default = 0.0 if sampler.eta == "Eta DDIM" else 1.0
        if sampler.eta and eta != (ETA_OF_TCD if sampler.label == "TCD" else default):
            pairs[sampler.eta] = write_number(eta) if self.eta is None else str(eta)
        told = dict(self.churn_told)
        return pairs | {label: write_number(told[name]) for name, label in CHURN_LABELS if name in told and name in sampler.knobs}

    def schedule_pairs(self, sampler: Sampler, schedule: str, sigma_range: tuple[float, float]) -> dict[str, str]:
        """Infotext pairs for what the settings change of the schedule.  sigma_range: the model's lowest and highest level.

        A1111 tells the range also with schedules that do not heed it.
        """
        own, kind = self.spacing, find_schedule(schedule)
        pairs = {"Discard penultimate sigma": "True"} if own.discard and not sampler.discard_next_to_last_sigma else {}
        if not sampler.has_schedule or kind.label == "Automatic":
            return pairs
        if own.sigma_min not in (0.0, sigma_range[0]):
            pairs["Schedule min sigma"] = write_number(own.sigma_min)
        if own.sigma_max not in (0.0, sigma_range[1]):
            pairs["Schedule max sigma"] = write_number(own.sigma_max)
        if kind.default_rho > 0 and own.rho not in (0.0, kind.default_rho):
            pairs["Schedule rho"] = write_number(own.rho)
        if kind.label == "Beta":
            pairs |= {"Beta schedule alpha": write_number(own.alpha), "Beta schedule beta": write_number(own.beta)}
        return pairs


def read_options(request: GenerationRequest, settings: Settings) -> SamplerOptions:
    """As A1111 does: a churn setting that differs from its default beats the request's value; the request's eta beats the setting's."""
    defaults = Churn()
    churn = {
        "s_churn": (request.s_churn, settings.s_churn, defaults.amount),
        "s_tmin": (request.s_tmin, settings.s_tmin, defaults.low),
        "s_tmax": (request.s_tmax or None, settings.s_tmax or defaults.high, defaults.high),
        "s_noise": (request.s_noise, settings.s_noise, defaults.noise),
    }
    acting = {name: setting if setting != default or asked is None else asked for name, (asked, setting, default) in churn.items()}
    return SamplerOptions(
        eta=request.eta,
        eta_ancestral=settings.eta_ancestral,
        eta_ddim=settings.eta_ddim,
        churn=Churn(acting["s_churn"], acting["s_tmin"], acting["s_tmax"], acting["s_noise"]),
        churn_told=tuple((name, setting) for name, (_, setting, default) in churn.items() if setting != default),
        spacing=Spacing(
            sigma_min=settings.sigma_min,
            sigma_max=settings.sigma_max,
            rho=settings.rho,
            alpha=settings.beta_dist_alpha,
            beta=settings.beta_dist_beta,
            old_range=settings.use_old_karras_scheduler_sigmas,
            discard=settings.always_discard_next_to_last_sigma,
        ),
        sgm_noise_multiplier=settings.sgm_noise_multiplier,
        unipc=UniPCOptions(settings.uni_pc_variant, settings.uni_pc_skip_type, settings.uni_pc_order, settings.uni_pc_lower_order_final),
    )


def write_number(value: float) -> str:
    """As A1111 writes a setting: 5, not 5.0."""
    return str(int(value)) if float(value).is_integer() else str(value)
