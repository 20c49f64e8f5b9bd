"""Running git and pip with an end to their time, their output and their disk space."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from webui.core.errors import Closing, InvalidRequest, WebuiError

MAX_OUTPUT = 32 * 1024 * 1024
SECONDS_BETWEEN_LOOKS = 0.05
LOOKS_BETWEEN_SIZES = 20


class CommandFailed(WebuiError):
    """A program ended with an error.  output: the end of what it wrote."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True)
class Limits:
    """What a program may take.  seconds: of time.   folder, size: bytes that it may have put into a folder.   stop: ends it at once."""

    seconds: float
    stop: threading.Event
    folder: Path
    size: int = 2 * 10**9


def run(command: Sequence[str], limits: Limits, *, env: Mapping[str, str]) -> bytes:
    """Run a program in `limits.folder` and give what it wrote to its standard output.

    Raises CommandFailed, InvalidRequest when it takes too much, Closing when stopped.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            # A session of its own, because git has children that do the fetching.
            process = subprocess.Popen(
                list(command), cwd=limits.folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise CommandFailed(f"{command[0]} cannot be run: {error.strerror}.", "") from None
        try:
            _watch(process, limits, (output.fileno(), errors.fileno()))
        finally:
            _end(process)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            words = (errors.read() + output.read()).decode("utf-8", "replace")[-8000:]
            raise CommandFailed(f"{Path(command[0]).name} ended with the error code {process.returncode}.", words)
        return output.read()


def size_of(folder: Path) -> int:
    """Bytes in a folder that may be changing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(Path(place, name)).st_size
    return total


def _watch(process: subprocess.Popen[bytes], limits: Limits, outputs: Sequence[int]) -> None:
    ends = time.monotonic() + limits.seconds
    looks = 0
    while True:
        if limits.stop.is_set():
            raise Closing("The program is ending; nothing was installed.")
        if time.monotonic() > ends:
            raise InvalidRequest(f"Fetching took longer than {limits.seconds:.0f} seconds and was ended. Try again, or from another place.")
        if any(os.fstat(output).st_size > MAX_OUTPUT for output in outputs):
            raise InvalidRequest("What is fetched has more files than an extension may have.")
        if looks % LOOKS_BETWEEN_SIZES == 0 and size_of(limits.folder) > limits.size:
            raise InvalidRequest(f"What is fetched is larger than {limits.size / 1e9:.1f} GB, and was not fetched to its end.")
        try:
            process.wait(SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            looks += 1
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let no part of it outlive the block it was for."""
    if process.poll() is None:
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.wait()
