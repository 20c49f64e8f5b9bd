"""The device that draws: which one, in what precision, how much memory it has, and what running out of it looks like."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import psutil
import torch

from webui.core.errors import StartupError
from webui.core.ports import MemoryUse
from webui.engine.warmup import EngineOptions


@dataclass(frozen=True)
class Device:
    """Where to compute and in what precision.  offload: keep only the component at work on the device."""

    torch: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    offload: bool = False
    one_at_a_time: bool = False


def choose_device(options: EngineOptions) -> Device:
    """The device the options name, or the best there is.  Raises StartupError for one that is not there."""
    chosen = _torch_device(options.device)
    half = options.precision == "half" or (options.precision == "auto" and chosen.type == "cuda")
    dtype = torch.float32 if not half else torch.bfloat16 if chosen.type == "cpu" else torch.float16
    vae_dtype = torch.float32 if options.vae_precision == "full" else dtype
    offload = options.memory in ("medvram", "lowvram") and chosen.type != "cpu"
    return Device(chosen, dtype, vae_dtype, offload=offload, one_at_a_time=options.memory == "lowvram")


def _torch_device(name: str) -> torch.device:
    if name != "auto":
        device = torch.device(name)
        there = torch.cuda.device_count()
        if device.type == "cuda" and (device.index or 0) >= there:
            raise StartupError(f"There is no device {name!r}: this machine shows {there} CUDA devices. Leave --device-id out.")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on an accelerator or on the processor."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and ("out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower())


def release_memory(device: torch.device) -> None:
    """Give unused blocks back, so that a smaller try can have them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_use(device: torch.device) -> MemoryUse:
    """Memory of the machine, this process and the device."""
    ram = psutil.virtual_memory()
    used = psutil.Process().memory_info().rss
    if device.type != "cuda":
        return MemoryUse(ram_free=ram.available, ram_used=used, ram_total=ram.total)
    free, total = torch.cuda.mem_get_info(device)
    return MemoryUse(
        ram_free=ram.available, ram_used=used, ram_total=ram.total, device_free=free, device_used=total - free, device_total=total
    )


def device_name(device: torch.device) -> str:
    """What the device is called by its maker, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
