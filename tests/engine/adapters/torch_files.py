"""Files as torch.save writes them, and as somebody with bad intentions might."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch


def write_torch(path: Path, content: Any) -> Path:
    """What torch.save makes of it."""
    torch.save(content, path)
    return path


def with_pickle(path: Path, pickled: bytes, *, template: Any = None) -> Path:
    """A file of torch.save whose pickle is another."""
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(2)} if template is None else template, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            target.writestr(entry.filename, pickled if entry.filename.endswith("/data.pkl") else source.read(entry))
    return path


class Calls:
    """Unpickles by calling something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


def hostile(path: Path, function: Any, *arguments: Any) -> Path:
    """A file that calls a function when it is unpickled."""
    return with_pickle(path, pickle.dumps({"x": Calls(function, *arguments)}, protocol=2))
