"""The models as people look for them: one card each, found by any word, family, tag or folder; and what is done with one."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from webui.catalog.adapters import Lora
from webui.catalog.catalog import Catalog
from webui.catalog.identify import read_metadata
from webui.catalog.scan import TRASH, ModelFile, natural_key
from webui.catalog.sidecars import PREVIEW_SUFFIXES, Sidecars, read_notes, write_notes
from webui.core.errors import InvalidRequest, ModelError, NotFound
from webui.core.files import write_atomically
from webui.core.model_cards import KINDS, SORTS, Card, Found, Notes, Query, base_of
from webui.core.model_paths import stem_of
from webui.core.paths import Paths

MAX_SHOWN = 500
TAGS_SHOWN = 60


class ModelCards:
    """Owner of the cards, made when they are first looked at after a change of the catalog. Every method may be called from any thread."""

    def __init__(self, catalog: Catalog, paths: Paths) -> None:
        self._catalog = catalog
        self._paths = paths
        self._lock = threading.Lock()
        self._made: tuple[object, dict[str, tuple[Card, ...]]] | None = None

    def find(self, query: Query) -> Found:
        """The cards of a kind that a query means, in its order.  Raises InvalidRequest."""
        for given, known in ((query.kind, KINDS), (query.sort, SORTS)):
            if given not in known:
                raise InvalidRequest(f"Models: got {given!r}; known are {', '.join(known)}.")
        cards = self._cards()[query.kind]
        words = query.text.lower().split()
        found = [card for card in cards if _is_meant(card, query, words)]
        if query.sort == "newest":
            found.sort(key=lambda card: -card.mtime_ns)
        elif query.sort == "largest":
            found.sort(key=lambda card: -card.size)
        elif query.sort == "folder":
            found.sort(key=lambda card: natural_key(card.folder))
        first, count = max(0, query.first), min(max(0, query.count), MAX_SHOWN)
        return Found(
            tuple(found[first : first + count]),
            len(found),
            _in_order(folder for card in cards for folder in _folders_above(card.folder)),
            _in_order(tag for card in cards for tag in card.notes.tags),
            _in_order(base_of(card.family) for card in cards),
        )

    def card(self, kind: str, name: str) -> Card:
        """Raises NotFound."""
        found = next((card for card in self._cards().get(kind, ()) if card.name == name), None)
        if found is None:
            raise NotFound(f"There is no {kind} {name!r} (any more). Refresh.")
        return found

    def change_notes(self, card: Card, changes: dict[str, Any]) -> Card:
        """Note something of a model; its card as it is then.  Raises InvalidRequest, ModelError."""
        try:
            write_notes(card.path, changes)
        except OSError as error:
            raise ModelError(f"The notes of {card.name} cannot be written: {error.strerror or error}.") from None
        return self._again(card)

    def set_preview(self, card: Card, png: bytes) -> Card:
        """Put a picture beside a model in the place of the one that is there.  Raises ModelError."""
        target = card.path.with_name(f"{stem_of(card.path)}.preview.png")
        try:
            write_atomically(target, png)
        except OSError as error:
            raise ModelError(f"The preview of {card.name} cannot be written: {error.strerror or error}.") from None
        return self._again(card)

    def throw_away(self, card: Card) -> Path:
        """Move a model and what lies beside it into the hidden folder .trash beside it; where it is then.  Raises ModelError.

        From there it comes back by hand.
        """
        folder = card.path.parent / TRASH
        stem = stem_of(card.path)
        suffix = card.path.name.removeprefix(stem)
        endings = (".json", ".txt", ".description.txt", ".civitai.info", ".yaml")
        pictures = [middle + suffix for middle in ("", ".preview") for suffix in PREVIEW_SUFFIXES]
        beside = [card.path.with_name(stem + ending) for ending in (*endings, *pictures)]
        try:
            folder.mkdir(exist_ok=True)
            number = 0
            while (target := folder / f"{stem}{f'-{number}' if number else ''}{suffix}").exists():
                number += 1
            shutil.move(card.path, target)
            for one in beside:
                if one != card.path and one.is_file():
                    shutil.move(one, target.with_name(stem_of(target) + one.name.removeprefix(stem)))
        except OSError as error:
            raise ModelError(f"{card.name} cannot be moved into the trash: {error.strerror or error}.") from None
        self._catalog.refresh()
        return target

    def details(self, card: Card) -> dict[str, Any]:
        """What else is known: metadata, hashes that are known, and training tags with how often."""
        metadata = read_metadata(card.path)
        file = self._file_of(card)
        sha256 = self._catalog.known_sha256(file) if file else None
        return {"metadata": metadata, "sha256": sha256 or "", "training_tags": _training_tags(metadata.get("ss_tag_frequency", ""))}

    def belongs_to(self, card: Card) -> tuple[str, ...]:
        """The checkpoints whose VAE it is said to be, by name."""
        if card.kind != "vae":
            return ()
        names = {card.name, card.path.name, stem_of(card.path)}
        return tuple(one.name for one in self._cards()["checkpoint"] if one.notes.vae in names)

    def _kind_of(self, path: Path) -> str:
        """The kind that a file's folder is for."""
        paths = self._paths
        kinds = (
            ("lora", paths.loras), ("embedding", paths.embeddings), ("hypernetwork", paths.hypernetworks), ("vae", paths.vaes),
            ("controlnet", paths.controls), ("checkpoint", paths.checkpoints),
        )  # fmt: skip
        return next((kind for kind, folders in kinds if any(path.is_relative_to(folder) for folder in folders)), "upscaler")

    def _file_of(self, card: Card) -> ModelFile | None:
        catalog = self._catalog
        files: tuple[ModelFile, ...] = (
            *catalog.checkpoints(), *catalog.loras(), *catalog.embeddings(), *catalog.hypernetworks(), *catalog.vaes(),
            *catalog.controls().files,
        )  # fmt: skip
        return next((file for file in files if file.path == card.path), None)

    def _again(self, card: Card) -> Card:
        """A card after something beside its model has changed."""
        sidecars = Sidecars([card.path.parent])
        new = _described(card, read_notes(card.path), sidecars.preview(card.path))
        with self._lock:
            if self._made:
                version, cards = self._made
                kept = {kind: tuple(new if one is card else one for one in those) for kind, those in cards.items()}
                self._made = version, kept
        return new

    def _cards(self) -> dict[str, tuple[Card, ...]]:
        version = self._catalog.listing_version
        with self._lock:
            if self._made is None or self._made[0] is not version:
                self._made = version, self._make()
            return self._made[1]

    def _make(self) -> dict[str, tuple[Card, ...]]:
        catalog = self._catalog
        plain: list[Card] = [
            *(_card("checkpoint", file, family=file.identity.family) for file in catalog.checkpoints()),
            *(_card("lora", file, family=file.made_for, word=_lora_word(catalog, file)) for file in catalog.loras()),
            *(_card("embedding", file, word=file.word) for file in catalog.embeddings()),
            *(_card("hypernetwork", file, word=file.stem) for file in catalog.hypernetworks()),
            *(_card("vae", file) for file in catalog.vaes()),
            *(_card("controlnet", file, family=file.base) for file in catalog.controls().files),
            *(
                Card("upscaler", one.name, one.path, *_size_of(one.path), word=one.name)
                for one in catalog.upscalers.files if one.path
            ),
            *(Card(self._kind_of(one.path), one.name, one.path, 0, 0, broken=one.reason) for one in catalog.broken()),
        ]  # fmt: skip
        sidecars = Sidecars(card.path.parent for card in plain)
        made: dict[str, list[Card]] = {kind: [] for kind in KINDS}
        for card in plain:
            made[card.kind].append(_described(card, sidecars.notes(card.path), sidecars.preview(card.path)))
        return {kind: tuple(sorted(cards, key=lambda card: (bool(card.broken), natural_key(card.name)))) for kind, cards in made.items()}


def _folders_above(folder: str) -> Iterable[str]:
    """A folder and those that it lies in."""
    parts = folder.split("/")
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*names} - {""}, key=natural_key))


def _is_meant(card: Card, query: Query, words: Sequence[str]) -> bool:
    return (
        (not query.favourites or card.notes.favourite)
        and (not query.tag or query.tag in card.notes.tags)
        and (not query.base or base_of(card.family) in ("", query.base))
        and (not query.folder or card.folder == query.folder or card.folder.startswith(query.folder + "/"))
        and all(word in card.searched for word in words)
    )


def _card(kind: str, file: ModelFile, *, family: str = "", word: str = "") -> Card:
    return Card(kind, file.name, file.path, file.size, file.mtime_ns, family, word)


def _described(card: Card, notes: Notes, preview: Path | None) -> Card:
    searched = " ".join((card.name, card.word, notes.description, notes.activation_text, *notes.tags)).lower()
    return Card(card.kind, card.name, card.path, card.size, card.mtime_ns, card.family, card.word, card.broken, notes, preview, searched)


def _lora_word(catalog: Catalog, file: Lora) -> str:
    """Its alias where that means this file alone, else its file's name."""
    return file.alias if catalog.lora_named(file.alias) is file else file.stem


def _size_of(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _training_tags(text: str) -> list[tuple[str, int]]:
    """The words that a LoRA was trained with and how often, from kohya's note of them; the most frequent first."""
    try:
        content = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return []
    counted: dict[str, int] = {}
    for folder in content.values() if isinstance(content, dict) else ():
        for word, count in folder.items() if isinstance(folder, dict) else ():
            if isinstance(count, int):
                counted[word.strip()] = counted.get(word.strip(), 0) + count
    return sorted(counted.items(), key=lambda pair: -pair[1])[:TAGS_SHOWN]
