"""Models that torch.save wrote: mapped and drawn with, never unpickled."""

from __future__ import annotations

import argparse
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.studio import Studio, work_for
from tests.engine.tiny_models import LoneVae, TinyModel
from webui.core.errors import ModelError
from webui.engine import loading
from webui.engine.loading import TensorFile


def pickled(model: Path, target: Path, **beside: Any) -> Path:
    """A checkpoint as its training program saved it."""
    torch.save({"state_dict": load_file(model), "global_step": 470_000, **beside}, target)
    return target


@pytest.fixture
def described(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle cannot say what the shapes of tiny models leave open; those of the real ones do not."""
    monkeypatch.setattr(loading._TorchZip, "metadata", tiny.shape.metadata)


def test_every_tensor_is_the_one_that_was_saved(tmp_path: Path) -> None:
    base = torch.randn(6, 8)
    content = {
        "whole": base, "turned": base.t(), "part": base[1:4, ::2], "half": torch.randn(5).half(), "brain": torch.randn(3).bfloat16(),
        "count": torch.tensor(7), "empty": torch.zeros(0, 3), "eight": torch.randn(4).to(torch.float8_e4m3fn),
    }  # fmt: skip
    torch.save(content, tmp_path / "m.pt")
    file = TensorFile(tmp_path / "m.pt")
    assert file.names == content.keys()
    for name, tensor in content.items():
        assert file.shape(name, tensor.ndim) == tuple(tensor.shape)
        read = file.tensor(name)
        assert read.dtype == tensor.dtype
        assert torch.equal(read.float(), tensor.float())


@pytest.mark.usefixtures("described")
def test_a_ckpt_draws_what_the_same_weights_draw_as_safetensors(deterministic_studio: Studio, tiny: TinyModel, tmp_path: Path) -> None:
    ckpt = pickled(tiny.path, tmp_path / "old.ckpt", callbacks={argparse.Namespace: {"best": 1}})
    expected = deterministic_studio.pictures(work_for(tiny.path))[0]
    assert np.array_equal(deterministic_studio.pictures(work_for(ckpt))[0], expected)


@pytest.mark.usefixtures("described")
def test_a_pickled_vae_draws_as_the_same_vae(deterministic_studio: Studio, tiny: TinyModel, lone_vae: LoneVae, tmp_path: Path) -> None:
    work = work_for(tiny.path, vae=lone_vae.path)
    expected = deterministic_studio.pictures(work)[0]
    vae = pickled(lone_vae.path, tmp_path / "v.vae.pt")
    assert np.array_equal(deterministic_studio.pictures(replace(work, vae=vae))[0], expected)


@pytest.mark.parametrize("damage", ["short", "garbage", "missing"])
def test_a_damaged_file_is_told_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.ckpt"
    torch.save({"a": torch.zeros(1000)}, path)
    data = path.read_bytes()
    if damage == "short":
        path.write_bytes(data[:2000])
    elif damage == "garbage":
        path.write_bytes(data[:4] + b"\xff" * (len(data) - 4))
    else:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "n.ckpt", "w") as new:
            for entry in old.infolist():
                if "/data/" not in entry.filename:
                    new.writestr(entry.filename, old.read(entry))
        path = tmp_path / "n.ckpt"
    with pytest.raises(ModelError, match=rf"^{path.name} "):
        TensorFile(path)


def test_weights_stored_in_eight_bits_draw_nearly_as_in_sixteen(studio: Studio, tiny: TinyModel, tmp_path: Path) -> None:
    file = TensorFile(tiny.path)
    small = {name: file.tensor(name) for name in file.names}
    small = {name: one.to(torch.float8_e4m3fn) if "diffusion_model" in name and one.ndim > 1 else one for name, one in small.items()}
    save_file({name: one.contiguous() for name, one in small.items()}, tmp_path / "eight.safetensors", dict(file.metadata))
    rounded = {name: one.to(torch.float32) for name, one in small.items()}
    save_file(rounded, tmp_path / "rounded.safetensors", dict(file.metadata))
    eight, same = (studio.pictures(work_for(tmp_path / f"{name}.safetensors"))[0] for name in ("eight", "rounded"))
    assert abs(eight - same).max() <= 1
