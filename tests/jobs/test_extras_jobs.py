"""Jobs that only work on pictures go through the same queue, and outlive a restart as any other."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.fake_engine import FakeEngine
from tests.jobs.conftest import House
from tests.jobs.stand_ins import request, wait_until
from webui.core.events import Finished, ImageReady
from webui.core.extras import ExtrasRequest, read_extras
from webui.core.images import read_png_texts
from webui.core.metadata import read
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.jobs.job import Job
from webui.jobs.store import kind_of_request


def extras(house: House, count: int = 1, name: str = "holiday.jpg") -> ExtrasRequest:
    stored = [house.queue.inputs.add(Image.new("RGB", (8, 6), (number, 0, 0))) for number in range(count)]
    pictures = [{"image": one, "width": 8, "height": 6, "name": name, "infotext": "a cat"} for one in stored]
    return read_extras({"pictures": pictures, "upscaler_1": "Nearest", "scale": 2})


def submit(house: House, wish: ExtrasRequest, **options: object) -> Job:
    return house.queue.submit(wish, Settings(), source="extras", **options)  # type: ignore[arg-type]


def test_results_lie_in_their_own_folder_under_the_pictures_name_with_both_texts(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        job = submit(house, extras(house, name="../holi/day.jpg"))
        assert isinstance(job.wait(20), Finished)
        (picture,) = job.pictures
        assert picture.path == house.paths.outputs / "extras-images" / "00000-day.png"
        assert Image.open(picture.path).size == (16, 12)
        assert read_png_texts(picture.path.read_bytes()) == {
            "parameters": "a cat", "postprocessing": "Postprocess upscale by: 2.0, Postprocess upscaler: Nearest",
        }  # fmt: skip
        assert house.hooks.saved == [picture]
    finally:
        house.close()


def test_no_texts_are_written_when_the_settings_forbid_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        job = house.queue.submit(extras(house), Settings().changed({"enable_pnginfo": False}))
        job.wait(20)
        assert read_png_texts(job.pictures[0].path.read_bytes()) == {}
    finally:
        house.close()


def test_a_format_with_one_place_for_text_says_first_how_it_was_made_then_what_was_done(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        job = house.queue.submit(extras(house), Settings().changed({"samples_format": "webp"}))
        job.wait(20)
        assert job.pictures[0].path.name == "00000-holiday.webp"
        told = read(job.pictures[0].path.read_bytes()).infotext
        assert told == "a cat, Postprocess upscale by: 2.0, Postprocess upscaler: Nearest"
    finally:
        house.close()


def test_a_job_that_was_interrupted_goes_on_after_a_restart_with_what_is_missing(tmp_path: Path) -> None:
    house = House(tmp_path, engine=FakeEngine(step_seconds=0.02))
    job = submit(house, extras(house, 4), job_id="mine")
    wait_until(lambda: job.log.latest(ImageReady) is not None)
    house.close()
    assert 0 < len(house.engine.drawn) < 4
    second = House(tmp_path)
    try:
        job = second.queue.job("mine")
        assert isinstance(job.wait(20), Finished)
        assert isinstance(job.request, ExtrasRequest)
        assert sorted(house.engine.drawn + second.engine.drawn) == [("mine", index) for index in range(4)]
        assert [picture.index for picture in job.pictures] == [0, 1, 2, 3]
    finally:
        second.close()


def test_which_kind_a_row_is_is_said_by_the_row(tmp_path: Path) -> None:
    house = House(tmp_path, start=False)
    try:
        assert kind_of_request(extras(house).model_dump_json()) is ExtrasRequest
    finally:
        house.close()
    assert kind_of_request(request().model_dump_json()) is GenerationRequest
    for unreadable in ("{", "[]", json.dumps({"kind": "other"})):
        assert kind_of_request(unreadable) is GenerationRequest
