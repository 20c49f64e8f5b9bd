"""A program of its own: writes what torch.save wrote as safetensors, and ends. `converted` runs it.

    python -m webui.engine.convert_weights SOURCE TARGET

Upscalers and face restorers are mostly kept as pickles. Even torch's weights-only reader is not trusted with such a file inside the
server: this process holds nothing, is given little time, and what it writes has no code in it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from webui.core.errors import ModelError
from webui.core.paths import PROGRAM
from webui.engine.adapters.legacy import read_torch_file, read_torch_file_before_zip

SECONDS = 600.0
HASH_DIGITS = 32
REFUSED = 3
# Under which of these a training program keeps the weights themselves; averaged ones are better and come first.
WRAPPERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net", "net_g", "generator")
_SAFETENSORS_BRACE = 8


def converted(path: Path, folder: Path) -> Path:
    """The file itself if it is safetensors, else its weights as safetensors, which are made once and kept in `folder`.

    What a file is, is told by its first bytes, whatever it is called.  Raises ModelError.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(_SAFETENSORS_BRACE + 1)
            if begins[_SAFETENSORS_BRACE:] == b"{":
                return path
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:HASH_DIGITS]
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}. Put it back, or choose another.") from None
    target = folder / f"{digest}.safetensors"
    if not target.is_file():
        _convert_apart(path, target)
    return target


def _convert_apart(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    command = [sys.executable, "-m", "webui.engine.convert_weights", str(path.absolute()), str(temporary.absolute())]
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMP", "TEMP") if name in os.environ}
    try:
        done = subprocess.run(
            command, cwd=PROGRAM, env={**kept, "CUDA_VISIBLE_DEVICES": ""}, timeout=SECONDS, capture_output=True, text=True, check=False
        )
        if done.returncode == REFUSED:
            raise ModelError(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise ModelError(f"{path.name} could not be converted to safetensors (the converter ended with {done.returncode}).")
        temporary.replace(target)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path.name} could not be converted to safetensors within {SECONDS:g} s.") from None
    finally:
        temporary.unlink(missing_ok=True)


def weights_in(content: Any, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a model, whatever dictionaries stand around them.  Raises ModelError when there are none."""
    for _ in range(len(WRAPPERS)):
        inner = next((content[key] for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if isinstance(content, dict) and len(content) == 1:
        (only,) = content.values()
        content = only if isinstance(only, dict) else content
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise ModelError(f"{name} holds no weights of a model.")
    return tensors


def convert(source: Path, target: Path) -> None:
    """Read with torch's weights-only reader, write as safetensors.  Raises ModelError."""
    with source.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    content = read_torch_file(source) if is_zip else read_torch_file_before_zip(source)
    # Copied: tensors of one file often share memory, which safetensors does not write.
    save_file({name: tensor.contiguous().clone() for name, tensor in weights_in(content, source.name).items()}, target)


def main(arguments: list[str]) -> int:
    """Exit code 3 with one sentence on stderr when the file is refused."""
    source, target = map(Path, arguments)
    try:
        convert(source, target)
    except ModelError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
