"""Switching between two checkpoints of one architecture, divided by diffusers' from_single_file; and smaller changes, in seconds.

    venv/bin/python -m benchmarks.swap

Two full-size Stable Diffusion 1.5 files of random weights (fp16, 2.1 GB each, made in a temporary folder), from the page cache, kept
in fp16 so that both load without converting. Pairs are measured in turn. Targets: at most 0.1; back to one that is in memory 10 ms,
another VAE 0.15 s, another LoRA 1 s on a CPU and 0.1 s on a GPU, the same LoRA 1 ms.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import save_file

from benchmarks.paired import time_in_turn
from webui.catalog.ldm_layout import unet_name, vae_name
from webui.engine.adaptation import Adaptation, NetworkUse
from webui.engine.device import Device
from webui.engine.families.layout import UNET, VAE
from webui.engine.families.sd1 import TEXT
from webui.engine.families.texts import TextShape
from webui.engine.families.unet import UNetShape
from webui.engine.families.vae import VaeShape
from webui.engine.loading import build_skeleton
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec
from webui.engine.tokenizer import build_tokenizer

PAIRS = 7
TIMES = 9
RANK = 16
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
        measure_small_changes(files, Path(folder))


def measure_small_changes(files: tuple[Path, Path], folder: Path) -> None:
    """With both checkpoints in memory, on the best device there is."""
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vaes = tuple(write_vae(folder / f"vae{number}.safetensors") for number in range(2))
    loras = tuple(write_lora(folder / f"lora{number}.safetensors") for number in range(2))
    manager = PipelineManager(Device(where, torch.float16, torch.float16), budget=2**40)
    for file in files:
        swap(manager, file)
    print(f"back to a checkpoint in memory: {seconds_of(lambda n: swap(manager, files[n % 2]))}")
    small = PipelineManager(manager.device, budget=files[0].stat().st_size)
    with small.lease(PipelineSpec(files[0])):  # so that only the VAEs take turns
        print(f"another VAE: {seconds_of(lambda n: lease_with_vae(small, files[0], vaes[n % 2]))}")
    manager.clear()
    drawn_in = torch.float16 if where.type == "cuda" else torch.float32  # which is what drawing is done in there
    manager = PipelineManager(Device(where, drawn_in, drawn_in), budget=2**40)
    with manager.lease(PipelineSpec(files[0])) as pipeline:

        def wear(number: int) -> None:
            lora = NetworkUse("lora", loras[number], 0.8, 0.8, None, number)
            for module in (*pipeline.text_encoders, pipeline.unet):
                pipeline.adapt(module, Adaptation((lora,)))
            if where.type == "cuda":
                torch.cuda.synchronize()

        print(f"another LoRA: {seconds_of(lambda n: wear(n % 2))}")
        print(f"the same LoRA: {seconds_of(lambda n: wear(0))}")


def seconds_of(work: Callable[[int], object]) -> str:
    """Of single runs, after two that do not count."""
    taken = []
    for number in range(2 + TIMES):
        started = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - started)
    return f"{median(taken[2:]):.4f} s ({min(taken[2:]):.4f} to {max(taken[2:]):.4f})"


def lease_with_vae(manager: PipelineManager, checkpoint: Path, vae: Path) -> None:
    """Join another VAE to the same checkpoint."""
    with manager.lease(PipelineSpec(checkpoint, vae)):
        pass


def write_vae(path: Path) -> Path:
    """A VAE alone in a file."""
    weights = build_skeleton(VAE_SHAPE.build).state_dict()
    save_file({vae_name(name, levels=4): torch.full(weight.shape, 0.01, dtype=torch.float16) for name, weight in weights.items()}, path)
    return path


def write_lora(path: Path) -> Path:
    """A LoRA in kohya's layout on every linear layer of the UNet's transformers and of the text encoder."""
    tensors = {}
    for prefix, shape in (("lora_unet_", UNET_SHAPE), ("lora_te_text_model_", TEXT_SHAPE)):
        for name, layer in build_skeleton(shape.build).named_modules():
            if isinstance(layer, torch.nn.Linear) and ("transformer_blocks" in name or "layers" in name):
                place = prefix + name.removeprefix("text_model.").replace(".", "_")
                tensors[f"{place}.lora_down.weight"] = torch.full((RANK, layer.in_features), 0.01, dtype=torch.float16)
                tensors[f"{place}.lora_up.weight"] = torch.full((layer.out_features, RANK), 0.01, dtype=torch.float16)
    save_file(tensors, path)
    return path


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
