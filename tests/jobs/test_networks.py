"""Prompts name files, and the catalog knows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.catalog.model_files import EMBEDDING, LORA, write_model
from webui.catalog.catalog import Catalog
from webui.core.paths import Paths
from webui.core.request import GenerationRequest
from webui.jobs.networks import find_networks


@pytest.fixture
def catalog(paths: Paths) -> Iterator[Catalog]:
    write_model(paths.loras[0] / "style.safetensors", LORA)
    write_model(paths.loras[0] / "deep" / "hero.safetensors", LORA, {"ss_output_name": "the hero"})
    write_model(paths.embeddings[0] / "badhands.safetensors", EMBEDDING)
    write_model(paths.embeddings[0] / "other.safetensors", EMBEDDING)
    with closing(Catalog(paths)) as opened:
        opened.refresh()
        yield opened


def found(catalog: Catalog, prompt: str, **values: object) -> list[tuple[str, str]]:
    files, remarks = find_networks(GenerationRequest(prompt=prompt, **values), catalog)
    assert not remarks
    return [(file.kind, file.name) for file in files]


def test_tags_name_files_by_stem_and_alias_and_each_is_found_once(catalog: Catalog) -> None:
    prompt = "a <lora:style:0.5> cat <lora:the hero:1> <lyco:style:0.2>"
    assert found(catalog, prompt) == [("lora", "style"), ("lora", "the hero")]


def test_the_files_are_hashed_as_infotexts_show_them(catalog: Catalog) -> None:
    files, _ = find_networks(GenerationRequest(prompt="<lora:style:1> badhands"), catalog)
    assert [len(file.hash or "") for file in files] == [12, 12]


@pytest.mark.parametrize("prompt", ["badhands", "a BadHands, b", "bad hands", "(badhands:1.2)"])
def test_an_embedding_is_offered_where_its_word_may_stand(catalog: Catalog, prompt: str) -> None:
    assert found(catalog, prompt) == [("embedding", "badhands")]
    assert found(catalog, "a cat", negative_prompt=prompt) == [("embedding", "badhands")]


def test_every_pictures_own_prompts_count(catalog: Catalog) -> None:
    prompts, negatives = ("a", "b <lora:style:1>"), ("badhands", "other")
    assert found(catalog, "a", batch_size=2, prompts=prompts, negative_prompts=negatives) == [
        ("lora", "style"), ("embedding", "badhands"), ("embedding", "other"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("<lora:stile:1>", "style"), ("<hypernet:none of it:1>", "none of it"), ("<future:x:1>", "no kind of network that is known here")],
)
def test_a_tag_that_cannot_be_followed_is_a_remark_and_no_failure(catalog: Catalog, prompt: str, said: str) -> None:
    files, remarks = find_networks(GenerationRequest(prompt=prompt + " and <lora:style:1>"), catalog)
    assert [file.name for file in files] == ["style"]
    assert len(remarks) == 1
    assert said in remarks[0]
    assert "rawn without it" in remarks[0]


def test_a_file_that_came_after_the_last_look_is_found(catalog: Catalog, paths: Paths) -> None:
    write_model(paths.loras[0] / "new.safetensors", LORA)
    assert found(catalog, "<lora:new:1>") == [("lora", "new")]


def test_networks_can_be_left_out_but_embeddings_are_text(catalog: Catalog) -> None:
    assert found(catalog, "<lora:style:1> badhands", disable_extra_networks=True) == [("embedding", "badhands")]
