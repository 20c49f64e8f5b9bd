"""Models as people look for them: what is said of one, its card, and what a search asks and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from webui.core.model_paths import stem_of

KINDS = ("checkpoint", "lora", "embedding", "hypernetwork", "vae", "controlnet", "upscaler")
SORTS = ("name", "folder", "newest", "largest")


@dataclass(frozen=True)
class Notes:
    """What its user says of a model.

    activation_text, negative_text: put into the prompts with it.   preferred_weight: of a LoRA, 0 for the setting's.
    vae: a checkpoint's, "" for none of its own.   defaults: values of request fields that fit it, by name.
    """

    description: str = ""
    notes: str = ""
    activation_text: str = ""
    negative_text: str = ""
    preferred_weight: float = 0.0
    vae: str = ""
    tags: tuple[str, ...] = ()
    favourite: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)


NO_NOTES = Notes()


@dataclass(frozen=True)
class Card:
    """One model.

    name: unique among its kind.   family: as catalog/families.py has it, "" where it is not known.   word: by what a prompt names it.
    broken: why it cannot be used, to follow its name; "" when it can.
    """

    kind: str
    name: str
    path: Path
    size: int
    mtime_ns: int
    family: str = ""
    word: str = ""
    broken: str = ""
    notes: Notes = NO_NOTES
    preview: Path | None = None
    searched: str = field(default="", repr=False)

    @property
    def folder(self) -> str:
        """Below the kind's root; "" in it."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class Query:
    """What is looked for.  text: all its words stand somewhere.   base: "sd1", "sd2" or "sdxl".   first, count: which of those found."""

    kind: str = "checkpoint"
    text: str = ""
    base: str = ""
    folder: str = ""
    tag: str = ""
    favourites: bool = False
    sort: str = "name"
    first: int = 0
    count: int = 100


@dataclass(frozen=True)
class Found:
    """cards: those asked for.   total: how many there are.   folders, tags, bases: to choose from, of all of the kind."""

    cards: tuple[Card, ...]
    total: int
    folders: tuple[str, ...]
    tags: tuple[str, ...]
    bases: tuple[str, ...]


_BEFORE_NAMES: Mapping[str, str] = MappingProxyType({
    "checkpoint": "Model: ", "controlnet": "Model: ", "vae": "VAE: ", "upscaler": "upscaler: ", "lora": "<lora:",
    "hypernetwork": "<hypernet:",
})  # fmt: skip


@dataclass(frozen=True)
class ModelUse:
    """Where a model is used.  said: what finds its pictures in the gallery.   pictures: how many.   models: whose own it is, by name."""

    said: str
    pictures: int
    styles: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


def said_in_infotext(card: Card) -> str:
    """What stands in the infotext of a picture that a model was used for, as the gallery looks for it."""
    name = card.path.name if card.kind == "vae" else card.word or stem_of(card.path)
    return f'"{_BEFORE_NAMES.get(card.kind, "")}{name}"'


def is_named_in(prompt: str, card: Card) -> bool:
    """Whether a prompt uses a model: by its tag, or as an embedding's word."""
    tag = {"lora": "lora", "hypernetwork": "hypernet"}.get(card.kind)
    if tag:
        return f"<{tag}:{card.word}:" in prompt or f"<{tag}:{card.word}>" in prompt
    return card.kind == "embedding" and re.search(rf"(?<!\w){re.escape(card.word)}(?!\w)", prompt, re.IGNORECASE) is not None


def base_of(family: str) -> str:
    """ "sd1", "sd2" or "sdxl" of a family; "" of another."""
    base = {"ip2p": "sd1"}.get(family, family.partition("-")[0])
    return base if base in ("sd1", "sd2", "sdxl") else ""
