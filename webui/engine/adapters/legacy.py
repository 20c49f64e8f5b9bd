"""Reading what torch.save wrote, with torch's weights-only reader, after a look at what the file asks for."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from torch import nn

from webui.catalog.torch_zip import check_torch_zip
from webui.core.errors import ModelError

MAX_DEPTH = 8

# Everything that torch's reader raises on hostile bytes; they have no common base.
_UNREADABLE = (
    pickle.UnpicklingError, OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error,
)  # fmt: skip


def read_torch_file(path: Path) -> Any:
    """The dictionaries, lists, numbers, texts and plain tensors that a file of torch.save holds. Parameters become tensors.

    Raises ModelError with the reason for a file that cannot be read, is older than PyTorch 1.6, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                raise ModelError("is no file that PyTorch 1.6 or later has written; convert it to .safetensors")
            size = file.seek(0, 2)
            check_torch_zip(file)
            file.seek(0)
            with torch.inference_mode(False), torch.serialization.safe_globals([nn.ParameterDict]):
                content = torch.load(file, map_location="cpu", weights_only=True)
            return _Plain(size).copy(content)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}.") from None
    except _UNREADABLE as error:
        raise ModelError(f"{path.name} cannot be read: {_first_line(error)}. Download it again.") from None


def read_torch_file_before_zip(path: Path) -> Any:
    """As `read_torch_file`, for the format that PyTorch wrote before 1.6, which many upscalers still have.

    It cannot be looked through beforehand, so it is read only in a process that can be spared (engine/convert_weights.py).
    """
    try:
        with torch.inference_mode(False):
            content = torch.load(path, map_location="cpu", weights_only=True)
        return _Plain(path.stat().st_size).copy(content)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}.") from None
    except _UNREADABLE as error:
        raise ModelError(f"{path.name} cannot be read: {_first_line(error)}. Download it again, as .safetensors if there is one.") from None


class _Plain:
    """Copies what was read into exact built-in types, each part once however often it is referred to.

    size: the file's, which no tensor can exceed.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._done: dict[int, Any] = {}

    def copy(self, value: Any, depth: int = 0) -> Any:
        """The same in built-in types.  Raises ModelError for anything that is not plain."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = self._copy(value, depth)
        return self._done[id(value)]

    def _copy(self, value: Any, depth: int) -> Any:
        if isinstance(value, torch.Tensor):
            if value.layout != torch.strided or value.numel() * value.element_size() > self._size:
                raise ModelError(f"has a tensor of shape {tuple(value.shape)}, which is larger than the file")
            return value.detach()
        if depth < MAX_DEPTH and isinstance(value, nn.ParameterDict):
            return self.copy(vars(value).get("_parameters"), depth + 1)
        if depth < MAX_DEPTH and isinstance(value, dict):
            return {key: self.copy(one, depth + 1) for key, one in value.items()}
        if depth < MAX_DEPTH and isinstance(value, list | tuple):
            return [self.copy(one, depth + 1) for one in value]
        raise ModelError(f"holds a {type(value).__name__} where plain tensors are expected; convert it to .safetensors")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
