"""What lies beside a model file: its notes, a description, a preview picture.

A1111's own: `<stem>.json` (its user metadata), `<stem>.txt` or `<stem>.description.txt`, `<stem>.png` or `<stem>.preview.png` and other
picture suffixes. Of others' files, `<stem>.civitai.info` is read for its trigger words. Tags, favourites and fitting values are ours and
stand in the same `<stem>.json`, where A1111 leaves them alone; what we do not know there, we leave alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from webui.core.errors import InvalidRequest, ModelError
from webui.core.files import write_atomically
from webui.core.model_cards import Notes
from webui.core.model_paths import stem_of

PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
MAX_BYTES = 4 * 1024 * 1024
MAX_TEXT = 100_000
MAX_TAGS, MAX_TAG = 50, 60


# By A1111's keys.
_TEXTS: Mapping[str, str] = MappingProxyType({
    "description": "description", "notes": "notes", "activation_text": "activation text", "negative_text": "negative text", "vae": "vae",
})  # fmt: skip


class Sidecars:
    """The files beside models, as they are on disk when this is made. Each folder is listed once."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._names = {folder: _names_in(folder) for folder in set(folders)}

    def preview(self, path: Path) -> Path | None:
        """The picture that shows what a model does."""
        names, stem = self._names.get(path.parent, frozenset()), stem_of(path)
        for suffix in PREVIEW_SUFFIXES:
            for name in (f"{stem}.preview{suffix}", f"{stem}{suffix}"):
                # An embedding may itself be a picture.
                if name in names and name != path.name:
                    return path.parent / name
        return None

    def notes(self, path: Path) -> Notes:
        """What is said of a model; of a damaged file, nothing."""
        names, stem = self._names.get(path.parent, frozenset()), stem_of(path)
        said: dict[str, Any] = {}
        if f"{stem}.civitai.info" in names:
            said = _of_civitai(_object_in(path.with_name(f"{stem}.civitai.info")) or {})
        if f"{stem}.json" in names:
            own = _own(_object_in(path.with_name(f"{stem}.json")) or {})
            said |= {key: value for key, value in own.items() if value}
        if not said.get("description"):
            text = next((name for name in (f"{stem}.txt", f"{stem}.description.txt") if name in names), "")
            said["description"] = _text_in(path.with_name(text)) if text else ""
        return Notes(**said)


def read_notes(path: Path) -> Notes:
    """What is said of one model now."""
    return Sidecars([path.parent]).notes(path)


def write_notes(path: Path, changes: Mapping[str, Any]) -> None:
    """Change what is said of a model; what else stands in its file stays.

    changes: fields of Notes.  Raises InvalidRequest for what cannot be noted, ModelError where the file there is not ours to change.
    """
    unknown = changes.keys() - Notes.__dataclass_fields__.keys()
    if unknown:
        raise InvalidRequest(f"Notes of a model have no {min(unknown)!r}.")
    target = path.with_name(f"{stem_of(path)}.json")
    stored = _object_in(target) if target.exists() else {}
    if stored is None:
        raise ModelError(f"{target.name} beside the model cannot be read as notes. Mend it or move it away; it is not overwritten.")
    for name, value in changes.items():
        stored["preferred weight" if name == "preferred_weight" else _TEXTS.get(name, name)] = _checked(name, value)
    write_atomically(target, json.dumps(stored, ensure_ascii=False, indent=4).encode())


def _checked(name: str, value: Any) -> Any:
    if name in _TEXTS:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise InvalidRequest(f"{name}: give a text of at most {MAX_TEXT} characters.")
    elif name == "preferred_weight":
        if isinstance(value, bool) or not isinstance(value, int | float) or not -10 <= value <= 10:
            raise InvalidRequest(f"preferred_weight: got {value!r}; give a number from -10 to 10, 0 for the setting's.")
    elif name == "tags":
        tags = _tags(value)
        if tags is None:
            raise InvalidRequest(f"tags: give at most {MAX_TAGS} texts of at most {MAX_TAG} characters.")
        return tags
    elif name == "favourite":
        return bool(value)
    elif not isinstance(value, dict):
        raise InvalidRequest("defaults: give an object of values by name.")
    return value


def _tags(value: Any) -> list[str] | None:
    if (
        not isinstance(value, list | tuple)
        or len(value) > MAX_TAGS
        or not all(isinstance(tag, str) and len(tag) <= MAX_TAG for tag in value)
    ):
        return None
    return list(dict.fromkeys(tag.strip() for tag in value if tag.strip()))


def _own(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of Notes from A1111's file; what is not as it should be is left out."""
    said: dict[str, Any] = {name: stored[key] for name, key in _TEXTS.items() if isinstance(stored.get(key), str)}
    weight = stored.get("preferred weight")
    if isinstance(weight, int | float) and not isinstance(weight, bool):
        said["preferred_weight"] = float(weight)
    said["tags"] = tuple(_tags(stored.get("tags")) or ())
    said["favourite"] = stored.get("favourite") is True
    if isinstance(stored.get("defaults"), dict):
        said["defaults"] = stored["defaults"]
    return said


def _of_civitai(stored: Mapping[str, Any]) -> dict[str, Any]:
    words = stored.get("trainedWords")
    model = stored.get("model")
    tags = model.get("tags") if isinstance(model, dict) else None
    return {
        "activation_text": ", ".join(word for word in words if isinstance(word, str)) if isinstance(words, list) else "",
        "tags": tuple((_tags(tags[:MAX_TAGS]) or ()) if isinstance(tags, list) else ()),
    }


def _object_in(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when it is none, or cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _text_in(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_TEXT).strip()
    except OSError:
        return ""


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208  names alone: as paths, ten thousand of them take seconds
    except OSError:
        return frozenset()
