import io
import os
import pickle
import time
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tests.engine.adapters.torch_files import hostile, with_pickle, write_torch
from webui.core.errors import ModelError
from webui.engine.adapters.legacy import read_torch_file


def test_dictionaries_numbers_texts_and_tensors_are_read(tmp_path):
    content = {"a": torch.arange(4.0), 768: ({"w": torch.ones(2, 3).half()}, None), "step": 3, "name": "x", "on": True, "list": [1, 0.5]}
    read = read_torch_file(write_torch(tmp_path / "a.pt", content))
    assert torch.equal(read["a"], content["a"])
    assert torch.equal(read[768][0]["w"], content[768][0]["w"])
    assert (read["step"], read["name"], read["on"], read["list"]) == (3, "x", True, [1, 0.5])


def test_parameters_and_parameter_dictionaries_become_plain_tensors(tmp_path):
    vectors = nn.Parameter(torch.randn(2, 8))
    trusted = torch.serialization.get_safe_globals()
    read = read_torch_file(write_torch(tmp_path / "a.pt", {"one": vectors, "dict": nn.ParameterDict({"*": vectors})}))
    assert type(read["one"]) is torch.Tensor
    assert type(read["dict"]) is dict
    assert torch.equal(read["dict"]["*"], vectors)
    assert not read["dict"]["*"].requires_grad
    assert set(torch.serialization.get_safe_globals()) == set(trusted)


def test_tensors_read_within_inference_mode_can_be_used_outside_of_it(tmp_path):
    with torch.inference_mode():
        read = read_torch_file(write_torch(tmp_path / "a.pt", {"a": torch.ones(2)}))
    read["a"].add_(1)


@pytest.mark.parametrize(("function", "arguments", "name"), [
    (os.system, ("true",), "system"),
    (eval, ("1",), "eval"),
    (bytearray, (10,), "bytearray"),
    (torch.load, ("x",), "torch.serialization.load"),
])  # fmt: skip
def test_a_file_that_would_run_something_is_refused_with_its_name(tmp_path, function, arguments, name):
    with pytest.raises(ModelError, match=rf"a\.pt asks for '.*{name}', which plain tensors never need"):
        read_torch_file(hostile(tmp_path / "a.pt", function, *arguments))


def test_what_hostile_files_ask_for_never_happens(tmp_path):
    with pytest.raises(ModelError):
        read_torch_file(hostile(tmp_path / "a.pt", os.mkdir, str(tmp_path / "made")))
    assert not (tmp_path / "made").exists()


def test_a_pickle_without_a_zip_around_it_is_refused_unread(tmp_path):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ModelError, match=r"a\.pt is no file that PyTorch 1\.6 or later has written"):
        read_torch_file(tmp_path / "a.pt")


def test_a_missing_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.pt cannot be read"):
        read_torch_file(tmp_path / "gone.pt")


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(3)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        pickled = archive.read("archive/data.pkl")
    # Its shape, (3,), becomes (2**30,) with the stride 0.
    place = pickled.index(b"K\x03\x85")
    huge = pickled[:place] + b"J\x00\x00\x00\x40\x85" + pickled[place + 3 :].replace(b"K\x01\x85", b"K\x00\x85", 1)
    with pytest.raises(ModelError, match="larger than the file"):
        read_torch_file(with_pickle(tmp_path / "a.pt", huge, template={"x": torch.zeros(3)}))


def test_lists_that_contain_one_another_many_times_are_read_in_linear_time(tmp_path):
    nested = [0] * 20
    for _ in range(6):
        nested = [nested] * 20
    started = time.process_time()
    read_torch_file(write_torch(tmp_path / "a.pt", nested))
    assert time.process_time() - started < 10


def test_nesting_deeper_than_any_model_is_refused(tmp_path):
    nested = []
    for _ in range(200):
        nested = [nested]
    with pytest.raises(ModelError, match="holds a list"):
        read_torch_file(write_torch(tmp_path / "a.pt", nested))


def test_other_objects_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds a complex|asks for"):
        read_torch_file(write_torch(tmp_path / "a.pt", {"x": 1j}))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_anything_else(tmp_path, data):
    buffer = io.BytesIO()
    torch.save({"string_to_param": {"*": torch.ones(2, 8)}, "step": 5}, buffer)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.pt"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        read_torch_file(path)
    except ModelError:
        pass


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_pickle_in_a_zip_is_read_or_refused(tmp_path, pickled):
    try:
        read_torch_file(with_pickle(tmp_path / "a.pt", b"\x80\x02" + pickled + b"."))
    except ModelError:
        pass
