"""Tensors from a safetensors file into a module: memory-mapped and assigned, never built at random and copied over."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.initialization import no_init_weights

from webui.core.errors import ModelError


class TensorFile:
    """A model file: its metadata, the names and shapes of its tensors, and the tensors themselves, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path.name} cannot be read as a safetensors file ({error}). Fetch it again.") from None
        self.metadata: Mapping[str, str] = self._file.metadata() or {}
        self.names: frozenset[str] = frozenset(self._file.keys())

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of one tensor.  Raises ModelError if the file has none of that name with so many dimensions."""
        self._check(name)
        shape = tuple(self._file.get_slice(name).get_shape())
        if len(shape) != dimensions:
            raise ModelError(f"{self.path.name}: {name!r} has shape {shape} where {dimensions} dimensions are needed.")
        return shape

    def dimensions(self, name: str) -> int:
        """How many dimensions one tensor has.  Raises ModelError if the file has none of that name."""
        self._check(name)
        return len(self._file.get_slice(name).get_shape())

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor, mapped from the file.  Raises ModelError if the file has none of that name."""
        self._check(name)
        return self._file.get_tensor(name)

    def count(self, template: str) -> int:
        """How many n from 0 on make `template.format(n)` the beginning of some tensor's name."""
        number = 0
        while any(name.startswith(template.format(number)) for name in self.names):
            number += 1
        return number

    def _check(self, name: str) -> None:
        if name not in self.names:
            raise ModelError(f"{self.path.name} lacks the tensor {name!r}, so it is damaged or of another model family.")


@dataclass(frozen=True)
class Cut:
    """A weight that is a part of a tensor in the file: the number-th of so many equal pieces of its rows, or its transpose."""

    name: str
    number: int = 0
    of: int = 1
    transposed: bool = False

    def out_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of this tensor; of rows that cannot be shared equally, all, whose shape then fits nowhere."""
        if self.transposed:
            return tensor.t().contiguous() if tensor.ndim == 2 else tensor
        rows, rest = divmod(len(tensor) if tensor.ndim else 0, self.of)
        return tensor if rest or not rows else tensor[self.number * rows : (self.number + 1) * rows]


def build_skeleton(build: Callable[[], nn.Module]) -> nn.Module:
    """A module without weights: nothing is allocated or initialised."""
    with torch.device("meta"), no_init_weights():
        return build().eval().requires_grad_(False)


def assign_weights(
    module: nn.Module, file: TensorFile, name_in_file: Callable[[str], str | Cut], *, dtype: torch.dtype, device: torch.device
) -> None:
    """Make a file's tensors the weights of a module. In the file's own dtype on the CPU they stay mapped; nothing is copied.

    name_in_file: of a weight's name in the module, its name in the file, or of which tensor there it is a part.
    Raises ModelError when one is missing or has another shape.
    """
    slots = [(slot, _fitting(file, name_in_file(slot.name), slot.weight)) for slot in _slots(module)]
    for slot, tensor in slots:
        slot.put(tensor.to(device=device, dtype=dtype))
    _materialise_buffers(module, device)


def strip_weights(module: nn.Module) -> None:
    """Let a module's weights go; what stays is a skeleton for the next file of the same architecture."""
    for slot in _slots(module):
        slot.put(torch.empty_like(slot.weight, device="meta"))


@dataclass(frozen=True)
class _Slot:
    """A place for one weight. Set directly: load_state_dict takes six times as long for the same."""

    name: str
    owner: nn.Module
    key: str
    weight: torch.Tensor

    def put(self, tensor: torch.Tensor) -> None:
        self.owner._parameters[self.key] = nn.Parameter(tensor, requires_grad=False)


def _slots(module: nn.Module) -> list[_Slot]:
    return [
        _Slot(f"{path}.{key}" if path else key, owner, key, weight)
        for path, owner in module.named_modules()
        for key, weight in owner._parameters.items()
        if weight is not None
    ]


def _fitting(file: TensorFile, source: str | Cut, place: torch.Tensor) -> torch.Tensor:
    name = source.name if isinstance(source, Cut) else source
    tensor = file.tensor(name)
    if isinstance(source, Cut):
        tensor = source.out_of(tensor)
    if tensor.ndim == 4 and place.ndim == 2:
        tensor = tensor[:, :, 0, 0]  # the original writes some linear layers as 1x1 convolutions
    if tensor.shape != place.shape:
        raise ModelError(f"{file.path.name}: {name!r} has shape {tuple(tensor.shape)} where {tuple(place.shape)} is needed.")
    return tensor


def _materialise_buffers(module: nn.Module, device: torch.device) -> None:
    """CLIP's position ids are no part of its state dict, so they stay on meta unless they are made here."""
    for owner in module.modules():
        if "position_ids" in owner._buffers:
            owner.position_ids = torch.arange(owner.position_ids.shape[-1], device=device)[None]


def file_version(path: Path) -> Hashable:
    """A file as it is now: one that is replaced under the same name is another.  Raises ModelError."""
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read ({error}). Put it back, or choose another model.") from None
    return str(path), status.st_size, status.st_mtime_ns
