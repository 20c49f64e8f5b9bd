"""Samplers as generators: each yields what it wants denoised, is sent the answer, and returns the finished latents.

None of them knows of models, guidance, progress or cancelling. `plan_sampling` finds one by its name and readies it to run.
"""

from webui.engine.samplers.base import BrownianNoise, Churn, Denoise, FreshNoise, Noise, Sampling
from webui.engine.samplers.options import SamplerOptions, read_options
from webui.engine.samplers.plan import Plan, plan_sampling

__all__ = [
    "BrownianNoise",
    "Churn",
    "Denoise",
    "FreshNoise",
    "Noise",
    "Plan",
    "SamplerOptions",
    "Sampling",
    "plan_sampling",
    "read_options",
]
