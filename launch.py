"""Install what is missing, then start: `python launch.py [flags]`.  Standard library only; `python launch.py --help` lists the flags.

The first start makes venv/ beside this file and installs the exact versions of requirements.txt into it. Later starts find
the stamp of a complete installation there, install nothing and touch no network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from webui.flags import parse_flags

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
OLDEST, NEWEST = (3, 11), (3, 13)
GIGABYTE = 10**9
NO_NETWORK_SIGNS = (
    "NewConnectionError", "ConnectTimeout", "ProxyError", "Failed to establish a new connection", "name resolution", "dns error",
    "getaddrinfo failed", "error sending request", "Connection refused", "Network is unreachable", "timed out", "Connection broken",
)  # fmt: skip


class CannotStart(Exception):
    """The program cannot be installed or started; the message is one sentence for the terminal."""


@dataclass(frozen=True)
class Stamp:
    """What a complete installation was made from. Equal to the one on disk: nothing to install."""

    requirements: str
    torch_index: str
    python: str


def main(argv: Sequence[str]) -> int:
    """Prepare, then run the program; returns its exit code."""
    try:
        check_python(sys.version_info[:2])
        flags = parse_flags(argv)
        if not flags.no_venv:
            enter_venv(Path(__file__), argv, may_make=not flags.skip_install)
        if not flags.skip_install:
            install(REQUIREMENTS)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run it again to go on.", file=sys.stderr)
        return 130
    # Not at the top of the file: what this imports is there only now.
    from webui import cli

    return cli.main(argv)


def check_python(version: tuple[int, ...]) -> None:
    """Raise CannotStart when the packages do not exist for this Python."""
    if OLDEST <= version <= NEWEST:
        return
    found, oldest, newest = (".".join(map(str, each)) for each in (version, OLDEST, NEWEST))
    where = f" (in {sys.prefix}; delete that folder to have it made anew)" if inside_venv() else ""
    raise CannotStart(f"This is Python {found}{where}; Python {oldest} to {newest} is needed: run it with one of those.")


def inside_venv() -> bool:
    """Whether this interpreter belongs to a virtual environment."""
    return sys.prefix != sys.base_prefix


def enter_venv(script: Path, argv: Sequence[str], *, may_make: bool = True) -> None:
    """Return at once inside a virtual environment; else make venv/ if need be and run the script anew inside it."""
    if inside_venv():
        return
    folder = HERE / "venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or not (_stamp_file(folder, REQUIREMENTS).exists() or _is_whole(python)):
        if not may_make:
            raise CannotStart(f"There is no virtual environment in {folder}; leave --skip-install out, or add --no-venv.")
        make_venv(folder)
    _run_instead([str(python), str(script), *argv])


def make_venv(folder: Path) -> None:
    """Make a fresh virtual environment; what a broken one left there is deleted."""
    _check_disk(folder)
    with_pip = shutil.which("uv") is None
    if with_pip and importlib.util.find_spec("ensurepip") is None:
        raise CannotStart("This Python has no ensurepip, so it cannot make venv/; on Debian and Ubuntu: apt install python3-venv")
    print(f"Making {folder}", flush=True)
    try:
        venv.EnvBuilder(with_pip=with_pip, clear=True).create(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotStart(f"{folder} cannot be made: {error}") from None


def install(requirements: Path) -> None:
    """Install exact versions into the running interpreter's environment, unless its stamp says that they are there.

    The stamp is written last: after a failure or interruption the next call goes on where this one ended.
    """
    torch_index = os.environ.get("TORCH_INDEX_URL", "") if requirements == REQUIREMENTS else ""
    wanted = Stamp(hashlib.sha256(requirements.read_bytes()).hexdigest(), torch_index, ".".join(map(str, sys.version_info[:2])))
    environment = Path(sys.prefix if inside_venv() else sysconfig.get_path("purelib"))
    stamp_file = _stamp_file(environment, requirements)
    found = _read_stamp(stamp_file)
    if found == wanted:
        return
    if not os.access(environment, os.W_OK):
        raise CannotStart(f"{environment} cannot be written to; leave --no-venv out, or add --skip-install when all is installed.")
    if requirements == REQUIREMENTS:
        _check_disk(environment)
    if inside_venv():
        _forget_half_installed()
    pins = _read_pins(requirements)
    print(f"Installing the {len(pins)} packages of {requirements.name} into {environment}", flush=True)
    if torch_index != (found.torch_index if found else ""):
        # pip and uv would call another build of the same version "already installed".
        source = ["--default-index" if shutil.which("uv") else "--index-url", torch_index] if torch_index else []
        torch_pins = [pin for pin in pins if pin.startswith(("torch==", "torchvision=="))]
        _run_installer([*source, "--no-deps", "--force-reinstall", *torch_pins], packages=len(torch_pins))
    # A ROCm build depends on packages that only its own index has.
    extra = ["--extra-index-url", torch_index] if torch_index else []
    _run_installer([*extra, "-r", str(requirements)], packages=len(pins))
    _write_stamp(stamp_file, wanted)


def _read_pins(requirements: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def _stamp_file(environment: Path, requirements: Path) -> Path:
    name = requirements.resolve().relative_to(HERE).with_suffix("").as_posix().replace("/", "-")
    return environment / f"webui-{name}.json"


def _read_stamp(file: Path) -> Stamp | None:
    try:
        return Stamp(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_stamp(file: Path, stamp: Stamp) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(stamp)), encoding="utf-8")
    temporary.replace(file)


def _is_whole(python: Path) -> bool:
    """Whether a venv without a stamp can be installed into; one whose making was interrupted has no pip."""
    installer = "pass" if shutil.which("uv") else "import pip"
    return subprocess.run([str(python), "-c", installer], capture_output=True, check=False).returncode == 0


def _check_disk(folder: Path) -> None:
    """Raise CannotStart when the rest of the installation does not fit.  folder: may not exist yet."""
    index = os.environ.get("TORCH_INDEX_URL", "")
    small_torch = "/cpu" in index or (not index and not sys.platform.startswith("linux"))
    used = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    needed = (3 if small_torch else 8) * GIGABYTE - used
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        rule = f"{place} has {free / GIGABYTE:.1f} GB of free disk space; installing needs {needed / GIGABYTE:.1f} GB"
        raise CannotStart(f"{rule}: free some, or move this program to a larger disk.")


def _run_installer(arguments: Sequence[str], *, packages: int) -> None:
    """Run uv or pip, showing how far it is.  Raises CannotStart with its reason in one sentence."""
    tool = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if uv := shutil.which("uv"):
        # By default uv takes a package from the first index that has it at all, so an extra index would hide the main one's versions.
        tool = [uv, "pip", "install", "--python", sys.executable, "--index-strategy", "unsafe-best-match"]
    process = subprocess.Popen([*tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines: list[str] = []
    try:
        with _shown_progress(lines, packages):
            for line in process.stdout or ():
                lines.append(line.strip())  # noqa: PERF401 - the reporter reads it as it grows
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        raise CannotStart(_explain("\n".join(lines), code))


@contextmanager
def _shown_progress(lines: Sequence[str], packages: int) -> Iterator[None]:
    """Say every second on a terminal, else every ten, how far the installer is.  lines: its output so far, still growing."""
    began, ended = time.monotonic(), threading.Event()
    terminal = sys.stdout.isatty()
    before = _installed()

    def show(text: str) -> None:
        text = f"[{time.monotonic() - began:5.0f} s] {text}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:<{width}}" if terminal else text, end="" if terminal else "\n", flush=True)

    def keep_showing() -> None:
        while not ended.wait(1 if terminal else 10):
            show(_describe_progress(lines, packages, _installed() - before))

    reporter = threading.Thread(target=keep_showing, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()
        show(f"{max(0, _installed() - before)} packages added")
        if terminal:
            print(flush=True)


def _forget_half_installed() -> None:
    """Make the installer see packages whose copying was cut short as missing; RECORD is what it writes last."""
    for folder in Path(sysconfig.get_path("purelib")).glob("*.dist-info"):
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)


def _installed() -> int:
    return sum(1 for _ in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def _describe_progress(lines: Sequence[str], packages: int, installed: int) -> str:
    """One line on what pip or uv is at, from its output."""
    listed = [line for line in lines if line.startswith("Installing collected packages:")]
    if listed or installed > 0:
        total = listed[-1].count(",") + 1 if listed else packages
        return f"{installed} of {max(total, installed)} packages installed"
    found = sum(line.startswith(("Collecting ", "Requirement already satisfied")) for line in lines)
    latest = next((line for line in reversed(lines) if line.startswith(("Collecting", "Downloading", "Using cached", "Downloaded"))), "")
    return f"{min(found, packages)} of {packages} packages found  {latest}"


def _explain(output: str, code: int) -> str:
    if any(sign in output for sign in NO_NETWORK_SIGNS):
        return "The package index cannot be reached; installing needs the network once: check the connection and run this again."
    if "No space left on device" in output:
        return "The disk filled up while installing; free some space and run this again."
    if "externally-managed-environment" in output or "externally managed" in output:
        return "This Python belongs to the operating system, which forbids installing into it: leave --no-venv out."
    last = [line for line in output.splitlines() if line][-5:]
    return "\n".join([f"Installing failed (exit code {code}). The installer's last words:", *last])


def _run_instead(command: Sequence[str]) -> NoReturn:
    """Go on as another process, in place of this one."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], list(command))
    # Windows has no exec that keeps the terminal waiting, so wait for the child; it is the one to answer Ctrl-C.
    child = subprocess.Popen(list(command))
    while True:
        try:
            raise SystemExit(child.wait())
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
