"""From a sampler's name to a sampling that is ready to run: its noise levels, its start, its calls, its generator."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from webui.core.extension_points import is_added
from webui.core.hook_ports import NO_ENGINE_HOOKS, EngineHooks
from webui.core.samplers import Sampler, find_sampler, find_schedule, resolve_schedule
from webui.engine.noise_levels import NoiseLevels
from webui.engine.samplers import consistency, timestep, unipc
from webui.engine.samplers.added import added_method, added_sigmas
from webui.engine.samplers.base import Denoise, Noise
from webui.engine.samplers.options import SamplerOptions
from webui.engine.samplers.sigma_methods import SIGMA_METHODS, Begin, SigmaRun
from webui.engine.schedules import ddim_timesteps, make_sigmas


@dataclass(frozen=True)
class Plan:
    """A sampling, ready to run.

    latent_scale, noise_scale: the first x is latent * latent_scale + noise * noise_scale; without a latent, noise * noise_scale.
    sigma_range: the highest noise level of what is run, and the lowest above the end.
    calls: denoiser calls it will make; None where the sampler finds out on its way.
    begin(x): the generator.   used: infotext pairs, in A1111's order.
    """

    latent_scale: torch.Tensor
    noise_scale: torch.Tensor
    sigma_range: tuple[torch.Tensor, torch.Tensor]
    calls: int | None
    begin: Begin
    used: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """How much of a schedule is run.  steps: how long the schedule is.   last: how many of its last steps; None: all, from noise."""

    steps: int
    last: int | None


def plan_sampling(
    sampler: str,
    schedule: str | None,
    steps: int,
    levels: NoiseLevels,
    noise: Noise,
    options: SamplerOptions,
    *,
    denoising: float | None = None,
    fix_steps: bool = False,
    sdxl: bool = False,
    hooks: EngineHooks = NO_ENGINE_HOOKS,
) -> Plan:
    """Everything a sampler needs to begin.

    sampler: its label.   schedule: a label, "Automatic" for the sampler's own; None for samplers that have none.   steps: 1 or more.
    denoising: None starts from noise; 0..1 from a latent, with the last part of the schedule.
    fix_steps: run so many steps whatever the denoising is, as in the second pass of a hires fix.   sdxl: whether the model is one.
    hooks: where samplers and schedules of extensions are found.
    """
    known = find_sampler(sampler)
    part = part_to_run(steps, denoising, fix_steps=fix_steps)
    if known.has_schedule:
        plan = _plan_sigmas(known, schedule or "Automatic", part, levels, noise, options, sdxl=sdxl, hooks=hooks)
    elif known.label == "TCD":
        plan = _plan_tcd(known, part, levels, noise, options)
    else:
        plan = _plan_timesteps(known, part, levels, noise, options)
    return replace(plan, used={**plan.used, **options.sampler_pairs(known)})


def part_to_run(steps: int, denoising: float | None, *, fix_steps: bool = False) -> Part:
    """A1111's: at 20 steps a denoising of 0.75 runs the last 16; with fix_steps all 20, the last of 26."""
    if denoising is None:
        return Part(steps, None)
    share = min(denoising, 0.999)
    if fix_steps:
        return Part(int(steps / share) if share > 0 else 0, steps)
    return Part(steps, int(share * steps) + 1)


def _plan_sigmas(
    sampler: Sampler,
    schedule: str,
    part: Part,
    levels: NoiseLevels,
    noise: Noise,
    options: SamplerOptions,
    *,
    sdxl: bool,
    hooks: EngineHooks,
) -> Plan:
    """k-diffusion's samplers: x is a picture plus sigma times noise."""
    known = consistency.DistilledLevels(levels) if sampler.label == "LCM" else levels
    spacing = replace(options.spacing, discard=options.spacing.discard or sampler.discard_next_to_last_sigma)
    label = resolve_schedule(sampler, schedule) or "Uniform"
    added = partial(added_sigmas, hooks, label) if is_added(label) else None
    whole = make_sigmas(label, known, part.steps, spacing, sdxl=sdxl, added=added)
    from_noise = part.last is None
    sigmas = whole if part.last is None else whole[max(0, part.steps - part.last) :]
    used = options.schedule_pairs(sampler, _told_schedule(sampler, schedule), (known.sigma_min, known.sigma_max))
    noise_scale = sigmas[0]
    if options.sgm_noise_multiplier and from_noise:
        noise_scale = (1 + sigmas[0] ** 2).sqrt()
        used["SGM noise multiplier"] = "True"
    if len(sigmas) < 2:
        return Plan(torch.ones(()), noise_scale, (sigmas[0], sigmas[0]), 0, _keep, used)
    ends = (known.sigma_max, known.sigma_min) if from_noise else (float(sigmas[0]), float(sigmas[-2]))
    method = partial(added_method, hooks, sampler.label) if is_added(sampler.label) else SIGMA_METHODS[sampler.label]
    begin, calls = method(
        SigmaRun(
            sigmas=sigmas,
            whole=(float(whole[whole > 0].min()), float(whole.max())),
            ends=ends,
            budget=part.steps if from_noise else len(sigmas) - 1,
            levels=levels,
            noise=noise,
            eta=options.eta_of(sampler),
            churn=options.churn_of(sampler),
        )
    )
    high, low = (torch.tensor(end) for end in ends) if calls is None else (sigmas[0], sigmas[-2])
    return Plan(torch.ones(()), noise_scale, (high, low), calls, begin, used)


def _told_schedule(sampler: Sampler, schedule: str) -> str:
    """The schedule that the infotext goes by: "Automatic" where the sampler has none of its own."""
    automatic = find_schedule(schedule).label == "Automatic"
    return sampler.schedule if automatic and sampler.schedule else schedule


def _plan_timesteps(sampler: Sampler, part: Part, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    """DDIM and its kin. From a latent, A1111 adds the noise of the time step before the first that is asked about."""
    whole = ddim_timesteps(max(1, part.steps) + options.spacing.discard, len(levels.alphas_cumprod))
    if part.last is None:
        timesteps, noised = whole, None
    else:
        count = min(part.last - 1, len(whole) - 1) if part.steps else 0
        timesteps, noised = whole[:count], whole[count]
    steps = max(0, len(timesteps) - 1)
    begin: Begin
    if sampler.label == "UniPC":
        calls = len(timesteps)
        start = 1.0 if noised is None or not timesteps else (timesteps[-1] + 1) / len(levels.alphas_cumprod)
        begin = partial(unipc.unipc, levels=levels, steps=calls, options=options.unipc, start=start) if calls else _keep
    elif sampler.label == "PLMS":
        calls = steps + min(steps, 1)
        begin = partial(timestep.plms, levels=levels, timesteps=timesteps)
    else:
        calls = steps
        method = partial(timestep.ddim, cfg_plus_plus=sampler.label == "DDIM CFG++")
        begin = partial(method, levels=levels, timesteps=timesteps, draw=noise.draw, eta=options.eta_of(sampler))
    used = {"Discard penultimate sigma": "True"} if options.spacing.discard else {}
    return _in_variance_preserving_scale(levels, noised, (whole[-1], whole[0]), calls, begin, used)


def _plan_tcd(sampler: Sampler, part: Part, levels: NoiseLevels, noise: Noise, options: SamplerOptions) -> Plan:
    """From a latent, the noise is that of the first time step asked about."""
    whole = consistency.tcd_timesteps(part.steps)
    timesteps = whole if part.last is None else whole[max(0, len(whole) - part.last) :]
    noised = None if part.last is None or not timesteps else timesteps[0]
    ends = (timesteps[0], timesteps[-1]) if timesteps else (0, 0)
    begin = partial(consistency.tcd, levels=levels, timesteps=timesteps, draw=noise.draw, eta=options.eta_of(sampler))
    return _in_variance_preserving_scale(levels, noised, ends, len(timesteps), begin, {})


def _in_variance_preserving_scale(
    levels: NoiseLevels, noised: int | None, ends: tuple[int, int], calls: int, begin: Begin, used: Mapping[str, str]
) -> Plan:
    """noised: the time step whose noise a latent gets; None starts from noise alone.   ends: the highest and the lowest time step."""
    a = levels.alphas_cumprod[noised] if noised is not None else torch.zeros(())
    return Plan(a.sqrt(), (1 - a).sqrt(), (levels.sigmas[ends[0]], levels.sigmas[ends[1]]), calls, begin, used)


def _keep(x: torch.Tensor) -> Generator[Denoise, torch.Tensor, torch.Tensor]:
    """A sampling that asks nothing."""
    yield from ()
    return x
