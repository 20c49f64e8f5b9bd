"""Switching between two checkpoints of one architecture, divided by diffusers' from_single_file.

    venv/bin/python -m benchmarks.swap

Two full-size Stable Diffusion 1.5 files of random weights (fp16, 2.1 GB each, made in a temporary folder), from the page cache, kept
in fp16 so that both load without converting. Pairs are measured in turn. Target: at most 0.1.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import save_file

from benchmarks.paired import time_in_turn
from webui.engine.device import Device
from webui.engine.families.layout import UNET, VAE
from webui.engine.families.ldm_layout import unet_name, vae_name
from webui.engine.families.sd1 import TEXT
from webui.engine.families.texts import TextShape
from webui.engine.families.unet import UNetShape
from webui.engine.families.vae import VaeShape
from webui.engine.loading import build_skeleton
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec
from webui.engine.tokenizer import build_tokenizer

PAIRS = 7
UNET_SHAPE = UNetShape((320, 640, 1280, 1280), 2, (True, True, True, False), (1,) * 4, 4, 4, 768, (8,) * 4, 32)
VAE_SHAPE = VaeShape((128, 256, 512, 512), 2, 4, 32, 0.18215)
TEXT_SHAPE = TextShape(49408, 768, 3072, 12, 12, 77, prefixes=TEXT)


def main() -> None:
    """Make the files, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first.safetensors"), Path(folder, "second.safetensors")
        write_checkpoint(first)
        write_checkpoint(second)
        config = write_configs(Path(folder, "config"))
        size = first.stat().st_size
        device = Device(torch.device("cpu"), torch.float16, torch.float16)
        manager = PipelineManager(device, budget=int(1.5 * size))
        files = (first, second)
        for file in files:
            swap(manager, file)
        measured = time_in_turn(lambda n: swap(manager, files[n % 2]), lambda n: load_with_diffusers(files[n % 2], config), PAIRS)
    print(f"swap against from_single_file: {measured}")


def swap(manager: PipelineManager, file: Path) -> None:
    """Lease the checkpoint; the other one has to go, since the budget holds but one."""
    with manager.lease(PipelineSpec(file)):
        pass


def load_with_diffusers(file: Path, config: Path) -> None:
    """Load the same file as diffusers does."""
    StableDiffusionPipeline.from_single_file(str(file), config=str(config), local_files_only=True, torch_dtype=torch.float16)


def write_checkpoint(path: Path) -> None:
    """A checkpoint in the original layout; its weights are arbitrary, only their shapes matter here."""
    weights = {}
    unet, vae, text = (build_skeleton(shape.build) for shape in (UNET_SHAPE, VAE_SHAPE, TEXT_SHAPE))
    for name, weight in unet.state_dict().items():
        weights[UNET + unet_name(name, layers=2, up_attention=(False, True, True, True))] = weight
    for name, weight in vae.state_dict().items():
        weights[VAE + vae_name(name, levels=4)] = weight
    for name, weight in text.state_dict().items():
        weights[TEXT[0] + name] = weight
    save_file({name: torch.full(weight.shape, 0.01, dtype=torch.float16) for name, weight in weights.items()}, path)


def write_configs(folder: Path) -> Path:
    """The configuration folder that from_single_file wants instead of reading shapes."""
    skeleton = StableDiffusionPipeline(
        vae=VAE_SHAPE.build(),
        text_encoder=TEXT_SHAPE.build(),
        tokenizer=build_tokenizer(),
        unet=UNET_SHAPE.build(),
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    skeleton.save_config(folder)
    for part in ("vae", "unet", "scheduler"):
        getattr(skeleton, part).save_config(folder / part)
    skeleton.text_encoder.config.save_pretrained(folder / "text_encoder")
    skeleton.tokenizer.save_pretrained(folder / "tokenizer")
    return folder


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
