"""Folders that a page may name: only those under the roots, whatever way they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.core.errors import InvalidRequest
from webui.core.server_folders import find_folder, pictures_in, read_picture_file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("data/inputs/cats", "data/outputs", "data/secret", "data/inputs-other"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "data"


def roots(data: Path) -> tuple[Path, Path]:
    return data / "inputs", data / "outputs"


def test_a_folder_under_a_root_is_found_relative_and_absolute(data: Path) -> None:
    wanted = (data / "inputs" / "cats").resolve()
    assert find_folder(" inputs/cats ", roots(data), base=data) == wanted
    assert find_folder(str(wanted), roots(data), base=data) == wanted
    assert find_folder("inputs", roots(data), base=data) == wanted.parent


@pytest.mark.parametrize(
    "named",
    [
        "",
        ".",
        "secret",
        "inputs/../secret",
        "inputs/cats/../../secret",
        "../data/secret",
        "/etc",
        "inputs-other",
        "inputs/none",
        "a\0b",
        "~",
        "inputs/link",
    ],
)
def test_any_other_folder_is_refused_in_the_same_words_whether_it_is_there_or_not(data: Path, named: str) -> None:
    (data / "inputs" / "link").symlink_to(data / "secret")
    with pytest.raises(InvalidRequest, match=r"is not there, or not in inputs/ or outputs/ of the data folder\. Put it there\."):
        find_folder(named, roots(data), base=data)


def test_only_the_pictures_of_the_folder_itself_are_listed(data: Path) -> None:
    folder = data / "inputs" / "cats"
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png"):
        (folder / name).write_bytes(b"x")
    (folder / "more.png").mkdir()
    (folder / "link.png").symlink_to(folder / "b.PNG")
    assert [file.name for file in pictures_in(folder)] == ["a.jpg", "b.PNG"]


def test_a_file_that_is_gone_is_told_by_name(data: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"gone\.png cannot be read"):
        read_picture_file(data / "gone.png")
