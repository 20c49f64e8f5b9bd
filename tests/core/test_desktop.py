"""A folder is shown by the machine's own file manager, and only where somebody can see it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from webui.core.desktop import Desktop, find_desktop
from webui.core.errors import NotFound, WebuiError

# Stands for a file manager: writes down which folder it was given.
NOTES_IT = "import os, sys; open(sys.argv[1] + '.part', 'w').write('|'.join(sys.argv[2:])); os.rename(sys.argv[1] + '.part', sys.argv[1])"


@pytest.mark.parametrize("name", ["plain", "-rf", "with spaces", "$(touch x); `y`", "日本"])
def test_a_folder_of_any_name_is_given_to_the_file_manager_whole(tmp_path: Path, name: str) -> None:
    folder, noted = tmp_path / name, tmp_path / "noted.txt"
    folder.mkdir()
    Desktop((sys.executable, "-X", "utf8", "-c", NOTES_IT, str(noted))).show(folder)
    for _ in range(6000):
        if noted.exists():
            break
        time.sleep(0.01)
    assert noted.read_text(encoding="utf-8") == str(folder.resolve())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "noted.txt"])


def test_a_folder_that_is_gone_and_a_file_manager_that_is_missing_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'gone' is not there"):
        Desktop((sys.executable,)).show(tmp_path / "gone")
    with pytest.raises(WebuiError, match="no-such-program cannot be started"):
        Desktop(("no-such-program",)).show(tmp_path)


def test_without_a_desktop_no_folder_is_shown(tmp_path: Path) -> None:
    assert not Desktop()
    with pytest.raises(NotFound, match="only where that has a desktop"):
        Desktop().show(tmp_path)


@pytest.mark.parametrize(
    ("platform", "environ", "installed", "command"),
    [
        ("win32", {}, None, ("explorer",)),
        ("darwin", {}, None, ("open",)),
        ("linux", {"DISPLAY": ":0"}, "/usr/bin/xdg-open", ("/usr/bin/xdg-open",)),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, "/usr/bin/xdg-open", ("/usr/bin/xdg-open",)),
        ("linux", {"DISPLAY": ":0"}, None, ()),
        ("linux", {}, "/usr/bin/xdg-open", ()),
    ],
)
def test_the_file_manager_is_the_systems_and_on_linux_needs_a_screen(
    platform: str, environ: dict[str, str], installed: str | None, command: tuple[str, ...]
) -> None:
    assert find_desktop(platform, environ, lambda _: installed).command == command
