"""Preprocessors: those without weights do what their names say, those with weights read them safely and keep the picture's shape."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from webui.core.errors import InvalidRequest, ModelError, NotFound, UnknownName
from webui.core.ports import AnnotationOptions
from webui.core.preprocessors import PREPROCESSORS, find_preprocessor
from webui.engine.annotator_filters import FILTERS
from webui.engine.annotator_networks import NETWORKS, aux
from webui.engine.annotators import KEPT, Annotators


@pytest.fixture
def annotators(tmp_path: Path) -> Annotators:
    return Annotators(tmp_path, torch.device("cpu"))


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A bright disc on dark ground, with a dark line through it."""
    picture = Image.new("RGB", (width, height), (40, 30, 60))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((24, 12, 72, 52), fill=(220, 200, 90))
    draw.line((30, 32, 66, 32), fill=(90, 60, 20), width=2)
    return picture


def made(annotators: Annotators, module: str, picture: Image.Image | None = None, **options: Any) -> np.ndarray:
    options = {"resolution": 64, **options}
    return np.asarray(annotators.annotate(module, picture or scene(), AnnotationOptions(**options))).astype(int)


def test_every_preprocessor_that_can_be_asked_for_is_there_once() -> None:
    names = {one.name for one in PREPROCESSORS}
    assert names == FILTERS.keys() | NETWORKS.keys()
    assert not FILTERS.keys() & NETWORKS.keys()
    assert all(bool(one.files) == bool(one.folder) == (one.name in NETWORKS) for one in PREPROCESSORS)


@pytest.mark.parametrize("module", sorted(FILTERS))
def test_without_weights_it_works_at_once_and_gives_the_same_again(annotators: Annotators, module: str) -> None:
    once = made(annotators, module)
    assert once.shape[2] == 3
    assert np.array_equal(once, made(annotators, module))
    if find_preprocessor(module).resolution and module != "none":
        assert min(made(annotators, module, resolution=128).shape[:2]) == 128


def test_canny_draws_the_edges_and_nothing_else(annotators: Annotators) -> None:
    edges = made(annotators, "canny")
    assert set(np.unique(edges)) == {0, 255}
    assert edges[32, 20:28].max() == 255
    assert edges[:8].max() == 0
    assert (made(annotators, "canny", a=255, b=256) > 0).sum() <= (edges > 0).sum()


def test_invert_is_its_own_undoing(annotators: Annotators) -> None:
    assert np.array_equal(255 - made(annotators, "invert"), np.asarray(scene()))


def test_lineart_standard_and_scribbles_show_dark_lines_bright(annotators: Annotators) -> None:
    for module in ("lineart_standard", "scribble_xdog"):
        found = made(annotators, module)[..., 0]
        assert found[31:34, 40:56].mean() > found[20:24, 40:56].mean() + 50


def test_a_flat_picture_has_no_lines(annotators: Annotators) -> None:
    flat = Image.new("RGB", (64, 64), "grey")
    for module in ("lineart_standard", "scribble_xdog", "canny"):
        assert made(annotators, module, flat).max() == 0


def test_threshold_is_white_where_all_channels_are_bright(annotators: Annotators) -> None:
    found = made(annotators, "threshold", a=80)
    assert found[20, 48].tolist() == [255] * 3
    assert found[2, 2].tolist() == [0] * 3
    assert made(annotators, "threshold", a=95)[20, 48].tolist() == [0] * 3  # its blue is 90


def test_blur_and_tile_lose_detail(annotators: Annotators) -> None:
    assert made(annotators, "blur_gaussian", a=9.0).std() < np.asarray(scene()).std()
    assert made(annotators, "tile_resample", a=2.0).shape == (32, 48, 3)
    assert np.array_equal(made(annotators, "tile_resample", a=1.0), np.asarray(scene()))


@pytest.mark.parametrize("module", ["recolor_luminance", "recolor_intensity"])
def test_recolouring_keeps_the_brightness_alone(annotators: Annotators, module: str) -> None:
    found = made(annotators, module)
    assert (found == found[..., :1]).all()
    assert found[20, 48, 0] > found[2, 2, 0]
    assert made(annotators, module, a=2.0).mean() < found.mean()


def test_intensity_is_the_brightest_channel(annotators: Annotators) -> None:
    assert made(annotators, "recolor_intensity")[20, 48].tolist() == [220] * 3


def test_shuffling_keeps_colours_and_loses_places(annotators: Annotators) -> None:
    found = made(annotators, "shuffle")
    assert not np.array_equal(found, np.asarray(scene()))
    assert set(map(tuple, found.reshape(-1, 3)[::97])) & {(220, 200, 90), (40, 30, 60)}


def test_a_picture_that_would_grow_beyond_all_memory_is_refused(annotators: Annotators) -> None:
    with pytest.raises(InvalidRequest, match="Lower the resolution"):
        annotators.annotate("canny", Image.new("RGB", (20_000, 1)), AnnotationOptions(2048))


def test_an_unknown_preprocessor_is_told_the_nearest(annotators: Annotators) -> None:
    with pytest.raises(UnknownName, match="canny"):
        annotators.annotate("cany", scene(), AnnotationOptions())


@pytest.mark.parametrize("module", sorted(NETWORKS))
def test_a_missing_file_is_named_with_the_place_where_it_goes(annotators: Annotators, module: str) -> None:
    wanted = find_preprocessor(module)
    with pytest.raises(NotFound) as error:
        annotators.annotate(module, scene(), AnnotationOptions())
    assert wanted.files[0] in str(error.value)
    assert f"models/ControlNetPreprocessor/{wanted.folder}" in str(error.value)


def weights_of(module: str) -> Any:
    """Random weights as the published files hold them."""
    torch.manual_seed(1)
    if module == "hed":
        return aux("hed").ControlNetHED_Apache2().state_dict()
    if module == "pidinet":
        return {"state_dict": {f"module.{name}": weight for name, weight in aux("pidi").pidinet().state_dict().items()}}
    if module == "te_hed":
        return aux("teed").TED().state_dict()
    if module == "mlsd":
        return aux("mlsd").MobileV2_MLSD_Large().state_dict()
    return aux("lineart").Generator(3, 1, 3).state_dict()


def store(folder: Path, module: str, weights: Any) -> Path:
    wanted = find_preprocessor(module)
    path = folder / wanted.folder / wanted.files[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return path


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("module", ["hed", "pidinet", "te_hed", "lineart", "mlsd"])
def test_a_network_with_its_weights_keeps_the_pictures_shape_without_asking_the_network(
    annotators: Annotators, tmp_path: Path, module: str
) -> None:
    store(tmp_path, module, weights_of(module))
    found = made(annotators, module, scene(90, 70), resolution=64)
    assert found.shape == (64, 82, 3)


def test_the_networks_that_were_used_last_are_kept(annotators: Annotators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    for module in ("te_hed", "lineart", "lineart_coarse"):
        store(tmp_path, module, weights_of(module))
    real = dict(NETWORKS)

    def noting(name: str, files: Any) -> Any:
        built.append(name)
        return real[name](files)

    monkeypatch.setattr("webui.engine.annotators.NETWORKS", {name: partial(noting, name) for name in real})
    for module in ("te_hed", "lineart", "te_hed", "lineart_coarse", "te_hed", "lineart"):
        made(annotators, module)
    assert built == ["te_hed", "lineart", "lineart_coarse", "lineart"]
    assert KEPT == 2


class Hostile:
    """A pickle that writes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("module", ["hed", "pidinet", "lineart", "openpose", "mlsd", "te_hed", "lineart_anime"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(annotators: Annotators, tmp_path: Path, module: str) -> None:
    mark = tmp_path / "was run"
    store(tmp_path, module, {"state_dict": Hostile(mark)})
    with pytest.raises(ModelError, match="cannot be read as plain weights"):
        made(annotators, module)
    assert not mark.exists()


@pytest.mark.parametrize("weights", [{"x": torch.zeros(2)}, {"state_dict": 5}, [1], {}])
@pytest.mark.parametrize("module", ["hed", "pidinet"])
def test_weights_of_something_else_are_refused(annotators: Annotators, tmp_path: Path, module: str, weights: Any) -> None:
    store(tmp_path, module, weights)
    with pytest.raises(ModelError, match="does not hold the weights"):
        made(annotators, module)


def test_a_file_cut_short_is_refused(annotators: Annotators, tmp_path: Path) -> None:
    path = store(tmp_path, "te_hed", weights_of("te_hed"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="Download it again"):
        made(annotators, "te_hed")
