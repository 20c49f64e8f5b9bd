"""Whether a file of torch.save is what it should be, plain tensors and nothing else, told without loading it.

torch's weights-only reader is what reads it afterwards (engine/adapters/legacy.py). This looks before: at the zip, so that nothing
unpacks to more than the file holds, and at the names that the pickle asks for, so that a refusal can say which one it was.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

from webui.core.errors import ModelError

MAX_PICKLE = 2 * 1024 * 1024
MAX_DIRECTORY = 8 * 1024 * 1024
MAX_COMMENT = 65535

_END = b"PK\x05\x06"
_END_SIZE = 22
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


def check_torch_zip(file: BinaryIO) -> TorchZip:
    """Look through a file of torch.save; its position afterwards is anywhere.

    Raises ModelError, whose text goes on after the file's name; OSError.
    """
    size = file.seek(0, 2)
    _check_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(entries, size)
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl") and entry.filename.count("/") == 1]
            if len(pickles) != 1:
                raise ModelError("is a zip file, but not one that PyTorch has written")
            if pickles[0].file_size > MAX_PICKLE:
                raise ModelError(f"describes its tensors in {pickles[0].file_size} bytes; at most {MAX_PICKLE} are accepted")
            texts = _check_pickle(archive.read(pickles[0]))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"is a damaged zip file ({error}); download it again") from None
    return TorchZip(texts, sum("/data/" in entry.filename for entry in entries))


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
