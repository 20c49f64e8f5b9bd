"""Cards of models: found by word, family, folder and tag, changed, and thrown away so that they can come back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalog.model_files import EMBEDDING, LORA, SD1, SDXL, VAE, write_model
from webui.catalog.cards import ModelCards
from webui.catalog.catalog import Catalog
from webui.core.errors import InvalidRequest, NotFound
from webui.core.model_cards import Card, Query, is_named_in, said_in_infotext
from webui.core.paths import Paths


@pytest.fixture
def catalog(paths: Paths) -> Iterator[Catalog]:
    lora = paths.loras[0]
    write_model(paths.checkpoints[0] / "one.safetensors", SD1)
    write_model(paths.checkpoints[0] / "xl" / "two.safetensors", SDXL)
    write_model(paths.vaes[0] / "clear.safetensors", VAE)
    write_model(
        lora / "ink.safetensors", LORA, {"ss_base_model_version": "sd_v1", "ss_tag_frequency": json.dumps({"1_x": {"ink": 3, "cat": 9}})}
    )
    write_model(lora / "styles" / "oil.safetensors", LORA, {"ss_base_model_version": "sdxl_base_v1-0", "ss_output_name": "oil paint"})
    write_model(lora / "styles" / "old" / "plain.safetensors", LORA)
    (lora / "ink.json").write_text(json.dumps({"description": "Fine lines", "tags": ["style"], "favourite": True}))
    (lora / "ink.png").write_bytes(b"png")
    (lora / "bad.safetensors").write_bytes(b"bad")
    write_model(paths.embeddings[0] / "word.safetensors", EMBEDDING)
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    yield catalog
    catalog.close()


@pytest.fixture
def cards(catalog: Catalog, paths: Paths) -> ModelCards:
    return ModelCards(catalog, paths)


def names(cards: ModelCards, **query: object) -> list[str]:
    return [card.path.stem for card in cards.find(Query(**{"kind": "lora", **query})).cards]  # type: ignore[arg-type]


@pytest.mark.parametrize(("query", "expected"), [
    ({}, ["ink", "oil", "plain", "bad"]),
    ({"text": "LINES fine"}, ["ink"]),
    ({"text": "style"}, ["ink", "oil", "plain"]),
    ({"text": "paint"}, ["oil"]),
    ({"text": "nothing"}, []),
    ({"base": "sdxl"}, ["oil", "plain", "bad"]),
    ({"base": "sd1"}, ["ink", "plain", "bad"]),
    ({"folder": "styles"}, ["oil", "plain"]),
    ({"folder": "styles/old"}, ["plain"]),
    ({"tag": "style"}, ["ink"]),
    ({"favourites": True}, ["ink"]),
    ({"first": 1, "count": 2}, ["oil", "plain"]),
    ({"sort": "folder"}, ["ink", "bad", "oil", "plain"]),
    ({"kind": "checkpoint", "base": "sdxl"}, ["two"]),
    ({"kind": "vae"}, ["clear"]),
    ({"kind": "embedding"}, ["word"]),
    ({"kind": "hypernetwork"}, []),
])  # fmt: skip
def test_a_search_finds_what_it_says(cards: ModelCards, query: dict[str, object], expected: list[str]) -> None:
    found = names(cards, **query)
    assert [name for name in found if name != "demo"] == expected


def test_choices_are_those_of_the_whole_kind(cards: ModelCards) -> None:
    found = cards.find(Query(kind="lora", text="ink"))
    assert (found.total, found.folders, found.tags, found.bases) == (1, ("styles", "styles/old"), ("style",), ("sd1", "sdxl"))


def test_a_card_says_how_a_prompt_names_it_why_it_is_broken_and_what_it_was_trained_with(cards: ModelCards) -> None:
    ink, oil, bad = (cards.card("lora", f"{name}.safetensors") for name in ("ink", "styles/oil", "bad"))
    assert (ink.word, oil.word) == ("ink", "oil paint")
    assert ink.preview == ink.path.with_suffix(".png")
    assert "not a safetensors file" in bad.broken
    assert cards.details(ink)["training_tags"] == [("cat", 9), ("ink", 3)]
    assert cards.details(bad) == {"metadata": {}, "sha256": "", "training_tags": []}


def test_what_is_noted_is_found_at_once_and_after_a_start(cards: ModelCards, catalog: Catalog, paths: Paths) -> None:
    cards.change_notes(cards.card("lora", "styles/oil.safetensors"), {"tags": ["wet"], "favourite": True})
    assert names(cards, tag="wet") == ["oil"]
    assert names(cards, favourites=True) == ["ink", "oil"]
    assert names(ModelCards(catalog, paths), tag="wet") == ["oil"]


def test_what_is_thrown_away_takes_its_files_along_and_is_not_found_again(cards: ModelCards, paths: Paths) -> None:
    target = cards.throw_away(cards.card("lora", "ink.safetensors"))
    assert names(cards, text="ink") == []
    assert sorted(path.name for path in (paths.loras[0] / ".trash").iterdir()) == ["ink.json", "ink.png", "ink.safetensors"]
    with pytest.raises(NotFound, match="Refresh"):
        cards.card("lora", "ink.safetensors")
    write_model(paths.loras[0] / "ink.safetensors", LORA)
    cards._catalog.refresh()
    assert cards.throw_away(cards.card("lora", "ink.safetensors")).name == "ink-1.safetensors"
    assert target.exists()


@pytest.mark.parametrize("query", [{"kind": "x"}, {"sort": "x"}])
def test_an_unknown_wish_is_told(cards: ModelCards, query: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="got 'x'"):
        names(cards, **query)


def test_a_checkpoints_notes_choose_its_vae_and_its_fitting_values(cards: ModelCards, catalog: Catalog) -> None:
    one = catalog.find_checkpoint("one")
    assert catalog.find_vae("Automatic", one) is None
    cards.change_notes(cards.card("checkpoint", "one.safetensors"), {"vae": "clear.safetensors", "defaults": {"steps": 9, "width": "odd"}})
    chosen = catalog.find_vae("Automatic", one)
    assert chosen is not None
    assert chosen.name == "clear.safetensors"
    assert catalog.find_vae("None", one) is None
    assert catalog.defaults(one)["steps"] == 9
    assert catalog.defaults(one)["width"] == 512


@pytest.mark.parametrize(("name", "steps", "sampler"), [
    ("sd_xl_turbo_1.0_fp16", 4, "Euler a"), ("juggernautXL-lightning", 6, "Euler"), ("dreamshaper_8LCM_lcm", 6, "LCM"),
    ("turbography", 20, "DPM++ 2M"),
])  # fmt: skip
def test_distilled_checkpoints_are_offered_few_steps(catalog: Catalog, paths: Paths, name: str, steps: int, sampler: str) -> None:
    write_model(paths.checkpoints[0] / f"{name}.safetensors", SDXL)
    catalog.refresh()
    fitting = catalog.defaults(catalog.find_checkpoint(name))
    assert (fitting["steps"], fitting["sampler"]) == (steps, sampler)


def test_ten_thousand_files_are_listed_and_searched_soon(paths: Paths) -> None:
    for number in range(10_000):
        path = paths.loras[0] / f"group {number % 20}" / f"lora {number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    cards = ModelCards(catalog, paths)
    began = time.perf_counter()
    assert cards.find(Query(kind="lora")).total == 10_000
    first = time.perf_counter() - began
    began = time.perf_counter()
    assert cards.find(Query(kind="lora", text="group lora 77")).total > 100
    search = time.perf_counter() - began
    catalog.close()
    # Measured 0.25 s and 0.01 s on two idle cores; ten times that is still far from a list read file by file.
    assert first < 5
    assert search < 1


@pytest.mark.parametrize(
    ("kind", "word", "prompt", "is_named"),
    [
        ("lora", "ink", "a cat <lora:ink:0.8>", True),
        ("lora", "ink", "a cat <lora:ink>", True),
        ("lora", "ink", "<lora:inkwell:1> ink <hypernet:ink:1>", False),
        ("hypernetwork", "ink", "<hypernet:ink:1>", True),
        ("embedding", "soft", "very (SOFT:1.2), light", True),
        ("embedding", "soft", "softly", False),
        ("embedding", "a.c", "abc", False),
        ("vae", "", "vae", False),
    ],
)
def test_a_prompt_names_a_model_by_its_tag_or_word(kind: str, word: str, prompt: str, is_named: bool) -> None:
    assert is_named_in(prompt, Card(kind, word, Path(f"{word}.safetensors"), 0, 0, word=word)) is is_named


def test_a_vae_belongs_to_the_checkpoints_whose_notes_name_it(cards: ModelCards) -> None:
    clear = cards.card("vae", "clear.safetensors")
    assert cards.belongs_to(clear) == ()
    cards.change_notes(cards.card("checkpoint", "xl/two.safetensors"), {"vae": "clear.safetensors"})
    assert cards.belongs_to(clear) == ("xl/two.safetensors",)


def test_a_picture_is_looked_for_by_what_its_infotext_says_of_a_model(cards: ModelCards) -> None:
    named = (("checkpoint", "xl/two.safetensors"), ("vae", "clear.safetensors"), ("lora", "styles/oil.safetensors"))
    said = [said_in_infotext(cards.card(kind, name)) for kind, name in (*named, ("embedding", "word.safetensors"))]
    assert said == ['"Model: two"', '"VAE: clear.safetensors"', '"<lora:oil paint"', '"word"']
