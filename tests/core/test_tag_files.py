from pathlib import Path

import pytest

from webui.core.tag_files import MAX_FILE_BYTES, Tag, TagFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tags").mkdir()
    return tmp_path / "tags"


def test_lists_are_joined_the_most_used_tag_first_and_each_name_once(folder: Path) -> None:
    (folder / "a.csv").write_text('cat,0,5,"kitty,mieze"\ndog,3,70,\n', encoding="utf-8")
    (folder / "b.csv").write_text("cat,0,900,\nbest quality,5,Quality tag\nbare\n", encoding="utf-8-sig")
    assert TagFiles(folder).tags() == (
        Tag("dog", "3", 70, ""), Tag("cat", "0", 5, "kitty,mieze"), Tag("best quality", "5", 0, ""), Tag("bare", "", 0, ""),
    )  # fmt: skip


def test_a_list_that_changes_is_read_again(folder: Path) -> None:
    files = TagFiles(folder)
    assert files.tags() == ()
    (folder / "a.csv").write_text("cat,0,5,\n")
    assert [tag.name for tag in files.tags()] == ["cat"]
    (folder / "a.csv").write_text("cat,0,5,\ndog,0,9,\n")
    assert [tag.name for tag in files.tags()] == ["dog", "cat"]
    (folder / "a.csv").unlink()
    assert files.tags() == ()


def test_a_folder_that_is_not_there_holds_no_tags(tmp_path: Path) -> None:
    assert TagFiles(tmp_path / "nowhere").tags() == ()


def test_nothing_outside_the_folder_is_read(folder: Path) -> None:
    (folder.parent / "secret.csv").write_text("password,0,1,\n")
    (folder / "link.csv").symlink_to(folder.parent / "secret.csv")
    (folder / "below").mkdir()
    (folder / "below" / "c.csv").write_text("deep,0,1,\n")
    (folder / "notes.txt").write_text("note,0,1,\n")
    assert TagFiles(folder).tags() == ()


def test_hostile_lists_do_no_harm(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b'"never closed\n\x00\xff,0,5,\n' + b"x" * 200_000)
    (folder / "b.csv").write_text("control\x07,0,5,\n" + "y" * 300 + ",0,5,\nfine,0,-3,\n")
    with (folder / "c.csv").open("wb") as large:
        large.write(b"huge,0,5,\n")
        large.truncate(MAX_FILE_BYTES + 1)
    assert [tag.name for tag in TagFiles(folder).tags()] == ["fine"]
