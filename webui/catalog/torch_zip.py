"""What a file of torch.save holds, told without unpickling it.

The zip is looked at first, so that nothing unpacks to more than the file holds. Of a model (`describe_torch_zip`) the pickle is read as
data, and each tensor's place in the file is told. Of an embedding or hypernetwork (`check_torch_zip`) only the names that its pickle asks
for are looked at, so that a refusal can say which one it was; torch's weights-only reader reads it afterwards (engine/adapters/legacy.py).
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from webui.catalog.torch_pickle import StoredTensor, read_pickle, tensors_in
from webui.core.errors import ModelError

MAX_PICKLE = 2 * 1024 * 1024
# Of a model, which has far more tensors.
MAX_MODEL_PICKLE = 16 * 1024 * 1024
MAX_DIRECTORY = 8 * 1024 * 1024
MAX_COMMENT = 65535

_END = b"PK\x05\x06"
_END_SIZE = 22
_ENTRY = b"PK\x03\x04"
_ENTRY_SIZE = 30
_ALLOWED = frozenset({
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor", "torch._utils _rebuild_parameter", "collections OrderedDict",
    "torch.nn.modules.container ParameterDict", "torch Size", "__builtin__ set", "builtins set",
    "torch FloatStorage", "torch HalfStorage", "torch BFloat16Storage", "torch DoubleStorage", "torch LongStorage", "torch IntStorage",
    "torch ShortStorage", "torch CharStorage", "torch ByteStorage", "torch BoolStorage",
})  # fmt: skip
# Ways of naming something that torch.save does not use.
_OTHER_WAYS = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX", "PERSID"})


@dataclass(frozen=True)
class TorchZip:
    """What can be told from outside.  texts: all that are in the pickle, the names of tensors among them.   storages: how many."""

    texts: frozenset[str]
    storages: int


@dataclass(frozen=True)
class TorchModel:
    """tensors: by name.   places: of each storage they need, where its bytes begin in the file, and how many there are."""

    tensors: Mapping[str, StoredTensor]
    places: Mapping[str, tuple[int, int]]


def check_torch_zip(file: BinaryIO) -> TorchZip:
    """Look through a file of torch.save; its position afterwards is anywhere.

    Raises ModelError, whose text goes on after the file's name; OSError.
    """
    with _opened(file) as archive:
        texts = _check_pickle(_pickle_in(archive, MAX_PICKLE)[1])
        return TorchZip(texts, sum("/data/" in entry.filename for entry in archive.infolist()))


def describe_torch_zip(file: BinaryIO) -> TorchModel:
    """What a model that torch.save wrote holds, and where; the file's position afterwards is anywhere.

    Raises ModelError, whose text goes on after the file's name; OSError.
    """
    with _opened(file) as archive:
        folder, content = _pickle_in(archive, MAX_MODEL_PICKLE)
        if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
            raise ModelError("was written on a machine that orders its bytes the other way; convert it to .safetensors")
        tensors = tensors_in(read_pickle(content))
        wanted = {one.storage.key for one in tensors.values()}
        entries = {entry.filename.removeprefix(f"{folder}/data/"): entry for entry in archive.infolist()}
        if missing := wanted - entries.keys():
            raise ModelError(f"lacks the numbers of some of its tensors ({min(missing)[:40]!r}); download it again")
        return TorchModel(tensors, {key: (_data_of(file, entries[key]), entries[key].file_size) for key in wanted})


@contextmanager
def _opened(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    size = file.seek(0, 2)
    _check_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            _check_entries(archive.infolist(), size)
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"is a damaged zip file ({error}); download it again") from None


def _pickle_in(archive: zipfile.ZipFile, limit: int) -> tuple[str, bytes]:
    """The folder that holds all, and the pickle in it."""
    pickles = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl") and entry.filename.count("/") == 1]
    if len(pickles) != 1:
        raise ModelError("is a zip file, but not one that PyTorch has written")
    if pickles[0].file_size > limit:
        raise ModelError(f"describes its tensors in {pickles[0].file_size} bytes; at most {limit} are accepted")
    return pickles[0].filename.partition("/")[0], archive.read(pickles[0])


def _data_of(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where an entry's bytes begin: behind its own header, whose name and padding may be of another length than the directory says."""
    file.seek(entry.header_offset)
    header = file.read(_ENTRY_SIZE)
    if len(header) < _ENTRY_SIZE or header[:4] != _ENTRY:
        raise zipfile.BadZipFile("an entry is not where the directory says")
    name, padding = struct.unpack_from("<HH", header, 26)
    return entry.header_offset + _ENTRY_SIZE + int(name) + int(padding)


def _check_directory(file: BinaryIO, size: int) -> None:
    """Before zipfile reads the whole directory into memory, look how large it says it is."""
    file.seek(max(0, size - _END_SIZE - MAX_COMMENT))
    tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_SIZE:
        raise ModelError("is cut short: the end of its zip file is missing; download it again")
    if struct.unpack_from("<I", tail, place + 12)[0] > MAX_DIRECTORY:
        raise ModelError("lists far more tensors than such a file has")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelError("is compressed, which PyTorch never does; convert it to .safetensors")
    if sum(entry.file_size for entry in entries) > size:
        raise ModelError("is a damaged zip file: its parts overlap")


def _check_pickle(content: bytes) -> frozenset[str]:
    """Every name that the pickle asks for is one that plain tensors need.  Returns its texts."""
    texts = set()
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "BINUNICODE":
            texts.add(str(argument))
        if operation.name in _OTHER_WAYS:
            raise ModelError(f"is a pickle that plain tensors would not need ({operation.name}); convert it to .safetensors")
        if operation.name == "GLOBAL" and argument not in _ALLOWED:
            name = str(argument).replace(" ", ".")[:80]
            raise ModelError(f"asks for {name!r}, which plain tensors never need, and which could run code; convert it to .safetensors")
    return frozenset(texts)
