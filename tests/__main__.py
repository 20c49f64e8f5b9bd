"""Prepare everything and run the tests: `python tests [pytest's arguments]`.  `--prepare-only` stops before pytest.

Standard library only: it makes venv/ as launch.py does, and adds tests/requirements.txt.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Run as a script, only this folder is on the path.
sys.path.insert(0, str(HERE.parent))

import launch  # noqa: E402
from tests.chromium import find_chromium  # noqa: E402

SERIAL_ARGUMENTS = ("-n", "--numprocesses", "--pdb", "-s", "--collect-only")


def main(argv: Sequence[str]) -> int:
    """Prepare, run pytest, return its exit code."""
    try:
        launch.check_python(sys.version_info[:2])
        launch.enter_venv(Path(__file__).resolve(), argv)
        launch.install(launch.REQUIREMENTS)
        launch.install(HERE / "requirements.txt")
        chromium = find_chromium() or _install_chromium()
    except launch.CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    if "--prepare-only" in argv:
        return 0
    return _run_pytest(argv, chromium)


def _install_chromium() -> Path | None:
    """Debian's, where we may; elsewhere the browser tests are skipped, which CI must not do.  Raises CannotStart."""
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("Installing Debian's chromium for the browser tests", flush=True)
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL, check=False)
    chromium = find_chromium()
    if chromium is None and os.environ.get("CI"):
        raise launch.CannotStart("No Chromium, and none could be installed; CI must run the browser tests: set CHROMIUM to an executable.")
    if chromium is None:
        print("No Chromium found: the browser tests are skipped. Install one, or set CHROMIUM to its executable.")
    return chromium


def _run_pytest(argv: Sequence[str], chromium: Path | None) -> int:
    environment = dict(os.environ)
    if chromium:
        environment["CHROMIUM"] = str(chromium)
    command = [sys.executable, "-m", "pytest", *argv]
    if (os.cpu_count() or 1) > 1 and not any(argument.startswith(SERIAL_ARGUMENTS) or "::" in argument for argument in argv):
        # A file's tests stay together, so that what they share is built once. Two processes with all threads each would be slower than one.
        command += ["-n", "2", "--dist", "loadfile"]
        environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(command, cwd=HERE.parent, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
