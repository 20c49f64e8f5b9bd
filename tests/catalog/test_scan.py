import os
from pathlib import Path

import pytest

from webui.catalog.scan import natural_key, scan

SUFFIXES = frozenset({".safetensors", ".ckpt"})


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(*roots: Path) -> list[str]:
    return [file.name for file in scan(roots, SUFFIXES).files]


def faults(*roots: Path) -> dict[str, str]:
    return {broken.name: broken.reason for broken in scan(roots, SUFFIXES).broken}


def test_files_are_found_below_the_root_by_their_relative_path(tmp_path):
    put(tmp_path / "a.safetensors")
    put(tmp_path / "sub" / "deep" / "b.ckpt")
    put(tmp_path / "notes.txt")
    assert names(tmp_path) == ["a.safetensors", "sub/deep/b.ckpt"]


def test_names_are_sorted_as_people_count(tmp_path):
    for name in ("v10", "v2", "V1", "x"):
        put(tmp_path / f"{name}.safetensors")
    assert names(tmp_path) == ["V1.safetensors", "v2.safetensors", "v10.safetensors", "x.safetensors"]


def test_digits_of_other_scripts_do_not_disturb_sorting():
    assert sorted(["²", "٣", "10", "9"], key=natural_key)[:2] == ["9", "10"]


def test_suffixes_count_in_any_case(tmp_path):
    put(tmp_path / "a.SafeTensors")
    assert names(tmp_path) == ["a.SafeTensors"]


def test_unfinished_and_hidden_files_are_no_models(tmp_path):
    put(tmp_path / "._a.safetensors")
    assert names(tmp_path) == []
    assert faults(tmp_path) == {}


def test_size_and_time_are_those_of_the_file(tmp_path):
    path = put(tmp_path / "a.safetensors", b"12345")
    (file,) = scan([tmp_path], SUFFIXES).files
    assert (file.size, file.mtime_ns) == (5, path.stat().st_mtime_ns)


def test_stem_and_model_name_follow_from_the_name(tmp_path):
    put(tmp_path / "sub" / "b.v1.safetensors")
    (file,) = scan([tmp_path], SUFFIXES).files
    assert (file.stem, file.model_name) == ("b.v1", "sub_b.v1")


def test_a_missing_root_is_as_good_as_an_empty_one(tmp_path):
    assert scan([tmp_path / "missing"], SUFFIXES).files == ()
    assert scan([tmp_path / "missing"], SUFFIXES).broken == ()


def test_linked_folders_are_followed(tmp_path):
    put(tmp_path / "elsewhere" / "a.safetensors")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert names(root) == ["link/a.safetensors"]


def test_loops_of_links_end(tmp_path):
    put(tmp_path / "a" / "m.safetensors")
    put(tmp_path / "b" / "n.safetensors")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert names(tmp_path) == ["a/m.safetensors", "b/n.safetensors"]


def test_a_file_reached_twice_is_listed_once_by_its_real_name(tmp_path):
    put(tmp_path / "z" / "m.safetensors")
    (tmp_path / "a_link").symlink_to(tmp_path / "z")
    (tmp_path / "another.safetensors").symlink_to(tmp_path / "z" / "m.safetensors")
    assert names(tmp_path) == ["z/m.safetensors"]


def test_a_file_reached_by_two_roots_is_listed_once(tmp_path):
    put(tmp_path / "one" / "m.safetensors")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert names(tmp_path / "one", tmp_path / "two", tmp_path) == ["m.safetensors"]


def test_of_two_files_with_one_name_the_first_root_keeps_it(tmp_path):
    first = put(tmp_path / "one" / "m.safetensors", b"first")
    second = put(tmp_path / "two" / "m.safetensors", b"second")
    third = put(tmp_path / "far" / "two" / "m.safetensors", b"third")
    files = scan([tmp_path / "one", tmp_path / "two", tmp_path / "far" / "two"], SUFFIXES).files
    assert {file.name: file.path for file in files} == {
        "m.safetensors": first, "two/m.safetensors": second, "two-2/m.safetensors": third,
    }  # fmt: skip


def test_a_broken_link_is_told(tmp_path):
    (tmp_path / "m.safetensors").symlink_to(tmp_path / "gone.safetensors")
    (tmp_path / "self.safetensors").symlink_to(tmp_path / "self.safetensors")
    assert faults(tmp_path) == {"m.safetensors": "is a broken link", "self.safetensors": "is a broken link"}


def test_an_empty_file_is_told(tmp_path):
    put(tmp_path / "m.safetensors", b"")
    assert faults(tmp_path) == {"m.safetensors": "is empty; download it again"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_under_a_models_name_is_told(tmp_path):
    os.mkfifo(tmp_path / "m.safetensors")
    assert faults(tmp_path) == {"m.safetensors": "is not a regular file"}


def test_a_folder_under_a_models_name_is_a_folder(tmp_path):
    put(tmp_path / "set.safetensors" / "m.safetensors")
    assert names(tmp_path) == ["set.safetensors/m.safetensors"]


def test_a_forbidden_folder_is_told(tmp_path, monkeypatch):
    put(tmp_path / "m.safetensors")
    (tmp_path / "secret").mkdir()
    scandir = os.scandir

    def forbidding(path):
        # Permissions themselves would not do: tests may run as root, who may enter everything.
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    assert faults(tmp_path) == {"secret": "cannot be opened: Permission denied"}
    assert names(tmp_path) == ["m.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_a_name_that_is_no_text_is_told_and_printable(tmp_path):
    try:
        put(tmp_path / os.fsdecode(b"m\xff.safetensors"))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert faults(tmp_path) == {"m?.safetensors": "has a name that is not valid UTF-8; rename it"}
    assert names(tmp_path) == []
