"""The index of outputs/: everything in the folder is found by what it says, and the index can be made anew."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from webui.core.errors import Closing, InvalidRequest, NotFound, WebuiError
from webui.core.gallery import PictureQuery
from webui.core.images import encode_png
from webui.jobs import picture_index
from webui.jobs.picture_index import PictureIndex


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs"


@pytest.fixture
def index(outputs: Path, tmp_path: Path) -> Iterator[PictureIndex]:
    index = PictureIndex(outputs, tmp_path / "state" / "gallery.sqlite")
    yield index
    index.close()


def draw(outputs: Path, name: str, prompt: str, *, age: float = 1000.0, model: str = "plain") -> Path:
    path = outputs / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        encode_png(Image.new("RGB", (16, 8)), {"parameters": f"{prompt}\nSteps: 4, Sampler: Euler a, Seed: 1, Model: {model}"})
    )
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def found(index: PictureIndex, text: str = "", **wishes: object) -> list[str]:
    pictures, total = index.find(PictureQuery(text, **wishes))  # type: ignore[arg-type]
    assert total >= len(pictures)
    return [picture.path for picture in pictures]


def test_pictures_are_found_newest_first_by_words_of_prompt_model_sampler_and_path(index: PictureIndex, outputs: Path) -> None:
    draw(outputs, "a.png", "a red apple", age=300)
    draw(outputs, "txt2img-images/2026-01-02/b.png", "a green apple on grass", age=200, model="anime v3")
    draw(outputs, "c.png", 'it\'s "quoted" (cat:1.2), <lora:ink:1>', age=100)
    assert index.refresh() == 3
    assert found(index) == ["c.png", "txt2img-images/2026-01-02/b.png", "a.png"]
    assert found(index, oldest_first=True)[0] == "a.png"
    assert found(index, "apple") == ["txt2img-images/2026-01-02/b.png", "a.png"]
    assert found(index, "RED appl") == ["a.png"]
    assert found(index, '"green apple"') == ["txt2img-images/2026-01-02/b.png"]
    assert found(index, '"apple green"') == []
    assert found(index, "anime v3") == ["txt2img-images/2026-01-02/b.png"]
    assert found(index, "2026-01-02") == ["txt2img-images/2026-01-02/b.png"]
    assert found(index, "<lora:ink:1>") == ["c.png"]
    assert len(found(index, '"Euler a"')) == 3
    assert index.find(PictureQuery(first=1, count=1))[1] == 3
    picture = index.find(PictureQuery("red"))[0][0]
    assert (picture.width, picture.height, picture.infotext.splitlines()[0]) == (16, 8, "a red apple")


@pytest.mark.parametrize("text", ['"', "*", "a OR", "NEAR(", "a:b", "^", "'; DROP TABLE pictures;", "-", "\x00", "()", '""'])
def test_whatever_is_typed_is_looked_for_as_words(index: PictureIndex, outputs: Path, text: str) -> None:
    draw(outputs, "a.png", "a red apple")
    index.refresh()
    found(index, text)
    assert found(index, "apple") == ["a.png"]
    with pytest.raises(InvalidRequest, match="at most"):
        found(index, "x" * 501)


def test_what_comes_changes_and_goes_is_noticed(index: PictureIndex, outputs: Path) -> None:
    first = draw(outputs, "day/a.png", "one")
    index.refresh()
    assert index.refresh() <= 1  # the folder is young, so it is looked at again, but nothing is read
    draw(outputs, "day/b.png", "two")
    draw(outputs, "other/deep/c.png", "three")
    index.refresh()
    assert sorted(found(index)) == ["day/a.png", "day/b.png", "other/deep/c.png"]
    first.unlink()
    shutil.rmtree(outputs / "other")
    index.refresh()
    assert found(index) == ["day/b.png"]
    draw(outputs, "day/b.png", "changed", age=10)
    index.refresh(anew=True)
    assert found(index, "changed") == ["day/b.png"]
    assert found(index, "two") == []


def test_folders_that_have_not_changed_are_not_listed_again(index: PictureIndex, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_index, "TICK_NS", -1)
    draw(outputs, "day/a.png", "one")
    index.refresh()
    monkeypatch.setattr(os, "scandir", lambda path: pytest.fail(f"listed {path}"))
    assert index.refresh() == 0
    assert found(index) == ["day/a.png"]


def test_favourites_stay_when_the_index_is_made_anew(index: PictureIndex, outputs: Path) -> None:
    draw(outputs, "a.png", "one")
    draw(outputs, "b.png", "two")
    index.refresh()
    picture = index.find(PictureQuery("one"))[0][0]
    index.set_favourite([picture.id, "unknown"], on=True)
    index.refresh(anew=True)
    assert found(index, favourites=True) == ["a.png"]
    assert index.find(PictureQuery("one"))[0][0].id == picture.id
    index.set_favourite([picture.id], on=False)
    assert found(index, favourites=True) == []


def test_what_is_thrown_away_lies_in_the_trash_and_is_found_no_more(index: PictureIndex, outputs: Path) -> None:
    for _ in range(2):
        draw(outputs, "day/a.png", "one")
        index.refresh()
        picture = index.find(PictureQuery("one"))[0][0]
        assert index.throw_away([picture.id]) == 1
        index.refresh(anew=True)
        assert found(index) == []
    assert len(list((outputs / ".trash" / "day").iterdir())) == 2
    with pytest.raises(NotFound):
        index.throw_away([picture.id])


def test_no_file_outside_is_given_out_and_damaged_ones_break_nothing(index: PictureIndex, outputs: Path, tmp_path: Path) -> None:
    secret = draw(tmp_path, "secret.png", "hidden")
    (outputs / "link.png").symlink_to(secret)
    (outputs / "bad.png").write_bytes(b"no picture")
    (outputs / "notes.txt").write_text("x")
    index.refresh()
    pictures = {picture.path: picture for picture in index.find(PictureQuery())[0]}
    assert pictures.keys() == {"link.png", "bad.png"}
    with pytest.raises(NotFound):
        index.file(pictures["link.png"])
    assert index.file(pictures["bad.png"]) == outputs / "bad.png"


@pytest.mark.parametrize("content", [b"garbage" * 1000, b""])
def test_a_damaged_index_is_made_anew(outputs: Path, tmp_path: Path, content: bytes) -> None:
    draw(outputs, "a.png", "one")
    database = tmp_path / "gallery.sqlite"
    database.write_bytes(content)
    index = PictureIndex(outputs, database)
    index.refresh()
    assert found(index) == ["a.png"]
    index.close()


def test_an_index_that_cannot_be_opened_just_now_is_told_and_not_thrown_away(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(outputs, "a.png", "one")
    index = PictureIndex(outputs, tmp_path / "gallery.sqlite")
    index.refresh()
    index.set_favourite([index.find(PictureQuery())[0][0].id], on=True)
    index.close()
    with pytest.raises(Closing):
        index.find(PictureQuery())

    def locked(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    again = PictureIndex(outputs, tmp_path / "gallery.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(picture_index, "use_wal", locked)
        with pytest.raises(WebuiError, match="locked"):
            again.find(PictureQuery())
    assert found(again, favourites=True) == ["a.png"]
    again.close()


def test_ten_thousand_pictures_are_searched_soon(index: PictureIndex, outputs: Path) -> None:
    with index._open() as connection:
        for number in range(10_000):
            picture_index._put(
                connection, "", f"{number}.png", number, 8, 8, f"a cat number{number}, masterpiece\nSteps: 20, Model: m{number % 9}"
            )
    began = time.perf_counter()
    assert found(index, "number7777") == ["7777.png"]
    assert len(found(index, "cat m3")) == 60
    assert time.perf_counter() - began < 2  # 0.02 s on an idle machine
