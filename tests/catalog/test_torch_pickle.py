"""Reading what a pickle describes without running it, against what torch itself writes and reads."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from webui.catalog.identify import identify
from webui.catalog.torch_pickle import Foreign, StoredTensor, read_pickle, tensors_in
from webui.core.errors import ModelError


def pickled(content: Any) -> bytes:
    """The pickle that torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return archive.read("archive/data.pkl")


def test_shapes_strides_and_offsets_are_those_that_torch_wrote() -> None:
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "whole": base, "turned": base.t(), "part": base[1:3, 2:5], "half": torch.ones(3).half(), "scalar": torch.tensor(5),
        "parameter": nn.Parameter(torch.zeros(2, 2)), "empty": torch.zeros(0, 3),
    }  # fmt: skip
    read = read_pickle(pickled(content))
    assert {name: (one.shape, one.stride, one.offset) for name, one in read.items()} == {
        name: (tuple(one.shape), one.stride(), one.storage_offset()) for name, one in content.items()
    }
    assert read["whole"].storage == read["part"].storage
    assert read["half"].storage.kind == "HalfStorage"


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=30,
))  # fmt: skip
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_data_is_what_pickle_itself_reads(protocol: int, data: Any) -> None:
    if protocol < 3 and re.search(r"b['\"]", repr(data)):
        return  # bytes are calls of a function there
    assert read_pickle(pickle.dumps(data, protocol)) == data


def test_what_training_programs_leave_beside_the_weights_is_passed_over() -> None:
    class ModelCheckpoint:
        best = 0.5

    ModelCheckpoint.__module__, ModelCheckpoint.__qualname__ = "pytorch_lightning.callbacks", "ModelCheckpoint"
    content = pickle.dumps({"hparams": argparse.Namespace(lr=1e-4), "epoch": 3, "order": collections.OrderedDict(a=1)}, 2)
    read = read_pickle(content)
    assert isinstance(read["hparams"], Foreign)
    assert (read["epoch"], read["order"]) == (3, {"a": 1})


@pytest.mark.parametrize("wrap", [
    lambda weights: weights, lambda weights: {"state_dict": weights, "epoch": 1, "callbacks": {argparse.Namespace: 1}},
    lambda weights: {"model_state_dict": weights},
])  # fmt: skip
def test_the_weights_are_found_in_their_wrapping(wrap: Callable[[Any], Any]) -> None:
    read = read_pickle(pickled(wrap({"a": torch.ones(2), "note": "x", "b": torch.ones(3)})))
    assert {name: one.shape for name, one in tensors_in(read).items()} == {"a": (2,), "b": (3,)}


class Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made",)


@pytest.mark.parametrize(("content", "reason"), [
    (pickle.dumps(Runs(), 2), "asks for '(posix|nt).mkdir'"),
    (pickle.dumps(Runs(), 4), "asks for '(posix|nt).mkdir'"),
    (b"\x80\x02c__builtin__\neval\n.", "asks for '__builtin__.eval'"),
    (b"\x80\x02cbuiltins\ngetattr\n.", "asks for 'builtins.getattr'"),
    (b"(S'x'\nios\nsystem\n.", r"would not need \(INST\)"),
    (b"\x80\x02\x82\x01.", r"would not need \(EXT1\)"),
    (b"\x80\x02}", "damaged"),
    (b"\x80\x02h\x05.", "damaged"),
    (b"\x80\x020.", "damaged"),
    (b"\x80\x02.", "damaged"),
    (b"(lp0\n(dp1\n(lu.", "damaged"),
    (b"no pickle", "damaged"),
    (b"", "damaged"),
])  # fmt: skip
def test_what_a_hostile_pickle_asks_for_never_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=reason):
        read_pickle(content)
    assert not (tmp_path / "made").exists()


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_read_and_nothing_else(data: bytes) -> None:
    try:
        read_pickle(b"\x80\x02" + data + b".")
    except ModelError:
        pass


def test_every_changed_byte_of_a_sound_pickle_is_refused_or_read() -> None:
    sound = pickled({"state_dict": {"a": torch.ones(2, 3), "b": torch.zeros(4)}})
    for place in range(len(sound)):
        for value in (0, 40, 82, 113, 255):
            try:
                content = read_pickle(sound[:place] + bytes([value]) + sound[place + 1 :])
                read = tensors_in(content)
            except ModelError:
                continue
            assert all(isinstance(one, StoredTensor) for one in read.values())


@pytest.mark.parametrize("content", [
    b"\x80\x02(" + b"(" * 200_000 + b".",
    b"\x80\x02]q\x00" + b"h\x00h\x00a" * 100_000 + b".",
    b"\x80\x02}q\x00(" + b"h\x00h\x00" * 10 + b"u.",
], ids=["marks", "itself", "unhashable"])  # fmt: skip
def test_bombs_end_quickly(content: bytes) -> None:
    began = time.monotonic()
    try:
        read_pickle(content)
    except ModelError:
        pass
    assert time.monotonic() - began < 30


def test_a_list_that_is_copied_again_and_again_is_refused() -> None:
    pairs = b"]q\x00(" + b"K\x01K\x02\x86" * 1000 + b"eh\x00\x85q\x01"
    copy = b"ccollections\nOrderedDict\nh\x01R0"
    assert read_pickle(b"\x80\x02" + pairs + copy * 10 + b"K\x07.") == 7
    with pytest.raises(ModelError, match="over and over"):
        read_pickle(b"\x80\x02" + pairs + copy * 1001 + b"K\x07.")


def test_a_tensor_beyond_its_storage_is_refused() -> None:
    sound = pickled({"x": torch.zeros(3)})
    place = sound.index(b"K\x03\x85")
    with pytest.raises(ModelError, match="larger than what is stored"):
        read_pickle(sound[:place] + b"K\x04\x85" + sound[place + 3 :])


def test_a_pickled_checkpoint_is_told_by_the_shapes_of_its_tensors(tmp_path: Path) -> None:
    names = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": torch.zeros(77, 8),
    }
    torch.save({"state_dict": names, "global_step": 1}, tmp_path / "inpaint.ckpt")
    assert identify(tmp_path / "inpaint.ckpt").family == "sd1-inpaint"
