"""Files of upscalers are read without running what is in them, and kept in memory a few at a time."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.engine.upscaler_files import compact_weights, esrgan_weights, nearest_weights, save
from webui.core.errors import ModelError
from webui.engine.convert_weights import converted, weights_in
from webui.engine.device import Device
from webui.engine.image_models import KEPT, ImageModels


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "converted"


@pytest.fixture
def models(cpu: Device, cache: Path) -> ImageModels:
    return ImageModels(cpu, cache)


class Trap:
    """Runs something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("wrapper", ["params_ema", None])
def test_a_pickle_is_converted_once_to_the_same_weights(cache: Path, tmp_path: Path, as_zip: bool, wrapper: str | None) -> None:
    weights = esrgan_weights()
    content = {wrapper: weights, "params": compact_weights()} if wrapper else weights
    path = tmp_path / "old.pth"
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    made = converted(path, cache)
    assert made.suffix == ".safetensors"
    read = load_file(made)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    before = made.stat().st_mtime_ns
    assert converted(path, cache) == made
    assert made.stat().st_mtime_ns == before
    assert list(cache.iterdir()) == [made]


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(cache: Path, tmp_path: Path, as_zip: bool) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "4x-Trap.pth"
    torch.save({"params": compact_weights(), "extra": Trap(sprung)}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ModelError, match=r"4x-Trap\.pth"):
        converted(path, cache)
    assert not sprung.exists()
    assert not list(cache.iterdir())


def test_a_bare_pickle_is_refused_and_runs_nothing(cache: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "bare.safetensors"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError, match=r"bare\.safetensors"):
        converted(path, cache)
    assert not sprung.exists()


def test_what_a_file_is_follows_from_its_bytes_not_its_name(models: ImageModels, tmp_path: Path) -> None:
    path = save(tmp_path / "renamed.pth", nearest_weights())
    assert models.get(path).scale == 2


def test_a_file_without_a_model_says_so(models: ImageModels, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of no architecture that is known here"):
        models.get(save(tmp_path / "other.safetensors", {"something.weight": torch.zeros(3, 3)}))
    with pytest.raises(ModelError, match="holds no weights"):
        weights_in({"epoch": 3}, "empty.pth")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:40])
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        models.get(tmp_path / "cut.safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        models.get(tmp_path / "absent.safetensors")


def test_a_loaded_model_is_kept_and_the_longest_unused_goes_first(models: ImageModels, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.safetensors", compact_weights(number)) for number in range(KEPT + 1)]
    loaded = [models.get(path) for path in paths[:KEPT]]
    assert models.get(paths[0]) is loaded[0]
    models.get(paths[KEPT])
    assert models.get(paths[0]) is loaded[0]
    assert models.get(paths[1]) is not loaded[1]


def test_a_file_that_was_replaced_is_read_again(models: ImageModels, tmp_path: Path) -> None:
    path = save(tmp_path / "one.safetensors", compact_weights(scale=2))
    assert models.get(path).scale == 2
    save(path, compact_weights(scale=4))
    assert models.get(path).scale == 4


def test_a_model_for_grey_sees_each_colour_alone(models: ImageModels, tmp_path: Path) -> None:
    from spandrel.architectures.Compact import Compact

    net = Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2)
    path = save(tmp_path / "grey.safetensors", {name: torch.zeros_like(value) for name, value in net.state_dict().items()})
    pixels = torch.from_numpy(np.random.default_rng(1).random((1, 3, 6, 5), np.float32))
    assert torch.equal(models.get(path)(pixels), pixels.repeat_interleave(2, 2).repeat_interleave(2, 3))
