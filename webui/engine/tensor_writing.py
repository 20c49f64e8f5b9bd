"""Writing a safetensors file tensor by tensor, so that no more than one is in memory.

Source: the format as its README describes it: 8 bytes of length, a JSON header, and the numbers without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO

import torch

from webui.core.errors import ModelError

_ALIGNMENT = 8
_DTYPES: Mapping[torch.dtype, str] = MappingProxyType({
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
})  # fmt: skip


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor that is to be written.  make: gives it, of this dtype and shape; called once, when its turn has come."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], torch.Tensor]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def in_file_order(tensors: Sequence[PlannedTensor]) -> list[PlannedTensor]:
    """Larger numbers first, so that each tensor begins at a multiple of its numbers' size and can be mapped."""
    return sorted(tensors, key=lambda one: (-one.dtype.itemsize, one.name))


def header_of(tensors: Sequence[PlannedTensor], metadata: Mapping[str, str]) -> bytes:
    """The file's beginning, for tensors in this order.  Raises ModelError for numbers that the format does not know."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for one in tensors:
        if one.dtype not in _DTYPES:
            raise ModelError(f"{one.name!r} is stored as {one.dtype}, which a safetensors file cannot hold. Choose another precision.")
        header[one.name] = {"dtype": _DTYPES[one.dtype], "shape": list(one.shape), "data_offsets": [position, position + one.size]}
        position += one.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def write_tensors(file: BinaryIO, tensors: Sequence[PlannedTensor], metadata: Mapping[str, str]) -> Iterator[PlannedTensor]:
    """Write all into an open file; after each one, that one.  Raises ModelError, OSError."""
    file.write(header_of(tensors, metadata))
    for one in tensors:
        tensor = one.make().contiguous()
        if tensor.dtype != one.dtype or tuple(tensor.shape) != one.shape:
            raise ModelError(f"{one.name!r} has changed while it was read. Try again when nothing writes to the models.")
        if tensor.numel():
            file.write(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
        del tensor
        yield one
