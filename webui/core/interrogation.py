"""Pictures in words: who can tell them, under which settings, and how tags are written into a prompt. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from webui.core.setting_parts.interrogation import InterrogationSettings

# Names of A1111's API. The first means a sentence, the others tags.
CAPTIONER = "clip"
ANY_TAGGER = ("deepdanbooru", "deepbooru")
# Below this share a character's name is more often wrong than right; the bound that the taggers' makers use.
CHARACTER_SHARE = 0.85

TagKind = Literal["general", "character", "rating"]


@dataclass(frozen=True)
class Tagger:
    """A model that gives tags.

    name: its folder's.   kind: "wd" takes what WD taggers take, "deepdanbooru" what DeepDanbooru takes.   model: the .onnx file.
    tags: selected_tags.csv or tags.txt.
    """

    name: str
    kind: Literal["wd", "deepdanbooru"]
    model: Path
    tags: Path


@dataclass(frozen=True)
class Tag:
    """One word for what is on a picture.  name: with underscores.   share: how sure the tagger is, 0 to 1."""

    name: str
    share: float
    kind: TagKind = "general"


def write_tags(tags: Iterable[Tag], settings: InterrogationSettings) -> str:
    """What a prompt is given of a tagger's answer, as A1111 writes it."""
    left_out = {_with_underscores(name) for name in settings.deepbooru_filter_tags.split(",")}
    threshold = settings.interrogate_deepbooru_score_threshold
    chosen = [
        tag
        for tag in tags
        if tag.kind != "rating"
        and tag.share >= (max(threshold, CHARACTER_SHARE) if tag.kind == "character" else threshold)
        and _with_underscores(tag.name) not in left_out
    ]
    chosen.sort(key=(lambda tag: tag.name) if settings.deepbooru_sort_alpha else (lambda tag: -tag.share))
    return ", ".join(_written(tag, settings) for tag in chosen)


def _written(tag: Tag, settings: InterrogationSettings) -> str:
    name = tag.name
    # A face like ^_^ has no two letters beside each other, and keeps its underscore.
    if settings.deepbooru_use_spaces and re.search(r"[^\W_]{2}", name):
        name = name.replace("_", " ")
    if settings.deepbooru_escape:
        name = re.sub(r"([\\()])", r"\\\1", name)
    return f"({name}:{tag.share:.3f})" if settings.interrogate_return_ranks else name


def _with_underscores(name: str) -> str:
    return name.strip().replace(" ", "_")
