"""Before a job is queued its prompts get their styles, lose their comments, and have their wildcards drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.core.errors import InvalidRequest
from webui.core.prompt_preparation import PromptPreparation
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.core.styles import Style, StyleStore
from webui.core.wildcards import Wildcards


@pytest.fixture
def preparation(tmp_path: Path) -> PromptPreparation:
    store = StyleStore((tmp_path / "styles.csv",))
    store.save(Style("photo", "photo of {prompt}, 4k # fine", "blurry"))
    store.save(Style("ink", "ink", ""))
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "animal.txt").write_text("cat\ndog\nfox\nowl\n")
    return PromptPreparation(store, Wildcards(tmp_path / "wildcards"))


def prepared(preparation: PromptPreparation, request: GenerationRequest, *styles: str, **changes: object) -> GenerationRequest:
    changed, remarks = preparation.prepare(request, Settings().changed(changes), styles)
    assert not remarks
    return changed


def test_styles_come_first_in_their_order_and_comments_go_then(preparation: PromptPreparation) -> None:
    request = prepared(preparation, GenerationRequest(prompt="a cat# no dog", negative_prompt="red"), "ink", "photo")
    assert (request.prompt, request.negative_prompt) == ("photo of a cat\n", "red, blurry")


def test_comments_may_stay(preparation: PromptPreparation) -> None:
    assert prepared(preparation, GenerationRequest(prompt="a # b"), enable_prompt_comments=False).prompt == "a # b"


def test_every_pictures_own_prompt_is_prepared(preparation: PromptPreparation) -> None:
    request = prepared(preparation, GenerationRequest(prompt="a", batch_size=2, prompts=("a", "b")), "ink")
    assert (request.prompts, request.prompt) == (("a, ink", "b, ink"), "a, ink")


def test_an_unknown_style_is_a_remark(preparation: PromptPreparation) -> None:
    request, remarks = preparation.prepare(GenerationRequest(prompt="a"), Settings(), ["gone", "ink"])
    assert request.prompt == "a, ink"
    assert remarks == ("There is no style 'gone'; drawn without.",)


def drawn(preparation: PromptPreparation, request: GenerationRequest, **changes: object) -> GenerationRequest:
    changed, _ = preparation.draw_wildcards(request, Settings().changed(changes))
    return changed


def test_every_picture_draws_its_own_by_its_seed(preparation: PromptPreparation) -> None:
    request = drawn(preparation, GenerationRequest(prompt="a __animal__", seed=5, batch_size=4, batch_count=5))
    assert len(request.prompts) == 20
    assert len(set(request.prompts)) > 2
    assert request.prompt_template == "a __animal__"
    alone = drawn(preparation, GenerationRequest(prompt="a __animal__", seed=5 + 7))
    assert alone.prompt == request.of_image(7).prompt
    assert (alone.prompts, alone.prompt_template) == ((), "a __animal__")


def test_with_a_variation_strength_the_variation_seeds_draw(preparation: PromptPreparation) -> None:
    request = GenerationRequest(prompt="__animal__", seed=5, subseed=100, subseed_strength=0.5, batch_size=20)
    assert len(set(drawn(preparation, request).prompts)) > 2


def test_negative_prompts_are_drawn_too(preparation: PromptPreparation) -> None:
    request = drawn(preparation, GenerationRequest(prompt="a", negative_prompt="{b|c}", seed=5, batch_size=20))
    assert request.prompts == ()
    assert set(request.negative_prompts) == {"b", "c"}
    assert (request.prompt_template, request.negative_template) == ("", "{b|c}")


def test_what_was_drawn_is_not_drawn_again(preparation: PromptPreparation) -> None:
    once = drawn(preparation, GenerationRequest(prompt="{a|b} cat", seed=5, batch_size=2))
    assert drawn(preparation, once) == once
    assert drawn(preparation, once.of_image(1)) == once.of_image(1)


def test_wildcards_can_be_switched_off(preparation: PromptPreparation) -> None:
    request = GenerationRequest(prompt="{a|b}", seed=5)
    assert drawn(preparation, request, wildcards=False) == request


def test_a_template_that_asks_for_too_much_is_refused(preparation: PromptPreparation) -> None:
    with pytest.raises(InvalidRequest):
        drawn(preparation, GenerationRequest(prompt="{a|b}" * 19_000 + "{99$$__animal__}" * 100, seed=5, batch_count=1000))
