"""Installing from every source, updating, enabling and removing; what was shown is what is installed, or nothing is."""

import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.plugins.extension_sources import (
    GitServer,
    Repository,
    extension_files,
    make_repository,
    write_files,
    write_wheel,
    write_zip,
)
from webui import __version__
from webui.core.errors import Closing, Forbidden, InvalidRequest, NotFound
from webui.core.extensions import InstalledExtension
from webui.core.settings_store import SettingsStore
from webui.plugins.install import installer as installer_module
from webui.plugins.install import packages
from webui.plugins.install.installer import Installer
from webui.plugins.manifest import SITE_PACKAGES


@dataclass(frozen=True)
class Loaded:
    """What the host says of an extension."""

    name: str
    enabled: bool = True
    error: str | None = None


@pytest.fixture
def address(git_server: GitServer, repository: Repository) -> str:
    return f"{git_server.address}/adding"


def names(extensions: Path) -> list[str]:
    return sorted(path.name for path in extensions.iterdir() if path.name != ".staging")


def staged(extensions: Path) -> list[Path]:
    """What is being made ready."""
    return list((extensions / ".staging").glob("*/*"))


def install_zip(installer: Installer, tmp_path: Path, name: str = "adding", **files: str) -> InstalledExtension:
    archive = write_zip(tmp_path / f"{name}.zip", extension_files(name=name, **files))
    return installer.confirm(installer.prepare_zip(archive, archive.name).digest)


def test_an_extension_comes_from_a_repository(installer: Installer, extensions: Path, repository: Repository, address: str) -> None:
    sheet = installer.prepare(address)
    commit = repository.git("rev-parse", "HEAD")
    assert names(extensions) == []
    assert (sheet.kind, sheet.source, sheet.ref, sheet.commit, sheet.folder) == ("git", address, "trunk", commit, "adding")
    assert (sheet.name, sheet.version, sheet.description, sheet.replaces) == ("Adding", "1.0", "Adds a word.", "")
    assert sheet.hooks == ("change_request",)
    shown = sheet.shown()
    assert (shown["python_files"], shown["javascript_files"], shown["native_files"]) == (["extension.py"], ["javascript/page.js"], [])
    assert shown["size"] == sum(len(text) for text in extension_files().values())
    one = installer.confirm(sheet.digest)
    assert names(extensions) == ["adding"]
    assert (extensions / "adding" / "extension.py").read_text() == extension_files()["extension.py"]
    assert not (extensions / "adding" / ".git").exists()
    assert staged(extensions) == []
    assert one == installer.installed()[0]
    assert (one.commit, one.source, one.branch, one.enabled, one.updatable, one.restart_needed) == (
        commit,
        address,
        "trunk",
        True,
        True,
        True,
    )


def test_an_extension_comes_from_a_zip_file(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "upload", extension_files(), folder="adding-1.0/")
    sheet = installer.prepare_zip(archive, "adding-main.zip")
    assert (sheet.kind, sheet.source, sheet.folder) == ("zip", "adding-main.zip", "adding")
    assert installer.confirm(sheet.digest).updatable is False
    assert (extensions / "adding" / "extension.py").is_file()


def test_an_extension_comes_from_a_folder_or_a_local_repository(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "plain", extension_files(name="plain"))
    assert installer.confirm(installer.prepare(str(folder), local=True).digest).kind == "folder"
    clone = make_repository(tmp_path / "clone", extension_files(name="clone"))
    assert installer.confirm(installer.prepare(str(clone.folder), local=True).digest).commit == clone.git("rev-parse", "HEAD")
    assert names(extensions) == ["clone", "plain"]
    with pytest.raises(InvalidRequest):
        installer.prepare(str(folder))
    commit = clone.commit(extension_files(word="dog", name="clone"))
    assert installer.confirm(installer.prepare_update("clone").digest).commit == commit


def test_an_extension_comes_from_the_package_index(installer: Installer, extensions: Path, wheels: Path) -> None:
    write_wheel(wheels, "left", "1.0")
    for version in ("1.0", "2.0"):
        files = {f"adding_ext/{name}": text for name, text in extension_files(version=version).items()}
        write_wheel(wheels, "adding_ext", version, requires=["left", "numpy"], files={**files, "adding_ext/data.txt": version})
    sheet = installer.prepare("pypi:adding-ext==1.0")
    assert (sheet.kind, sheet.source, sheet.folder, sheet.version) == ("pypi", "pypi:adding-ext", "adding-ext", "1.0")
    assert sheet.requirements == ("left", "numpy")
    assert [one.name for one in sheet.packages] == ["left"]
    installer.confirm(sheet.digest)
    assert (extensions / "adding-ext" / "data.txt").read_text() == "1.0"
    assert (extensions / "adding-ext" / SITE_PACKAGES / "left.py").is_file()
    with pytest.raises(InvalidRequest, match="up to date"):
        installer.prepare_update("adding-ext")
    installer.remove("adding-ext")
    installer.confirm(installer.prepare("pypi:adding-ext").digest)
    write_wheel(wheels, "adding_ext", "3.0", files={"adding_ext/extension.py": ""})
    assert [one.update for one in installer.check_updates()] == ["3.0"]
    installer.confirm(installer.prepare_update("adding-ext").digest)
    assert names(extensions) == [".trash", "adding-ext"]
    assert not (extensions / "adding-ext" / SITE_PACKAGES).exists()


def test_a_package_that_is_no_extension_is_refused(installer: Installer, extensions: Path, wheels: Path) -> None:
    write_wheel(wheels, "left", "1.0")
    write_wheel(wheels, "two", "1.0", files={"a/extension.py": "", "b/extension.py": ""})
    with pytest.raises(InvalidRequest, match="no folder in it"):
        installer.prepare("pypi:left")
    with pytest.raises(InvalidRequest, match="2 folders in it"):
        installer.prepare("pypi:two")
    assert staged(extensions) == []


def test_what_is_no_extension_is_refused(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no extension in"):
        installer.prepare_zip(write_zip(tmp_path / "x.zip", {"README.md": "hello"}), "x.zip")
    assert staged(extensions) == []


def test_an_extension_for_another_version_of_the_program_is_refused(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    files = {"extension.py": "", "extension.toml": 'min_version = "99"'}
    with pytest.raises(InvalidRequest, match=f"needs version 99 of this program or newer; this is {__version__}"):
        installer.prepare_zip(write_zip(tmp_path / "x.zip", files), "x.zip")


# --- what was shown is what is installed


def test_nothing_is_installed_without_the_digest_of_its_sheet(installer: Installer, extensions: Path, address: str) -> None:
    sheet = installer.prepare(address)
    for digest in ("", "0" * 64, sheet.digest[:-1]):
        with pytest.raises(InvalidRequest, match="Prepare it again"):
            installer.confirm(digest)
    installer.confirm(sheet.digest)
    with pytest.raises(InvalidRequest, match="Prepare it again"):
        installer.confirm(sheet.digest)


@pytest.mark.parametrize("change", ["changed", "added", "deleted"])
def test_files_that_changed_after_they_were_shown_are_not_installed(
    installer: Installer, extensions: Path, address: str, change: str
) -> None:
    sheet = installer.prepare(address)
    (file,) = extensions.glob(".staging/*/*/ready/extension.py")
    if change == "changed":
        file.write_text("evil")
    elif change == "added":
        (file.parent / "evil.py").touch()
    else:
        file.unlink()
    with pytest.raises(InvalidRequest, match="changed after they were shown"):
        installer.confirm(sheet.digest)
    assert names(extensions) == []
    assert staged(extensions) == []


def test_a_commit_made_after_the_sheet_is_not_installed(
    installer: Installer, extensions: Path, repository: Repository, address: str
) -> None:
    sheet = installer.prepare(address)
    repository.commit({"extension.py": "evil"})
    assert installer.confirm(sheet.digest).commit == sheet.commit
    assert (extensions / "adding" / "extension.py").read_text() == extension_files()["extension.py"]


def test_only_a_few_wait_for_consent_and_one_may_be_called_off(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", extension_files())
    sheets = [installer.prepare_zip(archive, f"x{number}.zip") for number in range(installer_module.MAX_PREPARED + 1)]
    assert len(staged(extensions)) == installer_module.MAX_PREPARED
    with pytest.raises(InvalidRequest):
        installer.confirm(sheets[0].digest)
    installer.cancel(sheets[1].digest)
    installer.cancel("nothing")
    assert len(staged(extensions)) == installer_module.MAX_PREPARED - 1
    installer.confirm(sheets[2].digest)


def test_the_sheet_tells_what_has_to_be_known(installer: Installer, tmp_path: Path) -> None:
    code = """
import subprocess, os.path
from urllib.request import urlopen
from webui.plugins.hookspecs import hookimpl
from webui.plugins import hookspecs, script

@hookimpl(trylast=True)
def job_finished(): ...

@hookspecs.hookimpl
async def on_step(): ...

def change_request(): ...

class Mine(script.Script):
    def title(self): ...
    def _own(self): ...
    def postprocess_image(self): ...
"""
    files = extension_files(
        extension__py=code, install__py="raise SystemExit", broken__py="def (", nested__py="-" * 200_000 + "1", native__so="\x7fELF"
    )
    sheet = installer.prepare_zip(write_zip(tmp_path / "x.zip", {**files, "x/__pycache__/x.pyc": ""}), "x.zip")
    assert sheet.hooks == ("Script.postprocess_image", "Script.title", "job_finished", "on_step")
    assert sheet.left_out == ("x/__pycache__/x.pyc",)
    assert sheet.remarks == (
        "Its install.py is not run; what it would have installed is not there.",
        "It can reach beyond this program: it imports os, subprocess, urllib.",
        "It brings machine code that nobody can read: native.so.",
        "These files cannot be read as Python, so what they do is not told here: broken.py, nested.py.",
        "Its code has hooks that its manifest does not name: job_finished, on_step.",
    )


def test_an_a1111_extension_says_what_of_it_runs_here(installer: Installer, tmp_path: Path) -> None:
    files = {"scripts/a.py": "import modules", "metadata.ini": "[Extension]\nName = Old", "javascript/a.js": ""}
    sheet = installer.prepare_zip(write_zip(tmp_path / "x.zip", files), "x.zip")
    assert sheet.name == "Old"
    assert sheet.remarks == ("It is written for A1111, and has no extension.py: its scripts/ will not be run here.",)


def test_no_code_of_an_extension_is_run(installer: Installer, extensions: Path, tmp_path: Path, wheels: Path) -> None:
    pwned = tmp_path / "pwned"
    evil = f"open({str(pwned)!r}, 'w')\n"
    files = dict.fromkeys(("extension.py", "install.py", "setup.py", "preload.py", "conftest.py", "pip.py", "sitecustomize.py"), evil)
    write_wheel(wheels, "left", "1.0", files={"left.py": evil, "evil.pth": f"import os; {evil}"})
    sheet = installer.prepare_zip(write_zip(tmp_path / "x.zip", {**files, "requirements.txt": "left"}), "x.zip")
    installer.confirm(sheet.digest)
    installer.installed()
    installer.enable("x", enabled=False)
    installer.remove("x")
    assert not pwned.exists()


# --- names


def test_one_name_is_one_extension(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    install_zip(installer, tmp_path, "one")
    for name, other in (("one", "Other"), ("ONE", "Other"), ("two", "One"), ("two", "one")):
        archive = write_zip(tmp_path / "x.zip", extension_files(name=other))
        with pytest.raises(InvalidRequest, match="already"):
            installer.prepare_zip(archive, f"{name}.zip")
    assert names(extensions) == ["one"]


def test_of_two_that_were_prepared_under_one_name_only_the_first_is_installed(
    installer: Installer, extensions: Path, tmp_path: Path
) -> None:
    first, second = (installer.prepare_zip(write_zip(tmp_path / "x.zip", extension_files(word=word)), "x.zip") for word in ("cat", "dog"))
    installer.confirm(second.digest)
    with pytest.raises(InvalidRequest, match="already"):
        installer.confirm(first.digest)
    assert "dog" in (extensions / "x" / "extension.py").read_text()
    assert staged(extensions) == []


@pytest.mark.parametrize("folder", ["git", "ready", "swap", "old", "report.json"])
def test_a_folder_may_be_called_as_what_this_program_works_with(
    installer: Installer, extensions: Path, address: str, wheels: Path, repository: Repository, folder: str
) -> None:
    write_wheel(wheels, "left", "1.0")
    repository.commit({"requirements.txt": "left"} if folder == "report.json" else {})
    installer.confirm(installer.prepare(address, folder=folder).digest)
    repository.commit({"extension.py": "# new"})
    installer.confirm(installer.prepare_update(folder).digest)
    assert (extensions / folder / "extension.py").read_text() == "# new"


@pytest.mark.parametrize("folder", ["../x", "..", ".staging", "/tmp/x", "a/b", "", "."])
def test_no_name_leads_out_of_the_folder(installer: Installer, extensions: Path, tmp_path: Path, folder: str) -> None:
    write_files(tmp_path / "data" / "x", {"extension.py": "precious"})
    for act in (installer.remove, installer.enable, installer.prepare_update):
        with pytest.raises((InvalidRequest, NotFound)):
            act(folder)
    if folder:
        with pytest.raises(InvalidRequest):
            installer.prepare_zip(write_zip(tmp_path / "x.zip", extension_files()), "x.zip", folder=folder)
    assert (tmp_path / "data" / "x" / "extension.py").exists()


# --- requirements


def test_extensions_with_conflicting_requirements_have_each_their_own(
    installer: Installer, extensions: Path, tmp_path: Path, wheels: Path
) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(wheels, "left", version)
    install_zip(installer, tmp_path, "one", requirements__txt="left==1.0")
    install_zip(installer, tmp_path, "two", requirements__txt="left==2.0")
    for name, version in (("one", "1.0"), ("two", "2.0")):
        found = subprocess.run(
            [sys.executable, "-c", "import left; print(left.VERSION)"],
            env={"PYTHONPATH": str(extensions / name / SITE_PACKAGES)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == version


def test_an_extension_against_the_programs_own_versions_is_refused_and_nothing_is_left(
    installer: Installer, extensions: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=r"requires numpy<2 \(this program runs on"):
        install_zip(installer, tmp_path, requirements__txt="numpy<2")
    assert names(extensions) == []
    assert staged(extensions) == []


@pytest.mark.parametrize(
    "line", ["--index-url https://evil.example", "-e .", "x @ https://evil.example/x.whl", "git+https://evil.example/x"]
)
def test_requirements_that_lead_elsewhere_are_refused(installer: Installer, extensions: Path, tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidRequest, match="The requirement"):
        install_zip(installer, tmp_path, requirements__txt=line)
    assert names(extensions) == []


# --- updates


def test_an_update_takes_the_newest_of_the_same_branch(
    installer: Installer, extensions: Path, repository: Repository, address: str
) -> None:
    repository.git("branch", "dev")
    installer.confirm(installer.prepare(f"{address}@dev").digest)
    repository.commit({"extension.py": "# of the trunk"})
    with pytest.raises(InvalidRequest, match="adding is up to date"):
        installer.prepare_update("adding")
    assert [one.update for one in installer.check_updates()] == [""]
    repository.git("checkout", "--quiet", "dev")
    commit = repository.commit({"extension.py": "# of dev", "new.py": ""})
    assert [one.update for one in installer.check_updates()] == [commit]
    sheet = installer.prepare_update("adding")
    assert (sheet.commit, sheet.replaces) == (commit, "1.0")
    assert installer.confirm(sheet.digest).update == ""
    assert (extensions / "adding" / "extension.py").read_text() == "# of dev"


def test_an_update_takes_old_files_away_and_keeps_what_the_user_added(
    installer: Installer, extensions: Path, repository: Repository, address: str
) -> None:
    repository.commit({"old.py": "", "mine.txt": "as it came"})
    installer.confirm(installer.prepare(address).digest)
    write_files(extensions / "adding", {"presets/own.json": "{}", "mine.txt": "changed", "__pycache__/x.pyc": ""})
    repository.git("rm", "--quiet", "old.py")
    repository.commit({"extension.py": "# new"})
    sheet = installer.prepare_update("adding")
    assert sheet.remarks == ("Changed here since it was installed, and to be replaced: mine.txt.",)
    installer.confirm(sheet.digest)
    folder = extensions / "adding"
    assert not (folder / "old.py").exists()
    assert (folder / "presets" / "own.json").read_text() == "{}"
    assert (folder / "mine.txt").read_text() == "as it came"
    assert not (folder / "__pycache__").exists()


@pytest.mark.parametrize("step", ["packages.install", "write_record", "_keep_added_files", "put"])
@pytest.mark.parametrize("error", [OSError("no"), InvalidRequest("no"), KeyboardInterrupt()])
def test_an_update_that_fails_at_any_step_leaves_the_old_one(
    installer: Installer,
    extensions: Path,
    repository: Repository,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    installer.confirm(installer.prepare(address).digest)
    before = {path: path.read_bytes() for path in (extensions / "adding").rglob("*") if path.is_file()}
    repository.commit({"extension.py": "# new"})
    sheet = installer.prepare_update("adding")

    def fail(*_: object, **__: object) -> None:
        raise error

    target = {
        "packages.install": (packages, "install"),
        "write_record": (installer_module, "write_record"),
        "put": (installer._staging, "put"),
    }
    monkeypatch.setattr(*target.get(step, (installer, step)), fail)
    with pytest.raises(type(error)):
        installer.confirm(sheet.digest)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in (extensions / "adding").rglob("*") if path.is_file()} == before
    assert staged(extensions) == []
    installer.confirm(installer.prepare_update("adding").digest)


def test_a_file_may_take_the_place_of_an_installed_extension_when_that_is_said(
    installer: Installer, extensions: Path, tmp_path: Path
) -> None:
    install_zip(installer, tmp_path)
    newer = write_zip(tmp_path / "newer.zip", extension_files(version="2.0", name="adding"))
    sheet = installer.prepare_zip(newer, "newer.zip", folder="adding", replaces=True)
    assert (sheet.replaces, sheet.version) == ("1.0", "2.0")
    assert installer.confirm(sheet.digest).version == "2.0"
    with pytest.raises(InvalidRequest, match="put here from a file or folder"):
        installer.prepare_update("adding")


def test_what_was_put_there_by_hand_is_neither_updated_nor_replaced(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    write_files(extensions / "mine", {"extension.py": "precious"})
    with pytest.raises(InvalidRequest, match="put here by hand"):
        installer.prepare_update("mine")
    with pytest.raises(InvalidRequest, match="put there by hand"):
        installer.prepare_zip(write_zip(tmp_path / "x.zip", extension_files()), "mine.zip", replaces=True)
    assert installer.check_updates()[0].updatable is False


# --- on, off, and away


def test_an_extension_is_turned_off_and_on(installer: Installer, settings: SettingsStore, extensions: Path, tmp_path: Path) -> None:
    install_zip(installer, tmp_path, "one")
    assert installer.enable("one", enabled=False).enabled is False
    assert settings.snapshot().disabled_extensions == ("one",)
    assert installer.enable("one").enabled is True
    assert settings.snapshot().disabled_extensions == ()
    with pytest.raises(NotFound):
        installer.enable("two")


def test_a_removed_extension_can_be_brought_back_by_hand_and_is_not_off_any_more(
    installer: Installer, settings: SettingsStore, extensions: Path, tmp_path: Path
) -> None:
    install_zip(installer, tmp_path, "one")
    installer.enable("one", enabled=False)
    where = installer.remove("one")
    assert (where / "extension.py").is_file()
    assert names(extensions) == [".trash"]
    assert settings.snapshot().disabled_extensions == ()
    with pytest.raises(NotFound):
        installer.remove("one")


def test_the_list_tells_when_what_runs_is_not_what_is_installed(
    extensions: Path, settings: SettingsStore, git_server: GitServer, repository: Repository, address: str, tmp_path: Path
) -> None:
    def start(*loaded: Loaded) -> Installer:
        opened = Installer(extensions, settings, web=git_server.web, loaded=lambda: loaded)
        opened.begin()
        return opened

    def needs_restart(opened: Installer) -> dict[str, bool]:
        return {one.folder: one.restart_needed for one in opened.installed()}

    with closing(start()) as first:
        first.confirm(first.prepare(address).digest)
        assert needs_restart(first) == {"adding": True}
    with closing(start(Loaded("adding"))) as second:
        assert needs_restart(second) == {"adding": False}
        assert second.installed()[0].running
        assert second.enable("adding", enabled=False).restart_needed
        assert not second.enable("adding").restart_needed
        repository.commit({"extension.py": "# new"})
        assert second.confirm(second.prepare_update("adding").digest).restart_needed
    with closing(start(Loaded("adding", enabled=False, error="SyntaxError: no"))) as third:
        assert (third.installed()[0].error, third.installed()[0].restart_needed) == ("SyntaxError: no", False)
        third.enable("adding", enabled=False)
    with closing(start(Loaded("adding", enabled=False, error="disabled in the settings"))) as fourth:
        assert (fourth.installed()[0].error, fourth.installed()[0].restart_needed) == ("", False)
        fourth.enable("adding")
        fourth.remove("adding")
        assert fourth.installed() == ()
    with closing(start(Loaded("gone"))) as fifth:
        (gone,) = fifth.installed()
        assert (gone.folder, gone.running, gone.enabled, gone.restart_needed) == ("gone", True, False, True)
        assert "runs until" in gone.error


def test_before_the_host_has_loaded_anything_nothing_needs_a_restart(extensions: Path, settings: SettingsStore) -> None:
    write_files(extensions / "one", {"extension.py": ""})
    assert [one.restart_needed for one in Installer(extensions, settings).installed()] == [False]


def test_a_broken_manifest_is_listed_with_its_error(installer: Installer, extensions: Path) -> None:
    write_files(extensions / "broken", {"extension.toml": "name = "})
    (one,) = installer.installed()
    assert one.name == "broken"
    assert "extension.toml cannot be read" in one.error


def test_a_clone_made_by_hand_says_where_it_came_from(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    clone = make_repository(extensions / "clone", {"extension.py": ""})
    clone.git("remote", "add", "origin", "https://user:secret@example.com/clone.git")
    pwned = tmp_path / "pwned"
    clone.git("config", "core.fsmonitor", f"touch {pwned}")
    (one,) = installer.installed()
    assert (one.kind, one.source, one.branch) == ("git", "https://example.com/clone.git", "trunk")
    assert one.commit == clone.git("-c", "core.fsmonitor=false", "rev-parse", "HEAD")
    assert one.commit_date == int(clone.git("-c", "core.fsmonitor=false", "log", "-1", "--format=%ct"))
    assert not one.updatable
    clone.git("-c", "core.fsmonitor=false", "pack-refs", "--all")
    clone.git("-c", "core.fsmonitor=false", "gc", "--quiet")
    assert installer.installed()[0] == one
    assert not pwned.exists()


def test_a_damaged_record_is_no_record(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    install_zip(installer, tmp_path, "one")
    for damage in ("", "[]", "{}", '{"kind": 1, "source": ""}', '{"kind": "git", "source": "x", "files": 3}', '{"x": 1}'):
        (extensions / "one" / ".installed.json").write_text(damage)
        assert installer.installed()[0].kind == ""


# --- who may


def test_nothing_is_changed_where_it_is_not_allowed(
    extensions: Path, settings: SettingsStore, git_server: GitServer, tmp_path: Path
) -> None:
    write_files(extensions / "one", {"extension.py": ""})
    closed = Installer(extensions, settings, web=git_server.web, allowed=False)
    archive = write_zip(tmp_path / "x.zip", extension_files())
    for act in (
        lambda: closed.prepare(f"{git_server.address}/adding"),
        lambda: closed.prepare_zip(archive, "x.zip"),
        lambda: closed.prepare_update("one"),
        lambda: closed.confirm("0" * 64),
        lambda: closed.enable("one", enabled=False),
        lambda: closed.remove("one"),
        closed.check_updates,
    ):
        with pytest.raises(Forbidden, match="--enable-insecure-extension-access"):
            act()
    assert git_server.asked == []
    assert [one.folder for one in closed.installed()] == ["one"]


def test_the_end_of_the_program_ends_what_is_being_fetched(installer: Installer, extensions: Path, address: str) -> None:
    sheet = installer.prepare(address)
    installer.close()
    with pytest.raises(Closing):
        installer.prepare(address, folder="other")
    with pytest.raises(InvalidRequest):
        installer.confirm(sheet.digest)
    assert names(extensions) == []


def test_many_at_once_do_not_disturb_each_other(installer: Installer, extensions: Path, tmp_path: Path) -> None:
    errors: list[Exception] = []

    def one(number: int) -> None:
        try:
            install_zip(installer, tmp_path, f"x{number}")
            installer.enable(f"x{number}", enabled=False)
        except Exception as error:  # noqa: BLE001  told by the test
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(installer_module.MAX_PREPARED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert names(extensions) == [f"x{number}" for number in range(installer_module.MAX_PREPARED)]
    assert not any(one.enabled for one in installer.installed())
