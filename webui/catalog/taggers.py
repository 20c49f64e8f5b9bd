"""Taggers: folders in models/Taggers, each with an .onnx file and the list of its tags."""

from __future__ import annotations

from pathlib import Path

from webui.catalog.scan import natural_key
from webui.core.interrogation import Tagger

FOLDER = "Taggers"
# A1111's folder of the one tagger that it knows; ours there is the same model as .onnx.
OF_A1111 = ("torch_deepdanbooru", "deepdanbooru")
# By the list of tags beside it one sees what a model takes.
_LISTS = (("selected_tags.csv", "wd"), ("tags.txt", "deepdanbooru"))


def list_taggers(models: Path) -> tuple[Tagger, ...]:
    """Every tagger, by name.  models: the folder of A1111's folders."""
    folders = [*_folders_in(models / FOLDER), *(models / name for name in OF_A1111)]
    return tuple(tagger for folder in folders if (tagger := _tagger_in(folder)))


def where_taggers_go() -> str:
    """The way out where there is none."""
    return (
        f"Put a WD tagger (model.onnx, selected_tags.csv) into a folder of its own in models/{FOLDER}/, or DeepDanbooru as .onnx with its "
        "tags.txt."
    )


def _folders_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: natural_key(entry.name))


def _tagger_in(folder: Path) -> Tagger | None:
    for name, kind in _LISTS:
        models = sorted(folder.glob("*.onnx"))
        if models and (folder / name).is_file():
            model = folder / "model.onnx"
            return Tagger(folder.name, "wd" if kind == "wd" else "deepdanbooru", model if model in models else models[0], folder / name)
    return None
