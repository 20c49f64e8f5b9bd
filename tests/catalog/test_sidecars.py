"""What lies beside models: A1111's files are understood, and nothing in them is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.catalog.sidecars import Sidecars, read_notes, write_notes
from webui.core.errors import InvalidRequest, ModelError
from webui.core.model_cards import Notes


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "ink.safetensors").touch()
    return tmp_path / "ink.safetensors"


def test_a1111s_user_metadata_is_read(model: Path) -> None:
    said = {
        "description": "Lines", "sd version": "SD1", "activation text": "ink drawing", "preferred weight": 0.8, "negative text": "blurry",
        "notes": "mine", "vae": "clear.safetensors",
    }  # fmt: skip
    model.with_suffix(".json").write_text(json.dumps(said))
    expected = Notes("Lines", "mine", "ink drawing", "blurry", 0.8, "clear.safetensors")
    assert read_notes(model) == expected


def test_without_notes_the_trigger_words_of_a_civitai_file_and_a_text_file_count(model: Path) -> None:
    model.with_name("ink.civitai.info").write_text(json.dumps({"trainedWords": ["ink", "line art"], "model": {"tags": ["style"]}}))
    model.with_suffix(".txt").write_text("From a text file.\n")
    notes = read_notes(model)
    assert (notes.activation_text, notes.tags, notes.description) == ("ink, line art", ("style",), "From a text file.")
    model.with_suffix(".json").write_text(json.dumps({"activation text": "mine", "description": ""}))
    assert read_notes(model).activation_text == "mine"
    assert read_notes(model).description == "From a text file."


def test_a_change_keeps_what_is_not_known_here(model: Path) -> None:
    model.with_suffix(".json").write_text(json.dumps({"sd version": "SD1", "extension": {"a": 1}, "notes": "old"}))
    write_notes(
        model, {"notes": "new", "tags": ["a", " b ", "a", ""], "favourite": True, "preferred_weight": 0.5, "defaults": {"steps": 8}}
    )
    stored = json.loads(model.with_suffix(".json").read_text())
    assert stored == {
        "sd version": "SD1", "extension": {"a": 1}, "notes": "new", "tags": ["a", "b"], "favourite": True, "preferred weight": 0.5,
        "defaults": {"steps": 8},
    }  # fmt: skip
    assert read_notes(model) == Notes(notes="new", tags=("a", "b"), favourite=True, preferred_weight=0.5, defaults={"steps": 8})


@pytest.mark.parametrize("content", ["", "[1]", "{", "\xff", '{"tags": 3, "preferred weight": "x", "notes": 1}', "[" * 100_000])
def test_damaged_notes_are_none_and_are_not_overwritten(model: Path, content: str) -> None:
    model.with_suffix(".json").write_text(content, encoding="latin-1")
    assert read_notes(model) == Notes()
    if content.startswith('{"'):
        return
    with pytest.raises(ModelError, match=r"ink\.json beside the model cannot be read as notes"):
        write_notes(model, {"notes": "x"})
    assert model.with_suffix(".json").read_text(encoding="latin-1") == content


@pytest.mark.parametrize(("changes", "says"), [
    ({"size": 3}, "have no 'size'"), ({"notes": 3}, "notes: give a text"), ({"notes": "x" * 100_001}, "at most"),
    ({"preferred_weight": "1"}, "preferred_weight"), ({"preferred_weight": 11}, "-10 to 10"), ({"tags": "a"}, "tags"),
    ({"tags": ["x" * 61]}, "tags"), ({"defaults": []}, "defaults"),
])  # fmt: skip
def test_what_cannot_be_noted_is_refused_and_changes_nothing(model: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        write_notes(model, changes)
    assert not model.with_suffix(".json").exists()


@pytest.mark.parametrize("name", ["ink.png", "ink.preview.png", "ink.jpeg", "ink.preview.webp"])
def test_a_preview_is_found_under_each_of_a1111s_names(model: Path, name: str) -> None:
    assert Sidecars([model.parent]).preview(model) is None
    (model.parent / name).touch()
    assert Sidecars([model.parent]).preview(model) == model.parent / name


def test_a_picture_that_is_the_model_is_not_its_preview(tmp_path: Path) -> None:
    (tmp_path / "word.png").touch()
    assert Sidecars([tmp_path]).preview(tmp_path / "word.png") is None
