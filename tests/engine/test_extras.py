"""A job of the Extras tab from pictures to pictures, with real upscalers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.upscaler_files import compact_weights, nearest_weights, save
from webui.core.events import Cancelled, Drawn, EngineEvent, Failed, Finished, Progress, Remark
from webui.core.extras import read_extras
from webui.core.ports import ExtrasWork
from webui.core.settings import Settings
from webui.core.upscalers import Upscaler
from webui.engine.device import Device
from webui.engine.extras_runner import ExtrasRunner
from webui.engine.image_models import ImageModels


@pytest.fixture
def models(cpu: Device, tmp_path: Path) -> ImageModels:
    return ImageModels(cpu, tmp_path / "converted")


def noise(width: int = 40, height: int = 24, mode: str = "RGB", seed: int = 5) -> Image.Image:
    shape = (height, width, len(mode)) if mode != "L" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode)


def work_on(tmp_path: Path, *images: Image.Image, done: frozenset[int] = frozenset(), **wishes: Any) -> ExtrasWork:
    pictures, files = [], {}
    for number, image in enumerate(images):
        name = f"{number:064x}"
        files[name] = tmp_path / f"{name}.png"
        image.save(files[name])
        pictures.append({"image": name, "width": image.width, "height": image.height, "name": f"{number}.png"})
    request = read_extras({"pictures": pictures, **wishes})
    upscalers = {
        "twice": Upscaler("twice", save(tmp_path / "twice.safetensors", nearest_weights()), "ESRGAN"),
        "rough": Upscaler("rough", save(tmp_path / "rough.safetensors", compact_weights()), "ESRGAN"),
        **{name: Upscaler(name) for name in ("Lanczos", "Nearest")},
        "broken": Upscaler("broken", tmp_path / "absent.safetensors", "ESRGAN"),
    }
    settings = Settings().changed({"ESRGAN_tile": 16, "ESRGAN_tile_overlap": 4})
    return ExtrasWork("job", request, settings, done, files, upscalers)


def run(models: ImageModels, work: ExtrasWork) -> list[EngineEvent]:
    return list(ExtrasRunner(models).run(work))


def drawn(events: list[EngineEvent]) -> dict[int, Image.Image]:
    assert isinstance(events[-1], Finished), events[-1]
    return {event.index: event.image for event in events if isinstance(event, Drawn)}


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_every_picture_is_enlarged_and_those_already_done_are_left_out(models: ImageModels, tmp_path: Path) -> None:
    images = [noise(seed=number) for number in range(3)]
    events = run(models, work_on(tmp_path, *images, done=frozenset({1}), upscaler_1="twice"))
    results = drawn(events)
    assert list(results) == [0, 2]
    assert np.array_equal(array(results[2]), array(images[2]).repeat(2, 0).repeat(2, 1))
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert len(fractions) > 8


def test_two_upscalers_are_blended_as_asked(models: ImageModels, tmp_path: Path) -> None:
    image = noise()
    one, two, both = (
        drawn(run(models, work_on(tmp_path, image, **wishes)))[0]
        for wishes in (
            {"upscaler_1": "twice"},
            {"upscaler_1": "rough"},
            {"upscaler_1": "twice", "upscaler_2": "rough", "upscaler_2_visibility": 0.25},
        )
    )
    assert np.abs(array(one) - array(two)).mean() > 3
    assert np.abs(array(both) - (array(one) * 0.75 + array(two) * 0.25)).max() <= 1


def test_the_middle_is_cut_out_when_a_size_is_asked_for(models: ImageModels, tmp_path: Path) -> None:
    image = noise(40, 20)
    work = work_on(tmp_path, image, upscaler_1="twice", resize_mode="Scale to", width=40, height=40)
    result = drawn(run(models, work))[0]
    assert np.array_equal(array(result), array(image).repeat(2, 0).repeat(2, 1)[:, 20:60])


def test_transparency_is_kept_and_enlarged_too(models: ImageModels, tmp_path: Path) -> None:
    image = noise(mode="RGBA")
    image.putalpha(Image.new("L", image.size, 90))
    result = drawn(run(models, work_on(tmp_path, image, upscaler_1="twice")))[0]
    assert (result.mode, result.size) == ("RGBA", (80, 48))
    assert set(np.unique(np.asarray(result)[..., 3])) == {90}


@pytest.mark.parametrize("mode", ["L", "P"])
def test_grey_and_palette_pictures_are_worked_on_in_colour(models: ImageModels, tmp_path: Path, mode: str) -> None:
    image = noise().convert(mode)
    result = drawn(run(models, work_on(tmp_path, image, upscaler_1="twice")))[0]
    assert np.array_equal(array(result), array(image.convert("RGB")).repeat(2, 0).repeat(2, 1))


def test_with_nothing_to_do_a_picture_comes_back_as_it_was(models: ImageModels, tmp_path: Path) -> None:
    image = noise()
    assert np.array_equal(array(drawn(run(models, work_on(tmp_path, image)))[0]), array(image))


def test_cancelling_ends_the_job_within_a_tile_and_keeps_what_is_done(models: ImageModels, tmp_path: Path) -> None:
    runner = ExtrasRunner(models)
    events = []
    for event in runner.run(work_on(tmp_path, noise(), noise(seed=6), upscaler_1="twice")):
        events.append(event)
        if isinstance(event, Progress) and event.batch == 1:
            runner.cancel("job")
    assert isinstance(events[-1], Cancelled)
    assert [event.index for event in events if isinstance(event, Drawn)] == [0]
    assert len([event for event in events if isinstance(event, Progress) and event.batch == 1]) == 1


def test_skipping_leaves_out_the_picture_at_work_and_goes_on_with_the_next(models: ImageModels, tmp_path: Path) -> None:
    runner = ExtrasRunner(models)
    events = []
    for event in runner.run(work_on(tmp_path, noise(), noise(seed=6), noise(seed=7), upscaler_1="twice")):
        events.append(event)
        if isinstance(event, Progress) and event.batch == 1:
            runner.skip("job")
    assert sorted(drawn(events)) == [0, 2]
    assert [event.text for event in events if isinstance(event, Remark)] == ["1.png was skipped."]


def test_a_file_that_is_gone_fails_the_job_with_a_sentence(models: ImageModels, tmp_path: Path) -> None:
    (*_, end) = run(models, work_on(tmp_path, noise(), upscaler_1="broken"))
    assert end == Failed(end.message, "ModelError")  # type: ignore[union-attr]
    assert "absent.safetensors cannot be read" in end.message  # type: ignore[union-attr]


def test_after_closing_no_job_begins(models: ImageModels, tmp_path: Path) -> None:
    runner = ExtrasRunner(models)
    runner.close()
    assert isinstance(list(runner.run(work_on(tmp_path, noise(), upscaler_1="twice")))[-1], Cancelled)
