"""Which device draws, and what running out of its memory looks like."""

from __future__ import annotations

import psutil
import pytest
import torch

from webui.core.errors import StartupError
from webui.engine.device import choose_device, is_out_of_memory, memory_use
from webui.engine.warmup import EngineOptions


def test_on_the_processor_the_default_is_full_precision() -> None:
    device = choose_device(EngineOptions(device="cpu"))
    assert (device.torch.type, device.dtype, device.vae_dtype) == ("cpu", torch.float32, torch.float32)
    assert not device.offload


def test_half_precision_can_be_asked_for_and_the_vae_kept_out_of_it() -> None:
    half = choose_device(EngineOptions(device="cpu", precision="half"))
    assert (half.dtype, half.vae_dtype) == (torch.bfloat16, torch.bfloat16)
    assert choose_device(EngineOptions(device="cpu", precision="half", vae_precision="full")).vae_dtype == torch.float32


def test_saving_memory_on_the_processor_offloads_nothing() -> None:
    low = choose_device(EngineOptions(device="cpu", memory="lowvram"))
    assert (low.offload, low.one_at_a_time) == (False, True)


def test_a_device_that_is_not_there_is_told_at_start() -> None:
    with pytest.raises(StartupError, match="There is no device 'cuda:99'"):
        choose_device(EngineOptions(device="cuda:99"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_a_lack_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def test_torchs_own_refusal_of_an_impossible_tensor_is_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)


def test_without_an_accelerator_only_the_machines_memory_is_told() -> None:
    use = memory_use(torch.device("cpu"))
    assert use.device_total is None
    assert use.ram_total == psutil.virtual_memory().total
    assert 0 < use.ram_used < use.ram_total
