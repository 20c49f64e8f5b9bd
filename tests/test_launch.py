"""launch.py as a user runs it: a copy in its own folder, another interpreter process, small wheels in place of torch."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import launch
import webui

ROOT = Path(__file__).resolve().parents[1]
BASE_PYTHON = Path(sys.base_prefix) / ("python.exe" if os.name == "nt" else f"bin/python{sys.version_info[0]}.{sys.version_info[1]}")
CLOSED_PORT = "http://127.0.0.1:9/simple"
STAND_IN = """
import sys
from webui.flags import parse_flags

def main(argv):
    print("STARTED", sys.prefix, parse_flags(argv).port)
    return 0
"""


@dataclass(frozen=True)
class Program:
    """A copy of the program's launcher whose webui.cli only says that it was started."""

    folder: Path
    index: Path

    @property
    def venv(self) -> Path:
        return self.folder / "venv"

    @property
    def stamp(self) -> Path:
        return self.venv / "webui-requirements.json"

    def require(self, *pins: str) -> None:
        (self.folder / "requirements.txt").write_text("# what is needed\n" + "\n".join(pins), encoding="utf-8")

    def start(self, *argv: str, patch: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it outside any virtual environment.  patch: code that runs in every interpreter before anything else."""
        (self.folder / "patch").mkdir(exist_ok=True)
        (self.folder / "patch" / "sitecustomize.py").write_text(patch, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"))}
        # Without other folders of the PATH: uv must not be found on one machine and pip used on another.
        own = {
            "PATH": str(BASE_PYTHON.parent) + os.pathsep + os.defpath,
            "PIP_CONFIG_FILE": os.devnull,
            "PYTHONPATH": str(self.folder / "patch"),
        }
        settings = {"PIP_INDEX_URL": self.index.as_uri(), "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", **environ}
        command = [str(BASE_PYTHON), str(self.folder / "launch.py"), *argv]
        return subprocess.run(command, env={**kept, **own, **settings}, cwd=self.folder, capture_output=True, text=True, timeout=120)

    def installed(self, package: str) -> str:
        """The version of a package in its venv, "" without it."""
        found = [file.name for file in self.venv.rglob(f"{package}-*.dist-info")]
        return found[0].removeprefix(f"{package}-").removesuffix(".dist-info") if found else ""


def add_wheel(index: Path, name: str, version: str) -> None:
    """Put a package with nothing in it into a package index that is a folder."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    links = "".join(f'<a href="{file.name.replace("+", "%2B")}">{file.name}</a>' for file in folder.glob("*.whl"))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>", encoding="utf-8")


def copy_program(folder: Path, index: Path) -> Program:
    (folder / "webui").mkdir(parents=True)
    for name in ("launch.py", "webui/__init__.py", "webui/flags.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "webui" / "cli.py").write_text(STAND_IN, encoding="utf-8")
    return Program(folder, index)


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, subprocess.CompletedProcess[str]]:
    """A program after its first start. Not to be changed: see `installed`."""
    index = tmp_path_factory.mktemp("index")
    for name in ("alpha", "beta"):
        add_wheel(index, name, "1.0")
    program = copy_program(tmp_path_factory.mktemp("first") / "program", index)
    program.require("alpha==1.0", "beta==1.0  # with a comment")
    return program, program.start("--port", "7")


@pytest.fixture
def installed(first_start: tuple[Program, object], tmp_path: Path) -> Program:
    """This test's own copy of an installed program."""
    program, _ = first_start
    shutil.copytree(program.folder, tmp_path / "program", symlinks=True)
    return Program(tmp_path / "program", program.index)


@pytest.fixture
def fresh(tmp_path: Path) -> Program:
    """A program that was never started."""
    program = copy_program(tmp_path / "program", tmp_path / "index")
    program.require("alpha==1.0")
    return program


def test_the_first_start_makes_a_venv_installs_and_starts_inside(first_start: tuple[Program, subprocess.CompletedProcess[str]]) -> None:
    program, run = first_start
    assert run.returncode == 0, run.stderr
    assert f"STARTED {program.venv} 7" in run.stdout
    assert "Installing the 2 packages" in run.stdout
    assert "2 packages added" in run.stdout
    assert (program.installed("alpha"), program.installed("beta")) == ("1.0", "1.0")


def test_a_later_start_installs_nothing_and_needs_no_network(installed: Program) -> None:
    began = time.monotonic()
    run = installed.start(PIP_INDEX_URL=CLOSED_PORT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("STARTED")
    assert run.stdout.count("\n") == 1
    assert time.monotonic() - began < 30


def test_changed_requirements_are_installed_at_the_next_start(installed: Program) -> None:
    add_wheel(installed.index, "gamma", "3.1")
    installed.require("alpha==1.0", "gamma==3.1")
    assert installed.start().returncode == 0
    assert installed.installed("gamma") == "3.1"


def test_a_failed_installation_is_repaired_by_the_next_start(installed: Program) -> None:
    installed.require("delta==1.0")
    failed = installed.start()
    assert failed.returncode == 1
    assert "STARTED" not in failed.stdout
    add_wheel(installed.index, "delta", "1.0")
    assert "STARTED" in installed.start().stdout
    assert installed.installed("delta") == "1.0"


def test_a_package_whose_copying_was_cut_short_is_installed_again(installed: Program) -> None:
    installed.stamp.unlink()
    (package,) = installed.venv.rglob("alpha/__init__.py")
    package.unlink()
    next(installed.venv.rglob("alpha-1.0.dist-info/RECORD")).unlink()
    assert "STARTED" in installed.start().stdout
    assert package.exists()


def test_a_venv_whose_making_was_cut_short_is_made_anew(installed: Program) -> None:
    installed.stamp.unlink()
    shutil.rmtree(next(installed.venv.rglob("site-packages")))
    run = installed.start()
    assert run.returncode == 0, run.stderr
    assert "Making" in run.stdout
    assert installed.installed("beta") == "1.0"


def test_a_venv_whose_python_has_gone_is_made_anew(installed: Program) -> None:
    python = installed.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.unlink()
    assert "STARTED" in installed.start().stdout


def test_torch_comes_from_the_index_that_torch_index_url_names_and_goes_back_without_it(installed: Program, tmp_path: Path) -> None:
    add_wheel(installed.index, "torch", "2.0")
    add_wheel(tmp_path / "other", "torch", "2.0+cpu")
    installed.require("torch==2.0", "alpha==1.0")
    assert installed.start().returncode == 0
    assert installed.installed("torch") == "2.0"
    run = installed.start(TORCH_INDEX_URL=(tmp_path / "other").as_uri())
    assert run.returncode == 0, run.stderr
    assert installed.installed("torch") == "2.0+cpu"
    assert installed.start().returncode == 0
    assert installed.installed("torch") == "2.0"


def test_skip_install_installs_nothing(installed: Program) -> None:
    installed.require("not-there==1.0")
    assert installed.start("--skip-install").stdout.startswith("STARTED")


def test_skip_install_without_a_venv_says_what_to_do(fresh: Program) -> None:
    run = fresh.start("--skip-install")
    assert run.returncode == 1
    assert "--no-venv" in run.stderr
    assert not fresh.venv.exists()


def test_commandline_args_reach_the_program_once(installed: Program) -> None:
    assert installed.start(COMMANDLINE_ARGS="--port 4711").stdout.endswith(" 4711\n")


def test_help_and_unknown_flags_answer_at_once_without_making_a_venv(fresh: Program) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        run = fresh.start("--help")
        seconds.append(time.perf_counter() - began)
        assert run.returncode == 0
        assert "--ckpt-dir" in run.stdout
    assert min(seconds) < 1.5  # a tenth of that here; importing torch or gradio would take more
    run = fresh.start("--prot", "7")
    assert run.returncode == 2
    assert "'--port'" in run.stderr
    assert not fresh.venv.exists()


def one_sentence(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1
    assert "Traceback" not in run.stderr + run.stdout
    assert "STARTED" not in run.stdout
    assert run.stderr.count("\n") == 1
    return run.stderr


def test_no_network_is_one_sentence(installed: Program) -> None:
    installed.require("epsilon==1.0")
    assert "index cannot be reached" in one_sentence(installed.start(PIP_INDEX_URL=CLOSED_PORT, PIP_RETRIES="1"))


def test_no_disk_space_is_one_sentence(fresh: Program) -> None:
    patch = "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**11, 10**11 - 10**9, 10**9)"
    said = one_sentence(fresh.start(patch=patch))
    assert "1.0 GB of free disk space" in said
    assert not fresh.venv.exists()


@pytest.mark.parametrize("version", ["(3, 10, 4, 'final', 0)", "(3, 14, 0, 'final', 0)"])
def test_another_python_is_one_sentence(fresh: Program, version: str) -> None:
    said = one_sentence(fresh.start(patch=f"import sys\nsys.version_info = {version}"))
    assert "Python 3.11 to 3.13 is needed" in said
    assert not fresh.venv.exists()


@pytest.mark.parametrize("name", ["launch.py", "webui/flags.py", "webui/__init__.py"])
def test_an_old_python_can_read_as_far_as_the_sentence_that_refuses_it(name: str) -> None:
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_the_pythons_the_pins_support_are_accepted(version: tuple[int, int]) -> None:
    launch.check_python(version)


def test_requirements_are_exact_versions_without_the_libraries_torch_pins_itself() -> None:
    pins = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    for pin in filter(None, pins):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*(; .+)?", pin), pin
        assert not pin.startswith(("nvidia-", "cuda-", "triton", "mediapipe")), pin


def test_pyproject_and_the_program_say_the_same_version() -> None:
    assert f'version = "{webui.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
