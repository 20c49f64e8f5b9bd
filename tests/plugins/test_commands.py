"""`python launch.py extensions ...`, through the program's own entry."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins.extension_sources import GitServer, Repository, extension_files, make_repository, write_files, write_zip
from webui import cli
from webui.core.paths import Paths
from webui.core.settings_store import SettingsStore
from webui.flags import parse_flags
from webui.plugins.install.commands import run_command

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(paths: Paths, git_server: GitServer, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = run_command(words, paths, web=git_server.web)
        return (code, *capsys.readouterr())

    return run


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("builtins.input", lambda question: print(question) or text)


def test_the_words_behind_extensions_are_the_commands_and_the_programs_flags_are_its_own() -> None:
    words = ["extensions", "install", "x.zip", "--data-dir", "/data", "--branch", "dev", "--yes", "--no-venv"]
    flags = parse_flags(words, {"COMMANDLINE_ARGS": "--listen --xformers --port 80"})
    assert flags.command == ("extensions", "install", "x.zip", "--branch", "dev", "--yes")
    assert (flags.data_dir, flags.no_venv, flags.listen) == ("/data", True, True)
    assert parse_flags(["--listen"], {}).command == ()


def test_the_program_runs_the_command_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(tmp_path / "extensions" / "mine", {"extension.py": ""})
    assert cli.main(["extensions", "list", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == ["on", "mine"]


def test_help_and_wrong_words_are_answered(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in ((["--help"], 0), (["install", "--help"], 0), ([], 2), (["destroy"], 2), (["list", "--evil"], 2)):
        with pytest.raises(SystemExit) as ended:
            run(*words)
        assert ended.value.code == code
    assert "pypi:NAME" in capsys.readouterr().out


def test_the_sheet_is_shown_and_without_a_yes_nothing_is_installed(
    run: Run, paths: Paths, monkeypatch: pytest.MonkeyPatch, repository: Repository, git_server: GitServer
) -> None:
    for said in ("", "n", "maybe"):
        answer(monkeypatch, said)
        code, out, _ = run("install", f"{git_server.address}/adding")
        assert (code, out.splitlines()[-1]) == (1, "Nothing was installed.")
    assert not (paths.extensions / "adding").exists()
    assert out.splitlines()[:-3] == [
        "Adding 1.0",
        "Adds a word.",
        f"  from      {git_server.address}/adding, trunk, commit {repository.git('rev-parse', 'HEAD')}",
        "  to        extensions/adding",
        "  files     3, 0.00 MB",
        f"  Python    extension.py ({len(extension_files()['extension.py'])} bytes)",
        "  script    javascript/page.js (14 bytes)",
        "  hooks     change_request",
    ]
    answer(monkeypatch, "y")
    code, out, _ = run("install", f"{git_server.address}/adding")
    assert (code, out.splitlines()[-1]) == (0, "Adding is installed in extensions/adding. It runs from the next start of the program on.")
    assert (paths.extensions / "adding" / "extension.py").exists()


def test_with_no_terminal_nobody_has_agreed(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def closed(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    archive = write_zip(tmp_path / "x.zip", extension_files())
    assert run("install", str(archive))[0] == 1


def test_an_extensions_life_on_the_command_line(run: Run, paths: Paths, tmp_path: Path) -> None:
    local = make_repository(tmp_path / "local", extension_files())
    assert run("install", str(local.folder), "--name", "adding", "--yes")[0] == 0
    assert run("list")[1].split()[:3] == ["on", "adding", "1.0"]
    assert "up to date" in run("update")[1]
    commit = local.commit(extension_files(version="2.0"))
    assert f"newer: {commit}" in run("list", "--check")[1]
    assert run("update", "--yes")[1].splitlines()[0] == "Adding 2.0"
    assert run("update", "adding", "--yes") == (1, "", "adding is up to date.\n")
    assert run("disable", "adding")[1] == "adding is off from the next start of the program on.\n"
    assert SettingsStore(paths.config).snapshot().disabled_extensions == ("adding",)
    assert run("list")[1].startswith("off")
    assert run("enable", "adding")[0] == 0
    archive = write_zip(tmp_path / "x.zip", extension_files(version="3.0"))
    assert "already" in run("install", str(archive), "--name", "adding", "--yes")[2]
    assert run("install", str(archive), "--name", "adding", "--replace", "--yes")[0] == 0
    assert run("remove", "adding", "--yes")[1] == "adding was moved to extensions/.trash/adding.\n"
    assert run("list")[1] == "There is no extension.\n"


def test_errors_are_one_sentence_and_a_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (("enable", "none"), ("remove", "none", "--yes"), ("update", "none"), ("install", "file:///etc", "--yes")):
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
    answer(monkeypatch, "")
    assert run("remove", "none")[0] == 1


def test_a_new_extension_works_and_so_does_its_test(run: Run, paths: Paths) -> None:
    assert run("new", "my-own")[0] == 0
    assert run("list")[1].split() == ["on", "my-own", "0.1.0"]
    tested = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(paths.extensions),
            str(paths.extensions / "my-own"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "3 passed" in tested.stdout
    assert run("new", "my-own")[2] == "There is an extensions/my-own already. Choose another name.\n"
    assert run("new", "../x")[0] == 1
