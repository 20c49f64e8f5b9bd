"""Pictures are made larger by real architectures, and no tile's edge is seen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.upscaler_files import compact_weights, esrgan_weights, nearest_weights, save, whole
from webui.core.errors import InvalidRequest, OutOfMemory
from webui.core.settings import Settings
from webui.core.upscalers import Upscaler
from webui.engine.device import Device
from webui.engine.image_models import ImageModels
from webui.engine.upscale import Stopped, Tiling, apply_model, tiling_of, upscale, upscaling


@pytest.fixture
def models(cpu: Device, tmp_path: Path) -> ImageModels:
    return ImageModels(cpu, tmp_path / "converted")


def speckled(width: int, height: int, seed: int = 3) -> Image.Image:
    """Soft noise, in which every seam would be seen."""
    values = np.random.default_rng(seed).integers(0, 256, (height // 4 + 2, width // 4 + 2, 3), np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def levels(pixels: torch.Tensor) -> np.ndarray:
    return (pixels[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(int)


def of_file(tmp_path: Path, weights: dict[str, torch.Tensor], name: str = "tiny") -> Upscaler:
    return Upscaler(name, save(tmp_path / f"{name}.safetensors", weights), "ESRGAN")


@pytest.mark.parametrize("weights", [esrgan_weights(), compact_weights(), compact_weights(scale=4)])
def test_a_picture_given_whole_becomes_what_spandrel_makes_of_it(
    models: ImageModels, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    image = speckled(40, 24)
    expected = levels(whole(weights, pixels_of(image)))
    upscaler = of_file(tmp_path, weights)
    result = upscale(image, upscaler, expected.shape[1], expected.shape[0], models=models, tiling=Tiling(0))
    assert expected.std() > 3
    assert np.array_equal(np.asarray(result), expected)


@pytest.mark.parametrize("weights", [esrgan_weights(), compact_weights()])
@pytest.mark.parametrize("size", [(130, 101), (96, 200)])
def test_tiles_make_what_the_whole_makes(
    models: ImageModels, tmp_path: Path, weights: dict[str, torch.Tensor], size: tuple[int, int]
) -> None:
    image = speckled(*size)
    expected = levels(whole(weights, pixels_of(image)))
    work = apply_model(models.get(of_file(tmp_path, weights).path or tmp_path), image, Tiling(64, 16))
    steps, result = drain(work)
    assert len(steps) > 4
    difference = np.abs(np.asarray(result).astype(int) - expected)
    assert difference.mean() < 0.5
    assert difference.max() <= 12


@pytest.mark.parametrize("tiling", [Tiling(0), Tiling(32, 0), Tiling(32, 8), Tiling(33, 16), Tiling(48, 48)])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 32), (65, 97), (100, 31)])
def test_a_net_that_repeats_pixels_repeats_exactly_them_whatever_the_tiles(
    models: ImageModels, tmp_path: Path, tiling: Tiling, size: tuple[int, int]
) -> None:
    image = speckled(*size)
    result = upscale(image, of_file(tmp_path, nearest_weights()), size[0] * 2, size[1] * 2, models=models, tiling=tiling)
    assert np.array_equal(np.asarray(result), np.asarray(image).repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(("width", "height", "passes"), [(20, 20, 1), (64, 64, 2), (65, 64, 3), (500, 500, 3), (4, 4, 1)])
def test_a_model_is_applied_until_the_size_is_reached_but_three_times_at_most(
    models: ImageModels, tmp_path: Path, width: int, height: int, passes: int
) -> None:
    image, larger = speckled(16, 16), np.asarray(speckled(16, 16))
    for _ in range(passes):
        larger = larger.repeat(2, axis=0).repeat(2, axis=1)
    result = upscale(image, of_file(tmp_path, nearest_weights()), width, height, models=models, tiling=Tiling(0))
    expected = Image.fromarray(larger)
    expected = expected if expected.size == (width, height) else expected.resize((width, height), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(result), np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "how"), [("None", Image.Resampling.LANCZOS), ("Lanczos", Image.Resampling.LANCZOS), ("Nearest", Image.Resampling.NEAREST)]
)
def test_the_upscalers_without_a_file_are_pillows_filters(name: str, how: Image.Resampling) -> None:
    image = speckled(20, 30)
    result = upscale(image, Upscaler(name), 51, 33, models=None)
    assert np.array_equal(np.asarray(result), np.asarray(image.resize((51, 33), how)))


def test_progress_only_rises_and_ends_at_one(models: ImageModels, tmp_path: Path) -> None:
    told: list[float] = []
    upscale(speckled(80, 80), of_file(tmp_path, nearest_weights()), 320, 320, models=models, tiling=Tiling(32, 4), progress=told.append)
    assert len(told) > 20
    assert all(before < after for before, after in pairwise(told))
    assert told[-1] == pytest.approx(1.0)


def test_it_can_be_stopped_between_two_tiles(models: ImageModels, tmp_path: Path) -> None:
    told: list[float] = []
    with pytest.raises(Stopped):
        upscale(
            speckled(80, 80), of_file(tmp_path, nearest_weights()), 160, 160,
            models=models, tiling=Tiling(32, 4), progress=told.append, cancelled=lambda: len(told) == 3,
        )  # fmt: skip
    assert len(told) == 3


def test_out_of_memory_tiles_are_halved_until_they_fit_and_stay_so(
    models: ImageModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = of_file(tmp_path, nearest_weights())
    assert upscaler.path
    model = models.get(upscaler.path)
    tried: list[int] = []

    def only_small(pixels: torch.Tensor) -> torch.Tensor:
        tried.append(pixels.shape[-1])
        if pixels.shape[-1] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole_net(pixels)

    whole_net = model._run
    monkeypatch.setattr(model, "_run", only_small)
    image = speckled(130, 130)
    result = upscale(image, upscaler, 260, 260, models=models, tiling=Tiling(0))
    assert np.array_equal(np.asarray(result), np.asarray(image).repeat(2, axis=0).repeat(2, axis=1))
    assert tried[:2] == [130, 65]
    tried.clear()
    upscale(image, upscaler, 260, 260, models=models, tiling=Tiling(0))
    assert set(tried) == {32}


def test_when_not_even_the_smallest_tile_fits_it_says_so(models: ImageModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = of_file(tmp_path, nearest_weights())
    assert upscaler.path

    def nothing_fits(pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models.get(upscaler.path), "_run", nothing_fits)
    with pytest.raises(OutOfMemory, match="cannot even enlarge"):
        upscale(speckled(64, 64), upscaler, 128, 128, models=models)


def test_a_picture_far_too_large_on_the_way_is_refused_before_anything_is_made(models: ImageModels, tmp_path: Path) -> None:
    upscaler = of_file(tmp_path, compact_weights(scale=4))
    with pytest.raises(InvalidRequest, match=r"enlarges by 4, would make a picture of 32768x32768"):
        next(upscaling(Image.new("RGB", (8192, 8192)), upscaler, 8200, 8200, models=models))


def test_dat_has_tiles_of_its_own() -> None:
    settings = Settings().changed({"ESRGAN_tile": 64, "DAT_tile": 96, "DAT_tile_overlap": 12})
    assert tiling_of(Upscaler("a", Path("a"), "DAT"), settings) == Tiling(96, 12)
    assert tiling_of(Upscaler("a", Path("a"), "HAT"), settings) == Tiling(64, 8)


def drain(work: object) -> tuple[list[float], Image.Image]:
    steps: list[float] = []
    while True:
        try:
            steps.append(next(work))  # type: ignore[call-overload]
        except StopIteration as end:
            return steps, end.value
