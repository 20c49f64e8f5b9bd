"""Tensors from files into modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.engine.tiny_models import TinyModel
from webui.core.errors import ModelError
from webui.engine.loading import TensorFile, assign_weights, build_skeleton, strip_weights

CPU = torch.device("cpu")
NAMES = {"weight": "a.weight", "bias": "a.bias"}


@pytest.fixture
def file(tmp_path: Path) -> TensorFile:
    generator = torch.Generator().manual_seed(1)
    tensors = {"a.weight": torch.randn(3, 2, generator=generator), "a.bias": torch.randn(3, generator=generator)}
    save_file({**tensors, "b.0.x": torch.ones(1), "b.1.x": torch.ones(1), "b.3.x": torch.ones(1)}, tmp_path / "file.safetensors")
    return TensorFile(tmp_path / "file.safetensors")


def test_a_skeleton_holds_no_numbers() -> None:
    skeleton = build_skeleton(lambda: nn.Linear(10**6, 10**6))
    assert {weight.device.type for weight in skeleton.parameters()} == {"meta"}
    assert not skeleton.training


def test_weights_are_the_files_own(file: TensorFile) -> None:
    linear = build_skeleton(lambda: nn.Linear(2, 3))
    assign_weights(linear, file, NAMES.__getitem__, dtype=torch.float32, device=CPU)
    assert torch.equal(linear.weight, file.tensor("a.weight"))
    assert torch.equal(linear.bias, file.tensor("a.bias"))
    assert not any(weight.requires_grad for weight in linear.parameters())


def test_weights_come_in_the_wanted_dtype(file: TensorFile) -> None:
    linear = build_skeleton(lambda: nn.Linear(2, 3))
    assign_weights(linear, file, NAMES.__getitem__, dtype=torch.bfloat16, device=CPU)
    assert torch.equal(linear.weight, file.tensor("a.weight").bfloat16())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_in_the_files_own_dtype_they_stay_mapped(tiny: TinyModel) -> None:
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    embedding = build_skeleton(lambda: nn.Embedding(49408, 32))
    assign_weights(embedding, TensorFile(tiny.path), lambda _: name, dtype=torch.float32, device=CPU)
    address = embedding.weight.data_ptr()
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tiny.path) in line]
    spans = [[int(number, 16) for number in line.split()[0].split("-")] for line in mapped]
    assert any(begin <= address < end for begin, end in spans)


def test_a_stripped_module_takes_the_next_files_weights(file: TensorFile) -> None:
    linear = build_skeleton(lambda: nn.Linear(2, 3))
    assign_weights(linear, file, NAMES.__getitem__, dtype=torch.float32, device=CPU)
    strip_weights(linear)
    assert linear.weight.is_meta
    assign_weights(linear, file, NAMES.__getitem__, dtype=torch.float32, device=CPU)
    assert torch.equal(linear(torch.eye(2)), torch.nn.functional.linear(torch.eye(2), file.tensor("a.weight"), file.tensor("a.bias")))


def test_counting_stops_at_the_first_gap(file: TensorFile) -> None:
    assert file.count("b.{}.") == 2
    assert file.count("c.{}.") == 0


@pytest.mark.parametrize(("ask", "says"), [("x", "file.safetensors lacks the tensor 'x'"), ("a.bias", "has shape (3,) where 2 dimensions")])
def test_a_shape_that_is_not_there_is_named(file: TensorFile, ask: str, says: str) -> None:
    with pytest.raises(ModelError) as raised:
        file.shape(ask, 2)
    assert says in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00{}{}{}{}"])
def test_a_file_that_is_no_safetensors_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.safetensors cannot be read as a safetensors file"):
        TensorFile(tmp_path / "broken.safetensors")


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.safetensors cannot be read"):
        TensorFile(tmp_path / "gone.safetensors")
