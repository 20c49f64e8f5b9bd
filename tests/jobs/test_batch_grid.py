"""The grid of an ordinary job: how it is laid out, where it lies, when there is one, and that a restart loses none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine, picture_of
from tests.jobs.stand_ins import House, request
from webui.core.images import decode_image
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.jobs.batch_grid import rows_and_columns
from webui.jobs.job import Job
from webui.jobs.run import Run


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    return open_house()


def draw(house: House, wish: GenerationRequest, *, save: bool = True, **settings: Any) -> Job:
    job = house.queue.submit(wish.changed(make_grid=True), Settings().changed(settings), job_id="it", save=save)
    job.wait(20)
    return job


def indices(job: Job) -> list[int]:
    return [picture.index for picture in job.pictures]


@pytest.mark.parametrize(("pictures", "settings", "layout"), [
    (1, {}, (1, 1)), (2, {}, (1, 2)), (3, {}, (2, 2)), (4, {}, (2, 2)), (5, {}, (2, 3)), (7, {}, (3, 3)), (12, {}, (3, 4)),
    (12, {"n_rows": 2}, (2, 6)), (3, {"n_rows": 16}, (3, 1)), (12, {"n_rows": 0}, (4, 3)), (3, {"n_rows": 0}, (3, 1)),
    (7, {"grid_prevent_empty_spots": True}, (1, 7)), (12, {"grid_prevent_empty_spots": True}, (3, 4)),
    (6, {"grid_prevent_empty_spots": True}, (2, 3)),
])  # fmt: skip
def test_a_grid_is_laid_out_as_in_a1111(pictures: int, settings: dict[str, Any], layout: tuple[int, int]) -> None:
    assert rows_and_columns(pictures, 4, Settings().changed(settings)) == layout


def test_a_jobs_grid_comes_first_shows_all_and_says_what_its_first_picture_says(house: House) -> None:
    job = draw(house, request(batch_size=2, batch_count=2, seed=5))
    assert indices(job) == [-1, 0, 1, 2, 3]
    grid, first = job.pictures[:2]
    seen = decode_image(grid.path.read_bytes())
    wanted = Image.new("RGB", (128, 128))
    for place in range(4):
        wanted.paste(picture_of(5 + place, 64, 64), (place % 2 * 64, place // 2 * 64))
    assert seen.tobytes() == wanted.tobytes()
    assert grid.infotext == first.infotext
    assert grid.request == job.request
    assert first.request.make_grid is False
    assert grid.path.relative_to(house.paths.outputs).parts[0] == "txt2img-grids"
    assert grid.path.name == "grid-0000.png"
    assert house.hooks.saved[-1] == grid
    assert house.hooks.finished[-1][1].pictures == job.pictures


def test_an_empty_place_of_a_grid_is_black(house: House) -> None:
    grid = decode_image(draw(house, request(batch_count=3)).pictures[0].path.read_bytes())
    assert grid.size == (128, 128)
    assert grid.crop((64, 64, 128, 128)).getextrema() == ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize(("settings", "images", "wanted"), [
    ({}, 1, [0]),
    ({"grid_only_if_multiple": False}, 1, [-1, 0]),
    ({"return_grid": False}, 2, [0, 1]),
    ({"return_grid": False, "grid_save": False}, 2, [0, 1]),
    ({"grid_save": False}, 2, [-1, 0, 1]),
])  # fmt: skip
def test_the_settings_say_whether_a_grid_is_made_shown_and_kept(
    house: House, settings: dict[str, Any], images: int, wanted: list[int]
) -> None:
    job = draw(house, request(batch_count=images), **settings)
    assert indices(job) == wanted
    kept = {"grid_save": True, "grid_only_if_multiple": True, **settings}
    makes_one = images > 1 or not kept["grid_only_if_multiple"]
    assert len(list((house.paths.outputs / "txt2img-grids").rglob("*.png"))) == int(bool(kept["grid_save"] and makes_one))
    assert [picture.saved for picture in job.pictures if picture.is_grid] == [kept["grid_save"]] * wanted.count(-1)


def test_a_job_that_asks_for_no_grid_has_none(house: House) -> None:
    job = house.queue.submit(request(batch_count=2), Settings(), job_id="it", save=True)
    job.wait(20)
    assert indices(job) == [0, 1]


def test_the_grid_of_pictures_that_are_not_kept_is_not_kept(house: House) -> None:
    job = draw(house, request(batch_count=2), save=False)
    assert indices(job) == [-1, 0, 1]
    assert not list(house.paths.outputs.rglob("*.png"))


def test_grids_lie_in_subfolders_if_wanted(house: House) -> None:
    grid = draw(house, request(batch_count=2), grid_save_to_dirs=False).pictures[0]
    assert grid.path.relative_to(house.paths.outputs).as_posix() == "txt2img-grids/grid-0000.png"


def test_a_grid_that_was_not_made_before_the_program_died_is_made_at_the_next_start(house: House) -> None:
    job = house.queue.submit(request(batch_count=2), Settings(), job_id="it", save=True)
    job.wait(20)
    assert indices(job) == [0, 1]
    # The same job as the next start would find it: all its pictures are there, and only the grid is wanting.
    wanting = Job("it", job.request.changed(make_grid=True), Settings(), "ui", True, job.created_at, started_at=job.created_at)
    run = Run(wanting, house.queue._around)
    run.execute()
    assert [picture.index for picture in house.outputs.pictures_of("it")] == [-1, 0, 1]
    run.execute()
    assert [picture.index for picture in house.outputs.pictures_of("it")] == [-1, 0, 1]


def test_an_interrupted_job_has_a_grid_of_what_it_has_drawn(open_house: Callable[..., House]) -> None:
    house = open_house(engine=FakeEngine(step_seconds=0.05))
    wish = request(batch_count=40).changed(make_grid=True)
    job = house.queue.submit(wish, Settings(), job_id="it", save=True)
    for _ in job.log.follow(20):
        if len(job.pictures) >= 2:
            break
    house.queue.cancel("it")
    job.wait(20)
    assert job.state == "cancelled"
    assert indices(job)[:3] == [-1, 0, 1]
