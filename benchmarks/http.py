"""What the program costs beside the model: a whole request through HTTP divided by the bare UNet and VAE at equal work.

    venv/bin/python -m benchmarks.http

Equal work: the demo model, 20 steps of Euler, prompt and negative prompt in one pass, one VAE decode. Pairs are measured in turn;
the median of their ratios is printed. Target: at most 1.05.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from benchmarks.paired import time_in_turn
from benchmarks.program import ROOT, running
from webui.engine.device import choose_device
from webui.engine.noise_levels import input_scale
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.schedules import uniform
from webui.engine.warmup import EngineOptions

PAIRS = 15
STEPS = 20
SIDE = 128
DEMO = ROOT / "models" / "Stable-diffusion" / "demo.safetensors"


@torch.inference_mode()
def draw_bare(pipeline: Pipeline) -> None:
    """The least that draws one picture: no prompt encoding, no events, no saving, no PNG."""
    sigmas = uniform(pipeline.levels, STEPS)
    x = torch.randn(1, 4, SIDE // 8, SIDE // 8) * sigmas[0]
    context = torch.randn(2, 77, pipeline.unet.config["cross_attention_dim"])
    for sigma, sigma_next in pairwise(sigmas):
        both = sigma.expand(2)
        scale = input_scale(both)[:, None, None, None]
        out = pipeline.unet(x.repeat(2, 1, 1, 1) * scale, pipeline.levels.timestep(both), context, return_dict=False)[0]
        denoised = pipeline.prediction.denoised(x.repeat(2, 1, 1, 1), out, both[:, None, None, None])
        guided = denoised[1:] + 7 * (denoised[:1] - denoised[1:])
        x = x + (x - guided) / sigma * (sigma_next - sigma)
    pipeline.vae.decode(x / 0.18215)


def main() -> None:
    """Measure and print."""
    manager = PipelineManager(choose_device(EngineOptions(device="cpu")), 10**9)
    request = {"prompt": "a red apple", "negative_prompt": "blue", "steps": STEPS, "width": SIDE, "height": SIDE, "sampler_name": "Euler"}
    with running("--api", "--nowebui") as program, manager.lease(PipelineSpec(DEMO)) as pipeline:
        program.wait_for_first_byte()
        measured = time_in_turn(lambda _: program.txt2img(**request), lambda _: draw_bare(pipeline), PAIRS)
    print(f"through HTTP against bare: {measured}")


if __name__ == "__main__":
    main()
