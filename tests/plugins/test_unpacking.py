import hashlib
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from tests.plugins.extension_sources import write_files, write_zip
from webui.core.errors import InvalidRequest
from webui.core.extensions import SheetFile
from webui.plugins.install import unpacking
from webui.plugins.install.unpacking import Unpacker, copy_folder, unpack_zip

HOSTILE_PATHS = [
    "../evil.py",
    "a/../../evil.py",
    "/etc/evil.py",
    "a//evil.py",
    "./evil.py",
    "..",
    "a\\..\\..\\evil.py",
    "C:evil.py",
    "evil.py:stream",
    "a\nb.py",
    "a\0b.py",
    "\x1b[2J.py",
    "con.py",
    "a/NUL",
    "trailing.",
    "trailing ",
    ".git/hooks/post-checkout",
    "a/.GIT/config",
    ".site-packages/evil.py",
    ".Site-Packages/evil.py",
    ".installed.json",
    "x" * 201,
    "a/" * 24 + "b",
    "",
]


def test_a_zip_file_becomes_its_files_without_the_folder_around_them(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"extension.py": "x = 1", "a/b.js": "1"}, folder="thing-main/")
    unpacked = unpack_zip(archive, tmp_path / "out")
    assert unpacked.files == (
        SheetFile("a/b.js", 1, hashlib.sha256(b"1").hexdigest()),
        SheetFile("extension.py", 5, hashlib.sha256(b"x = 1").hexdigest()),
    )
    assert (tmp_path / "out" / "a" / "b.js").read_text() == "1"
    flat = write_zip(tmp_path / "y.zip", {"extension.py": "", "a/b.js": ""})
    assert [file.path for file in unpack_zip(flat, tmp_path / "flat").files] == ["a/b.js", "extension.py"]


def test_compiled_python_is_left_out_and_told(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"a.py": "", "__pycache__/a.cpython-311.pyc": "evil", "b.pyc": "evil"})
    unpacked = unpack_zip(archive, tmp_path / "out")
    assert [file.path for file in unpacked.files] == ["a.py"]
    assert unpacked.left_out == ("__pycache__/a.cpython-311.pyc", "b.pyc")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a.py"]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_that_leads_out_is_refused_and_nothing_is_written_outside(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidRequest):
        Unpacker(tmp_path / "out").add(path, [b"evil"])
    assert list(tmp_path.rglob("*")) == [tmp_path / "out"]


@pytest.mark.parametrize("path", ["../evil.py", "a/../../evil.py", "/evil.py", "a\\..\\evil.py", "x/.git/config"])
def test_a_zip_file_with_such_a_path_writes_nothing_at_all(tmp_path: Path, path: str) -> None:
    archive = write_zip(tmp_path / "x.zip", {"fine.py": "", path: "evil"})
    with pytest.raises(InvalidRequest):
        unpack_zip(archive, tmp_path / "in" / "out")
    assert [one for one in (tmp_path / "in").rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_in_a_zip_file_is_refused(tmp_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidRequest, match="link"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out")


def test_a_bomb_is_refused_by_what_it_says_of_itself(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"extension.py": b"\0" * 30_000_000})
    with pytest.raises(InvalidRequest, match="would become 30 MB"):
        unpack_zip(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bomb_that_lies_about_itself_writes_no_more_than_it_says(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"extension.py": b"\0" * 30_000_000})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 1000)
    archive.write_bytes(data)
    with pytest.raises(InvalidRequest):
        unpack_zip(archive, tmp_path / "out")
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= 1000


def test_more_files_and_bytes_than_an_extension_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "x.zip", {str(number): "12345" for number in range(10)})
    monkeypatch.setattr(unpacking, "MAX_FILES", 9)
    with pytest.raises(InvalidRequest, match="10 files"):
        unpack_zip(archive, tmp_path / "one")
    monkeypatch.setattr(unpacking, "MAX_FILES", 10)
    unpack_zip(archive, tmp_path / "two")
    monkeypatch.setattr(unpacking, "MAX_TOTAL", 49)
    unpacker = Unpacker(tmp_path / "three")
    unpacker.add("a", [b"x" * 40])
    with pytest.raises(InvalidRequest, match="larger than"):
        unpacker.add("b", iter([b"x" * 9, b"x", b"never read"]))


@pytest.mark.parametrize("paths", [("a.py", "A.py"), ("a.py", "a.py"), ("a", "a/b"), ("a/b", "a")])
def test_two_files_in_one_place_are_refused(tmp_path: Path, paths: tuple[str, str]) -> None:
    unpacker = Unpacker(tmp_path / "out")
    unpacker.add(paths[0], [b""])
    with pytest.raises(InvalidRequest, match=r"twice|at once"):
        unpacker.add(paths[1], [b""])


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 10])
def test_what_is_no_zip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "out")


def test_a_damaged_and_an_encrypted_zip_file_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"extension.py": "x = 1\n" * 100})
    data = bytearray(archive.read_bytes())
    data[45:50] = b"\xff" * 5
    archive.write_bytes(data)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        unpack_zip(archive, tmp_path / "out")
    data = bytearray(write_zip(tmp_path / "y.zip", {"extension.py": "x"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    with pytest.raises(InvalidRequest, match="encrypted"):
        unpack_zip(tmp_path / "y.zip", tmp_path / "two")


def test_a_folder_is_copied_without_what_is_gits_and_ours(tmp_path: Path) -> None:
    files = {"extension.py": "x", ".git/config": "", ".gitignore": "", ".site-packages/p.py": "", ".installed.json": "", "a/b.pyc": ""}
    unpacked = copy_folder(write_files(tmp_path / "in", files), tmp_path / "out")
    assert [file.path for file in unpacked.files] == [".gitignore", "extension.py"]
    assert unpacked.left_out == ("a/b.pyc",)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_folder_with_a_link_to_a_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for target in ("/etc/passwd", "/etc"):
        source = write_files(tmp_path / target.replace("/", "_"), {"extension.py": "x"})
        (source / "link").symlink_to(target)
        with pytest.raises(InvalidRequest, match="link"):
            copy_folder(source, tmp_path / f"out{target.replace('/', '_')}")
