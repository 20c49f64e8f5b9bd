"""Saving pictures: names, contents, collisions, and what is left after a process died at each point of saving."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fake_engine import picture_of
from tests.jobs.stand_ins import request, settings
from webui.core.errors import InvalidRequest, NotFound, WebuiError
from webui.core.events import Drawn
from webui.core.images import read_png_texts
from webui.core.metadata import read
from webui.core.paths import Paths, standard_paths
from webui.core.result import NOT_SHOWN
from webui.jobs import outputs as outputs_module
from webui.jobs.job import Job
from webui.jobs.outputs import ModelsUsed, Outputs

MODELS = ModelsUsed("tiny", "0123456789")


class Died(BaseException):
    """Stands for the process dying at this point."""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return standard_paths(tmp_path)


def open_outputs(paths: Paths) -> Outputs:
    return Outputs(paths, paths.state / "queue.sqlite")


def a_job(job_id: str = "j", *, save: bool = True, prompt: str = "a cat", batch_count: int = 1, **chosen: object) -> Job:
    return Job(job_id, request(prompt, seed=40, batch_count=batch_count), settings(**chosen), "api", save, created_at=time.time())


def drawn(job: Job, index: int = 0) -> Drawn:
    alone = job.request.of_image(index)
    return Drawn(index, picture_of(alone.seed, 64, 64), alone, {"Schedule type": "Karras"})


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_picture_is_saved_under_a1111s_name_with_its_infotext(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job(batch_count=2)
    today = datetime.now().strftime("%Y-%m-%d")
    pictures = [outputs.save(job, drawn(job, index), MODELS) for index in range(2)]
    folder = paths.outputs / "txt2img-images" / today
    assert [picture.path for picture in pictures] == [folder / "00000-40.png", folder / "00001-41.png"]
    assert visible(paths.outputs) == ["00000-40.png", "00001-41.png"]
    text = read_png_texts(pictures[1].path.read_bytes())["parameters"]
    assert text == pictures[1].infotext
    assert "Seed: 41" in text
    assert "Model hash: 0123456789, Model: tiny" in text
    with Image.open(pictures[1].path) as image:
        assert image.tobytes() == picture_of(41, 64, 64).tobytes()


def test_settings_decide_folder_name_and_infotext(paths: Paths) -> None:
    outputs = open_outputs(paths)
    flat = a_job("flat", save_to_dirs=False, enable_pnginfo=False)
    first = outputs.save(flat, drawn(flat), MODELS)
    assert first.path == paths.outputs / "txt2img-images" / "00000-40-a cat.png"
    assert read_png_texts(first.path.read_bytes()) == {}
    chosen = a_job("chosen", directories_filename_pattern="[model_name]/[steps]", samples_filename_pattern="[width]x[height]")
    assert outputs.save(chosen, drawn(chosen), MODELS).path == paths.outputs / "txt2img-images" / "tiny" / "2" / "00000-64x64.png"


@pytest.mark.parametrize(
    ("wanted", "kind", "lossless"), [("jpg", "JPEG", False), ("jpeg", "JPEG", False), ("webp", "WEBP", True), ("avif", "AVIF", False)]
)
def test_a_picture_is_saved_in_the_format_that_is_set_and_says_as_much(paths: Paths, wanted: str, kind: str, lossless: bool) -> None:
    outputs = open_outputs(paths)
    job = a_job(samples_format=wanted, webp_lossless=True, jpeg_quality=95)
    picture = outputs.save(job, drawn(job), MODELS)
    assert picture.path.name == f"00000-40.{wanted}"
    assert outputs.picture(picture.id) == picture
    with Image.open(picture.path) as image:
        assert image.format == kind
        far = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(picture_of(40, 64, 64), int)).max()
    assert far == 0 if lossless else far < 12
    told = read(picture.path.read_bytes())
    assert told.infotext == picture.infotext
    assert told.record is not None
    assert told.record.request.seed == 40
    silent = a_job("silent", samples_format=wanted, enable_pnginfo=False)
    assert read(outputs.save(silent, drawn(silent), MODELS).path.read_bytes()).infotext == ""


def test_pictures_drawn_from_pictures_and_grids_lie_in_a1111s_folders(paths: Paths) -> None:
    outputs = open_outputs(paths)
    plain, over = a_job("plain"), a_job("over")
    over.request = over.request.changed(init_images=("a" * 64,))
    places = [outputs.save(job, drawn(job), MODELS, place=place).path.parent.parent.name for job in (plain, over) for place in (0, -1)]
    assert places == ["txt2img-images", "txt2img-grids", "img2img-images", "img2img-grids"]


def test_quality_is_heeded(paths: Paths) -> None:
    outputs = open_outputs(paths)
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    sizes = []
    for quality in (10, 90):
        job = a_job(f"q{quality}", samples_format="jpg", jpeg_quality=quality)
        picture = outputs.save(job, replace(drawn(job), image=noise), MODELS)
        sizes.append(picture.path.stat().st_size)
    assert sizes[0] * 1.2 < sizes[1]


def test_grids_have_a_format_of_their_own_and_what_is_only_to_go_on_from_loses_nothing(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job(samples_format="jpg", grid_format="webp")
    suffixes = [outputs.save(job, drawn(job), MODELS, place=place).path.suffix for place in (-1, 0, NOT_SHOWN)]
    assert suffixes == [".webp", ".jpg", ".png"]


def test_what_a_format_cannot_hold_becomes_a_png(paths: Paths) -> None:
    outputs = open_outputs(paths)
    wide = a_job("wide", samples_format="webp")
    assert outputs.save(wide, replace(drawn(wide), image=Image.new("RGB", (16384, 1))), MODELS).path.suffix == ".png"
    talkative = a_job("talkative", samples_format="jpg", prompt="cat " * 20_000)
    picture = outputs.save(talkative, drawn(talkative), MODELS)
    assert picture.path.suffix == ".png"
    assert read(picture.path.read_bytes()).infotext == picture.infotext


@pytest.mark.parametrize("pattern", ["../../../x", "/tmp/x", "..\\..\\x", "[prompt]", "con", "a\x00b", "{0}", "%n%s"])
def test_hostile_patterns_and_prompts_save_inside_outputs(pattern: str, paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job(prompt="../../../../etc/\n" + "é" * 300, directories_filename_pattern=pattern, samples_filename_pattern=pattern)
    path = outputs.save(job, drawn(job), MODELS).path
    assert path.resolve().is_relative_to(paths.outputs.resolve())
    assert not [other for other in paths.data.iterdir() if other.name not in ("outputs", "state")]


def test_a_link_that_leads_out_of_outputs_is_refused(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    paths.outputs.mkdir()
    (paths.outputs / "txt2img-images").symlink_to(tmp_path / "elsewhere")
    job = a_job()
    with pytest.raises(InvalidRequest, match="leads out"):
        open_outputs(paths).save(job, drawn(job), MODELS)
    assert visible(tmp_path / "elsewhere") == []


def test_numbers_go_on_after_the_highest_existing(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job(batch_count=3, save_to_dirs=False, samples_filename_pattern="[seed]")
    first = outputs.save(job, drawn(job, 0), MODELS).path
    (first.parent / "00041-old.png").touch()
    assert outputs.save(job, drawn(job, 1), MODELS).path.name == "00042-41.png"
    (first.parent / "00042-41.png").unlink()
    assert outputs.save(job, drawn(job, 2), MODELS).path.name == "00042-42.png"


def test_two_programs_and_many_threads_never_take_the_same_name(paths: Paths) -> None:
    programs = [open_outputs(paths), open_outputs(paths)]
    pattern = {"save_to_dirs": False, "samples_filename_pattern": "same"}
    jobs = [a_job(f"j{number}", batch_count=5, **pattern) for number in range(6)]

    def save_all(number: int) -> None:
        for index in range(5):
            programs[number % 2].save(jobs[number], drawn(jobs[number], index), MODELS)

    threads = [threading.Thread(target=save_all, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert visible(paths.outputs) == [f"{number:05}-same.png" for number in range(30)]
    known = [picture for job in jobs for picture in programs[0].pictures_of(job.id)]
    assert len({picture.path for picture in known}) == 30
    for picture in known:
        assert f"Seed: {40 + picture.index}" in read_png_texts(picture.path.read_bytes())["parameters"]


def test_a_name_that_appears_at_the_last_moment_is_not_overwritten(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = open_outputs(paths)
    job = a_job(save_to_dirs=False, samples_filename_pattern="[seed]")
    theirs = paths.outputs / "txt2img-images" / "00000-40.png"
    write = outputs_module._write_durably

    def write_while_another_program_saves(path: Path, data: bytes) -> None:
        write(path, data)
        theirs.write_bytes(b"theirs")

    monkeypatch.setattr(outputs_module, "_write_durably", write_while_another_program_saves)
    picture = outputs.save(job, drawn(job), MODELS)
    assert picture.path.name == "00001-40.png"
    assert theirs.read_bytes() == b"theirs"
    assert outputs.pictures_of("j") == (picture,)


def test_pictures_are_found_by_job_in_order_and_by_id(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job(batch_count=3)
    saved = {index: outputs.save(job, drawn(job, index), MODELS) for index in (2, 0, 1)}
    outputs.close()
    outputs.close()
    again = open_outputs(paths)
    assert again.pictures_of("j") == (saved[0], saved[1], saved[2])
    assert again.indices_of("j") == {0, 1, 2}
    assert again.picture(saved[1].id) == saved[1]
    assert again.pictures_of("other") == ()
    with pytest.raises(NotFound):
        again.picture("../00000-40.png")


def test_a_picture_whose_file_is_gone_or_was_replaced_by_a_link_is_not_found(paths: Paths, tmp_path: Path) -> None:
    outputs = open_outputs(paths)
    job = a_job()
    picture = outputs.save(job, drawn(job), MODELS)
    picture.path.unlink()
    with pytest.raises(NotFound):
        outputs.picture(picture.id)
    (tmp_path / "secret.png").write_bytes(b"secret")
    picture.path.symlink_to(tmp_path / "secret.png")
    with pytest.raises(NotFound):
        outputs.picture(picture.id)


def test_the_same_picture_is_never_saved_twice(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job()
    outputs.save(job, drawn(job), MODELS)
    with pytest.raises(sqlite3.IntegrityError):
        outputs.save(job, drawn(job), MODELS)
    assert len(visible(paths.outputs)) == 1


def test_unsaved_pictures_are_kept_apart_until_forgotten(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job("../j", save=False, directories_filename_pattern="x", samples_filename_pattern="y")
    picture = outputs.save(job, drawn(job), MODELS)
    assert picture.path.is_relative_to(paths.unsaved)
    assert not picture.saved
    assert outputs.picture(picture.id) == picture
    assert visible(paths.outputs) == []
    outputs.forget_unsaved("../j")
    assert not picture.path.parent.exists()
    assert outputs.pictures_of("../j") == ()


def test_forgetting_unsaved_pictures_leaves_saved_ones(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job()
    picture = outputs.save(job, drawn(job), MODELS)
    outputs.forget_unsaved("j")
    outputs.sweep_unsaved()
    assert outputs.picture(picture.id) == picture


@pytest.mark.parametrize("has_hard_links", [True, False])
@pytest.mark.parametrize(
    "place", ["claim_name", "_write_durably", "half written", "_publish", "reserved", "_sync_folder", "complete", "unlink"]
)
def test_dying_at_any_point_of_saving_neither_loses_nor_doubles_the_picture(
    place: str, has_hard_links: bool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_hard_links:
        monkeypatch.setattr(os, "link", _no_hard_links)
    outputs = open_outputs(paths)
    job = a_job()
    with monkeypatch.context() as patch:
        _die_at(place, outputs, patch)
        if place == "reserved" and has_hard_links:
            outputs.save(job, drawn(job), MODELS)
        else:
            with pytest.raises(Died):
                outputs.save(job, drawn(job), MODELS)
    again = open_outputs(paths)
    again.recover_interrupted()
    again.recover("j")
    if 0 not in again.indices_of("j"):
        assert visible(paths.outputs) == []
        again.save(job, drawn(job), MODELS)
    assert visible(paths.outputs) == ["00000-40.png"]
    (picture,) = again.pictures_of("j")
    with Image.open(picture.path) as image:
        image.load()


def _die_at(place: str, outputs: Outputs, patch: pytest.MonkeyPatch) -> None:
    def die(*args: object, **options: object) -> None:
        raise Died

    def write_half(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise Died

    if place in ("claim_name", "complete"):
        patch.setattr(outputs._gallery, place, die)
    elif place == "half written":
        patch.setattr(outputs_module, "_write_durably", write_half)
    elif place == "reserved":
        patch.setattr(Path, "replace", die)
    elif place == "unlink":
        patch.setattr(Path, "unlink", die)
    else:
        patch.setattr(outputs_module, place, die)


def _no_hard_links(*args: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_recovery_does_not_take_another_pictures_file_for_its_own(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs of the same request have equal bytes; only one of them has saved when the other's process dies."""
    outputs = open_outputs(paths)
    first, second = (a_job(job_id, save_to_dirs=False, samples_filename_pattern="[seed]") for job_id in ("first", "second"))
    with monkeypatch.context() as patch:
        patch.setattr(outputs_module, "_publish", _raise_died)
        with pytest.raises(Died):
            outputs.save(second, drawn(second), MODELS)
    theirs = paths.outputs / "txt2img-images" / "00000-40.png"
    outputs.save(first, drawn(first), MODELS)
    (picture,) = outputs.pictures_of("first")
    picture.path.rename(theirs)
    outputs.recover("second")
    assert outputs.indices_of("second") == frozenset()
    assert theirs.exists()


def _raise_died(*args: object) -> None:
    raise Died


def test_a_full_disk_is_told_plainly_and_leaves_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = open_outputs(paths)
    job = a_job()

    def write_into_a_full_disk(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(outputs_module, "_write_durably", write_into_a_full_disk)
        with pytest.raises(WebuiError, match="Picture 1 could not be saved in outputs: No space left on device") as caught:
            outputs.save(job, drawn(job), MODELS)
    assert str(paths.data) not in str(caught.value)
    assert visible(paths.outputs) == []
    assert outputs.save(job, drawn(job), MODELS).path.name == "00000-40.png"


def test_a_picture_of_another_version_is_left_alone(paths: Paths) -> None:
    outputs = open_outputs(paths)
    job = a_job()
    picture = outputs.save(job, drawn(job), MODELS)
    with sqlite3.connect(paths.state / "queue.sqlite") as connection:
        connection.execute("UPDATE pictures SET request = ?", ('{"sampler": "Future"}',))
    connection.close()
    assert outputs.pictures_of("j") == ()
    assert outputs.indices_of("j") == {0}
    assert picture.path.exists()
