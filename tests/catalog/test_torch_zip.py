import collections
import io
import os
import pickle
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.model_files import write_torch_zip
from webui.catalog import torch_zip
from webui.catalog.torch_zip import check_torch_zip
from webui.core.errors import ModelError


def check(path):
    with path.open("rb") as file:
        return check_torch_zip(file)


def test_texts_and_storages_of_a_sound_file_are_told(tmp_path):
    content = {"string_to_param": collections.OrderedDict({"*": "x"}), "name": "inner", "step": 5}
    found = check(write_torch_zip(tmp_path / "a.pt", content, storages=3))
    assert found.texts >= {"string_to_param", "*", "name", "inner"}
    assert found.storages == 3


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(("pickled", "reason"), [
    (pickle.dumps(Runs(), 2), r"asks for '(posix|nt).system', which plain tensors never need, and which could run code"),
    (b"\x80\x02c__builtin__\neval\n.", "asks for '__builtin__.eval'"),
    (b"\x80\x02ctorch\nload\n.", "asks for 'torch.load'"),
    (pickle.dumps(Runs(), 4), r"plain tensors would not need \(STACK_GLOBAL\)"),
    (b"(S'x'\nios\nsystem\n.", r"plain tensors would not need \(INST\)"),
    (b"\x80\x02\x82\x01.", r"plain tensors would not need \(EXT1\)"),
    (b"\x80\x02}", "damaged"),
    (b"no pickle", "damaged"),
    (b"", "damaged"),
])  # fmt: skip
def test_a_pickle_that_asks_for_more_than_tensors_is_refused_without_loading_it(tmp_path, pickled, reason):
    with pytest.raises(ModelError, match=reason):
        check(write_torch_zip(tmp_path / "a.pt", pickled=pickled))


def test_a_zip_without_a_pickle_is_not_pytorchs(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="not one that PyTorch has written"):
        check(tmp_path / "a.pt")


def test_two_pickles_are_one_too_many(tmp_path):
    write_torch_zip(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps({}, 2))
    with pytest.raises(ModelError, match="not one that PyTorch has written"):
        check(tmp_path / "a.pt")


def test_a_compressed_file_is_refused_before_it_can_grow(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    with pytest.raises(ModelError, match="is compressed"):
        check(tmp_path / "a.pt")


def test_parts_that_overlap_are_refused(tmp_path):
    """A zip bomb without compression: many entries of the directory that are one part of the file."""
    write_torch_zip(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        archive.writestr("archive/data/9", bytes(5000))
        archive.filelist += [archive.filelist[-1]] * 1000
        archive._didModify = True
    with pytest.raises(ModelError, match="overlap"):
        check(tmp_path / "a.pt")


def test_a_pickle_larger_than_any_models_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_zip, "MAX_PICKLE", 50)
    with pytest.raises(ModelError, match="at most 50 are accepted"):
        check(write_torch_zip(tmp_path / "a.pt", "x" * 50))


def test_a_directory_larger_than_any_models_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write_torch_zip(tmp_path / "a.pt")
    monkeypatch.setattr(torch_zip, "MAX_DIRECTORY", 100)
    monkeypatch.setattr(torch_zip.zipfile, "ZipFile", None)
    with pytest.raises(ModelError, match="far more tensors"):
        check(path)


@pytest.mark.parametrize("keep", [4, 30, 100, -1, -22])
def test_a_truncated_file_is_refused_as_cut_short(tmp_path, keep):
    path = write_torch_zip(tmp_path / "a.pt", {"a": 1})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cut short"):
        check(path)


@given(st.data())
def test_any_damage_is_refused_or_harmless(tmp_path_factory, data):
    path = write_torch_zip(tmp_path_factory.mktemp("zip") / "a.pt", {"name": "x"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        check_torch_zip(io.BytesIO(bytes(content)))
    except ModelError:
        pass
