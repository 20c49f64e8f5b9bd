"""Tensors from a model file into a module: memory-mapped and assigned, never built at random and copied over.

What torch.save wrote is mapped too: its pickle is read as data (catalog/torch_pickle.py), never unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.initialization import no_init_weights

from webui.catalog.diffusers_folder import Piece, describe_folder, size_and_time
from webui.catalog.identify import ZIP
from webui.catalog.ldm_layout import Cut
from webui.catalog.torch_pickle import StoredTensor
from webui.catalog.torch_zip import TorchModel, describe_torch_zip
from webui.core.errors import ModelError

_STORAGES: Mapping[str, str] = MappingProxyType({
    "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "DoubleStorage": "float64",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool",
})  # fmt: skip


class TensorFile:
    """A model file: its metadata, the names and shapes of its tensors, and the tensors themselves, read when asked for.

    What kind of file it is, is told by its first bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        self.metadata: Mapping[str, str] = self._file.metadata
        self.names: frozenset[str] = self._file.names

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all tensors by name."""
        return {name: tuple(self._file.shape(name)) for name in self.names}

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of one tensor.  Raises ModelError if the file has none of that name with so many dimensions."""
        self._check(name)
        shape = self._file.shape(name)
        if len(shape) != dimensions:
            raise ModelError(f"{self.path.name}: {name!r} has shape {shape} where {dimensions} dimensions are needed.")
        return shape

    def dimensions(self, name: str) -> int:
        """How many dimensions one tensor has.  Raises ModelError if the file has none of that name."""
        self._check(name)
        return len(self._file.shape(name))

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor, mapped from the file.  Raises ModelError if the file has none of that name."""
        self._check(name)
        return self._file.tensor(name)

    def release(self) -> None:
        """Let go of what is mapped, as far as no tensor holds it; what is asked for afterwards is mapped anew."""
        self._file.release()

    def count(self, template: str) -> int:
        """How many n from 0 on make `template.format(n)` the beginning of some tensor's name."""
        number = 0
        while any(name.startswith(template.format(number)) for name in self.names):
            number += 1
        return number

    def _check(self, name: str) -> None:
        if name not in self.names:
            raise ModelError(f"{self.path.name} lacks the tensor {name!r}, so it is damaged or of another model family.")


class KnownFiles:
    """Files that describe themselves once for as long as they do not change. Not to be used by two threads at once."""

    def __init__(self, kept: int = 16) -> None:
        self._kept = kept
        self._files: dict[Hashable, TensorFile] = {}

    def open(self, path: Path) -> TensorFile:
        """The file as it is now.  Raises ModelError."""
        version = file_version(path)
        file = self._files.pop(version, None) or TensorFile(path)
        self._files[version] = file  # the last one used is the last
        while len(self._files) > self._kept:
            del self._files[next(iter(self._files))]
        return file

    def release(self) -> None:
        """Hold none of the files open; what they said of themselves stays known."""
        for file in self._files.values():
            file.release()


class _Tensors(Protocol):
    """Named tensors in a file."""

    metadata: Mapping[str, str]
    names: frozenset[str]

    def shape(self, name: str) -> tuple[int, ...]: ...
    def tensor(self, name: str) -> torch.Tensor: ...
    def release(self) -> None: ...


class _Safetensors:
    """Of a safetensors file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = safe_open(path, framework="pt")
        self.metadata: Mapping[str, str] = self._file.metadata() or {}
        self.names = frozenset(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._opened().get_slice(name).get_shape())

    def tensor(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._opened().get_tensor(name)
        return tensor

    def release(self) -> None:
        self._file = None

    def _opened(self) -> Any:
        if self._file is None:
            try:
                self._file = safe_open(self._path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise _unreadable(self._path, error) from None
        return self._file


class _TorchZip:
    """Of a file that torch.save wrote. The file is mapped when the first tensor is asked for."""

    metadata: Mapping[str, str] = MappingProxyType({})

    def __init__(self, path: Path, described: TorchModel) -> None:
        self._path = path
        self._described = described
        self._bytes: torch.UntypedStorage | None = None
        self.names = frozenset(described.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._described.tensors[name].shape

    def tensor(self, name: str) -> torch.Tensor:
        one = self._described.tensors[name]
        dtype = _dtype_of(one)
        begin, size = self._described.places[one.storage.key]
        if self._bytes is None:
            self._bytes = torch.UntypedStorage.from_file(str(self._path), shared=False, nbytes=self._path.stat().st_size)
        if one.storage.count * dtype.itemsize > size or begin + size > len(self._bytes):
            raise ModelError(f"{self._path.name}: {name!r} is cut short. Download it again.")
        if begin % dtype.itemsize:  # not as PyTorch writes; a tensor's numbers begin at a multiple of their size
            numbers = torch.frombuffer(bytearray(self._bytes[begin : begin + size]), dtype=dtype)
            return numbers.as_strided(one.shape, one.stride, one.offset)
        empty = torch.empty(0, dtype=dtype)
        return empty.set_(self._bytes, begin // dtype.itemsize + one.offset, one.shape, one.stride)  # type: ignore[call-overload]

    def release(self) -> None:
        self._bytes = None


class _DiffusersFolder:
    """Of a folder in diffusers' layout, under their original names. Its files are opened when the first tensor is asked for."""

    def __init__(self, path: Path) -> None:
        self._folder = describe_folder(path)
        self._opened: dict[Path, _Tensors] = {}
        self.metadata: Mapping[str, str] = self._folder.metadata
        self.names = frozenset(self._folder.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._folder.shape(name)

    def tensor(self, name: str) -> torch.Tensor:
        pieces = [self._piece(piece) for piece in self._folder.tensors[name]]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def release(self) -> None:
        self._opened.clear()

    def _piece(self, piece: Piece) -> torch.Tensor:
        if piece.file not in self._opened:
            self._opened[piece.file] = _open(piece.file)
        tensor = self._opened[piece.file].tensor(piece.name)
        return tensor.t() if piece.transposed else tensor.reshape(piece.shape)


def _open(path: Path) -> _Tensors:
    try:
        if path.is_dir():
            return _DiffusersFolder(path)
        with path.open("rb") as file:
            if file.read(len(ZIP)) == ZIP:
                return _TorchZip(path, describe_torch_zip(file))
        return _Safetensors(path)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}.") from None
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path.name} cannot be read as a safetensors file ({error}). Fetch it again.")


def _dtype_of(one: StoredTensor) -> torch.dtype:
    name = one.dtype or _STORAGES.get(one.storage.kind, "")
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ModelError(
            f"A tensor is stored as {one.dtype or one.storage.kind}, which is not known here. Convert the file to .safetensors."
        )
    return dtype


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
        tensor = _cut_out(tensor, source)
    if tensor.ndim == 4 and place.ndim == 2:
        tensor = tensor[:, :, 0, 0]  # the original writes some linear layers as 1x1 convolutions
    if tensor.shape != place.shape:
        raise ModelError(f"{file.path.name}: {name!r} has shape {tuple(tensor.shape)} where {tuple(place.shape)} is needed.")
    return tensor


def _cut_out(tensor: torch.Tensor, cut: Cut) -> torch.Tensor:
    """That part of a tensor; of rows that cannot be shared equally, all, whose shape then fits nowhere."""
    if cut.transposed:
        return tensor.t().contiguous() if tensor.ndim == 2 else tensor
    rows, rest = divmod(len(tensor) if tensor.ndim else 0, cut.of)
    return tensor if rest or not rows else tensor[cut.number * rows : (cut.number + 1) * rows]


def _materialise_buffers(module: nn.Module, device: torch.device) -> None:
    """CLIP's position ids are no part of its state dict, so they stay on meta unless they are made here."""
    for owner in module.modules():
        if "position_ids" in owner._buffers:
            owner.position_ids = torch.arange(owner.position_ids.shape[-1], device=device)[None]


def file_version(path: Path) -> Hashable:
    """A file as it is now: one that is replaced under the same name is another.  Raises ModelError."""
    try:
        size, time = size_and_time(path)
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read ({error}). Put it back, or choose another model.") from None
    return str(path), size, time
