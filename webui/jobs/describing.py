"""Pictures in words, by whoever is there to say them: a captioner, taggers."""

from __future__ import annotations

from pathlib import Path

from PIL.Image import Image

from webui.catalog.taggers import list_taggers, where_taggers_go
from webui.core.errors import NotFound
from webui.core.interrogation import ANY_TAGGER, CAPTIONER, write_tags
from webui.core.ports import Engine
from webui.core.settings import Settings


def who_describes(models: Path) -> tuple[str, ...]:
    """Who can put a picture in words: "clip" for a sentence, names of taggers for tags.  models: the folder of A1111's folders."""
    return (*((CAPTIONER,) if _captioner(models) else ()), *(tagger.name for tagger in list_taggers(models)))


def describe(picture: Image, model: str, *, engine: Engine, models: Path, settings: Settings) -> str:
    """A picture in words.  model: see `who_describes`; "deepdanbooru" is any tagger.  Raises NotFound saying what to put where."""
    if model == CAPTIONER:
        if folder := _captioner(models):
            return engine.caption(picture, folder, settings)
        raise NotFound("There is no captioner. Put a BLIP model (config.json, model.safetensors, ...) into models/BLIP/.")
    taggers = list_taggers(models)
    named = [one for one in taggers if model in (one.name, one.kind)] or (taggers if model in ANY_TAGGER else ())
    if not named:
        known = f"; there are {', '.join(one.name for one in taggers)}" if taggers else ""
        raise NotFound(f"Model not found: there is no tagger {model[:80]!r}{known}. {where_taggers_go()}")
    return write_tags(engine.tags(picture, named[0]), settings)


def _captioner(models: Path) -> Path | None:
    folder = models / "BLIP"
    return folder if (folder / "config.json").is_file() else None
