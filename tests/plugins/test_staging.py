"""An extension takes its place in one step or not at all, also when the process ends in the middle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.extension_sources import write_files
from webui.core.errors import InvalidRequest
from webui.plugins.install import staging
from webui.plugins.install.staging import Staging

# Does what an update does, and is gone, as if by a power cut, at its Nth step.
CRASHING = """
import os, sys
from pathlib import Path
from webui.plugins.install import staging

steps = int(sys.argv[2])

def counted(function):
    def step(*arguments, **options):
        global steps
        steps -= 1
        if steps < 0:
            os._exit(9)
        return function(*arguments, **options)
    return step

Path.rename = counted(Path.rename)
Path.replace = counted(Path.replace)
staging.shutil.rmtree = counted(staging.shutil.rmtree)
staging.write_atomically = counted(staging.write_atomically)
one = staging.Staging(Path(sys.argv[1]))
place = one.new_place()
(place / "ready").mkdir()
(place / "ready" / "extension.py").write_text("new")
one.put(place, "thing")
os._exit(0)
"""


def content(extensions: Path) -> str:
    return (extensions / "thing" / "extension.py").read_text()


def ready(stage: Staging) -> Path:
    """A place with something to be put."""
    place = stage.new_place()
    write_files(place / "ready", {"extension.py": "new"})
    return place


@pytest.mark.parametrize("is_update", [False, True])
def test_it_takes_its_place(extensions: Path, is_update: bool) -> None:
    if is_update:
        write_files(extensions / "thing", {"extension.py": "old", "gone.py": ""})
    stage = Staging(extensions)
    new = ready(stage)
    stage.put(new, "thing")
    assert [path.name for path in (extensions / "thing").iterdir()] == ["extension.py"]
    assert content(extensions) == "new"
    assert not new.exists()
    stage.close()


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("error", [OSError(16, "Device or resource busy"), KeyboardInterrupt()])
def test_an_error_at_any_step_leaves_the_old_one(
    extensions: Path, monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException
) -> None:
    write_files(extensions / "thing", {"extension.py": "old"})
    stage = Staging(extensions)
    new = ready(stage)
    rename, calls = Path.rename, []

    def failing(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == step + 1:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InvalidRequest if isinstance(error, OSError) else KeyboardInterrupt):
        stage.put(new, "thing")
    monkeypatch.undo()
    assert content(extensions) == "old"
    stage.close()


def test_after_a_crash_at_any_step_the_next_start_finds_the_old_one_or_the_new_one(extensions: Path) -> None:
    found = []
    for step in range(20):
        write_files(extensions / "thing", {"extension.py": "old"})
        ended = subprocess.run([sys.executable, "-c", CRASHING, str(extensions), str(step)], cwd=Path(__file__).parents[2], check=False)
        after = Staging(extensions)
        after.sweep()
        found.append(content(extensions))
        assert [path for path in (extensions / ".staging").iterdir() if path.is_dir()] == []
        if ended.returncode == 0:
            break
        assert ended.returncode == 9
    assert found[0] == "old"
    assert found[-1] == "new"
    assert found == sorted(found, reverse=True)
    assert found.count("old") >= 3


def test_what_a_living_process_makes_ready_is_not_swept(extensions: Path) -> None:
    one, other = Staging(extensions), Staging(extensions)
    new = ready(one)
    other.sweep()
    assert new.is_dir()
    one.close()
    assert not new.exists()


def test_a_damaged_note_of_a_swap_does_no_harm(extensions: Path) -> None:
    left = write_files(extensions / ".staging" / ("a" * 32), {"one/swap": "{", "one/old/x": "", "two/swap": json.dumps(["x"])})
    (extensions / ".staging" / f"{'a' * 32}.lock").touch()
    Staging(extensions).sweep()
    assert not left.exists()


def test_what_is_removed_lies_in_the_trash_under_a_name_of_its_own(extensions: Path) -> None:
    stage = Staging(extensions)
    for number in range(2):
        write_files(extensions / "thing", {"extension.py": str(number)})
        where = stage.throw_away("thing")
        assert where.relative_to(extensions).as_posix() == f".trash/thing{'-1' if number else ''}"
        assert (where / "extension.py").read_text() == str(number)
    assert not (extensions / "thing").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_removing_a_link_leaves_what_it_leads_to(extensions: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "mine", {"extension.py": "precious"})
    (extensions / "thing").symlink_to(tmp_path / "mine")
    Staging(extensions).throw_away("thing")
    assert not (extensions / "thing").exists()
    assert (tmp_path / "mine" / "extension.py").read_text() == "precious"


def test_two_do_not_change_the_folder_at_once(extensions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "SECONDS_FOR_OTHERS", 0.0)
    with Staging(extensions).changing():
        with pytest.raises(InvalidRequest, match="just now"), Staging(extensions).changing():
            pytest.fail("both were let in")
    with Staging(extensions).changing():
        pass
