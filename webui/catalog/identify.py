"""What a model file is, told from its description alone: a safetensors file's header, or the pickle of torch.save read as data.

Nothing is mapped, unpickled or run.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from webui.catalog.families import family_of
from webui.catalog.torch_zip import describe_torch_zip
from webui.core.errors import ModelError

MAX_HEADER = 32 * 1024 * 1024
MAX_CONTAINERS = 400_000
MAX_VALUES = 2_000_000
MAX_DIMENSIONS = 8
MAX_METADATA_VALUE = 64 * 1024

PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
PICKLE = "is a pickle file older than PyTorch 1.6; convert it to .safetensors"
NOT_REGULAR = "is not a regular file"
# How a file of torch.save begins since PyTorch 1.6.
ZIP = b"PK\x03\x04"

_BITS: Mapping[str, int] = MappingProxyType({
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
})  # fmt: skip

# How files begin that are often found under a model's name, and what they are. All in lower case.
_IMPOSTORS = (
    (b"pk\x05\x06", "is an empty zip file; download it again"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the model itself; fetch it with: git lfs pull"),
    (b"<!doctype", "is a web page, not a model; download it again"),
    (b"<html", "is a web page, not a model; download it again"),
    (b"gguf", "is a GGUF file; this version reads .safetensors"),
)


@dataclass(frozen=True)
class Identity:
    """What a file is.

    family: see families.py.   metadata: the texts in its header, without very long ones.   tensors: how many it has.
    """

    family: str
    metadata: Mapping[str, str] = field(hash=False)
    tensors: int


def identify(path: Path) -> Identity:
    """Read and check what a file says of its tensors.  Raises ModelError, whose text goes on after the file's name."""
    shapes, metadata = read_shapes(path)
    kept = {key: value for key, value in metadata.items() if len(value) <= MAX_METADATA_VALUE}
    return Identity(family_of(shapes), kept, len(shapes))


def read_shapes(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The shapes of a file's tensors by name, once all is checked, and the texts in its header.  Raises as identify.

    The file is opened once and everything is asked of that handle, so it cannot be exchanged between check and reading.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(NOT_REGULAR)
            if file.read(len(ZIP)) == ZIP:
                return {name: one.shape for name, one in describe_torch_zip(file).tensors.items()}, {}
            file.seek(0)
            header, data_size = _read_header(file, status.st_size, path.suffix.lower())
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged("its metadata is not text by name")
    return _check_tensors(header, data_size), metadata


def read_metadata(path: Path) -> dict[str, str]:
    """All texts in a safetensors file's header, long ones too; none for a file of another kind, or a damaged one."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            header, _ = _read_header(file, os.fstat(file.fileno()).st_size, path.suffix.lower())
    except (OSError, ModelError):
        return {}
    metadata = header.get("__metadata__", {})
    return {key: value for key, value in metadata.items() if isinstance(value, str)} if isinstance(metadata, dict) else {}


def _open_without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for a writer for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_header(file: BinaryIO, size: int, suffix: str) -> tuple[dict[str, Any], int]:
    """The header's JSON object, and the size of the data after it."""
    start = file.read(64)
    length = struct.unpack_from("<Q", start)[0] if len(start) >= 9 else 0
    # The eighth byte decides before the pickle marks do: 80 02, a pickle's beginning, is also a header length.
    if start[8:9] != b"{":
        raise ModelError(_what_it_is_instead(start, suffix))
    if suffix in PICKLE_SUFFIXES:
        raise ModelError(f"holds safetensors data under the suffix {suffix}; rename it to .safetensors")
    if length > MAX_HEADER:
        raise _damaged(f"it claims {length} bytes; at most {MAX_HEADER} are accepted")
    if length > size - 8:
        raise ModelError(f"is cut short: its header needs {length} bytes, the file has {size}; download it again")
    file.seek(8)
    return _parse(file.read(length)), size - 8 - length


def _what_it_is_instead(start: bytes, suffix: str) -> str:
    if not start:
        return "is empty; download it again"
    for beginning, reason in _IMPOSTORS:
        if start.lower().startswith(beginning):
            return reason
    if suffix in PICKLE_SUFFIXES or (start[0] == 0x80 and start[1:2] <= b"\x05"):
        return PICKLE
    return "is not a safetensors file"


def _parse(text: bytes) -> dict[str, Any]:
    # Counting first bounds the memory that parsing can take, whatever the JSON is.
    if text.count(b"{") + text.count(b"[") > MAX_CONTAINERS or text.count(b",") > MAX_VALUES:
        raise _damaged("it lists far more tensors than a model has")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise _damaged("it is not valid JSON") from None
    if not isinstance(header, dict):
        raise _damaged("it is not a JSON object")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("duplicate key")
    return values


def _check_tensors(header: Mapping[str, Any], data_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes by name, once every tensor lies in the file, right after the one before it, in the size that it needs."""
    shapes: dict[str, tuple[int, ...]] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        shapes[name], begin, end = _check_tensor(name, entry)
        spans.append((begin, end, name))
    position = 0
    for begin, end, name in sorted(spans):
        if end > data_size:
            raise ModelError(f"is cut short: {_shown(name)} ends at byte {end} of {data_size}; download it again")
        if begin != position:
            raise _damaged(f"{_shown(name)} {'overlaps another tensor' if begin < position else 'follows a gap'}")
        position = end
    if position != data_size:
        raise _damaged(f"it describes {position} bytes of data, but {data_size} follow")
    return shapes


def _check_tensor(name: str, entry: Any) -> tuple[tuple[int, ...], int, int]:
    """Shape, begin and end of one entry."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(f"{_shown(name)} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise _damaged(f"{_shown(name)} has the unknown dtype {_shown(dtype)}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise _damaged(f"{_shown(name)} has the shape {_shown(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(f"{_shown(name)} has the offsets {_shown(offsets)}")
    if math.prod(shape) * bits != (offsets[1] - offsets[0]) * 8:
        raise _damaged(f"{_shown(name)} has {offsets[1] - offsets[0]} bytes, which does not fit {dtype} {_shown(shape)}")
    return tuple(shape), offsets[0], offsets[1]


def _are_sizes(value: Any) -> bool:
    # type() and not isinstance(): JSON's true is an int in Python.
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)


def _damaged(what: str) -> ModelError:
    return ModelError(f"has a damaged header: {what}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
