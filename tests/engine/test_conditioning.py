"""Prompts become chunks of 75 tokens and vectors as in A1111."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from tests.engine.tiny_models import TinyModel
from webui.engine.conditioning import Chunk, Coding, chunk_prompt, count_tokens, encode_texts, uses_emphasis
from webui.engine.families.sd1 import SD1
from webui.engine.text_encoders import read_text
from webui.engine.tokenizer import COMMA, END, START

CAT = 2368
DOG = 1929


def chunks_of(tokenizer: CLIPTokenizer, prompt: str, *, emphasis: str = "Original", backtrack: int = 20) -> list[Chunk]:
    return chunk_prompt(tokenizer, prompt, Coding(emphasis=emphasis, backtrack=backtrack))


def words(number: int) -> str:
    """A text of so many tokens, none a comma."""
    return " ".join(["cat"] * number)


def lengths(chunks: list[Chunk]) -> list[int]:
    return [len(chunk.tokens) for chunk in chunks]


@pytest.fixture(scope="module")
def encoder(tiny: TinyModel) -> CLIPTextModel:
    return tiny.text_encoder


def encode(encoder: CLIPTextModel, *texts: list[Chunk], clip_skip: int = 1, emphasis: str = "Original") -> torch.Tensor:
    with torch.no_grad():
        return encode_texts(
            [partial(read_text, encoder, SD1.texts[0].reading, 0)], texts, Coding(clip_skip=clip_skip, emphasis=emphasis)
        ).context


def test_a_chunk_is_padded_to_77_with_the_end_mark() -> None:
    tokens, weights = Chunk((CAT, DOG), (1.0, 1.5)).padded()
    assert tokens == [START, CAT, DOG, *[END] * 74]
    assert weights == [1.0, 1.0, 1.5, *[1.0] * 74]


def test_a_full_chunk_has_one_end_mark() -> None:
    tokens, _ = Chunk((CAT,) * 75, (1.0,) * 75).padded()
    assert tokens == [START, *[CAT] * 75, END]


def test_an_empty_prompt_is_one_empty_chunk(tokenizer: CLIPTokenizer) -> None:
    assert chunks_of(tokenizer, "") == [Chunk()]


@pytest.mark.parametrize(("tokens", "expected"), [(74, [74]), (75, [75]), (76, [75, 1]), (150, [75, 75]), (151, [75, 75, 1])])
def test_long_prompts_are_cut_every_75_tokens(tokenizer: CLIPTokenizer, tokens: int, expected: list[int]) -> None:
    assert lengths(chunks_of(tokenizer, words(tokens))) == expected


def test_weights_stay_with_their_tokens_across_chunks(tokenizer: CLIPTokenizer) -> None:
    first, second = chunks_of(tokenizer, f"{words(74)} (dog dog:1.5) cat")
    assert first.weights == (1.0,) * 74 + (1.5,)
    assert second.tokens == (DOG, CAT)
    assert second.weights == (1.5, 1.0)


def test_what_follows_a_near_comma_moves_to_the_next_chunk(tokenizer: CLIPTokenizer) -> None:
    first, second = chunks_of(tokenizer, f"{words(60)}, {words(15)} dog")
    assert lengths([first, second]) == [61, 16]
    assert first.tokens[-1] == COMMA
    assert second.tokens[-1] == DOG


@pytest.mark.parametrize(("before", "moves"), [(55, True), (54, False)])
def test_a_comma_counts_as_near_up_to_the_backtrack(tokenizer: CLIPTokenizer, before: int, moves: bool) -> None:
    # The comma is token number `before` of 75, so it lies 75 - before back when the chunk is full.
    chunks = chunks_of(tokenizer, f"{words(before)}, {words(30)}")
    assert lengths(chunks) == ([before + 1, 30] if moves else [75, before + 31 - 75])


def test_a_backtrack_of_0_cuts_anywhere(tokenizer: CLIPTokenizer) -> None:
    assert lengths(chunks_of(tokenizer, f"{words(73)}, {words(5)}", backtrack=0)) == [75, 4]


def test_a_comma_that_is_the_76th_token_begins_the_next_chunk(tokenizer: CLIPTokenizer) -> None:
    first, second = chunks_of(tokenizer, f"{words(70)}, {words(4)}, dog")
    assert lengths([first, second]) == [75, 2]
    assert second.tokens == (COMMA, DOG)


def test_break_ends_a_chunk(tokenizer: CLIPTokenizer) -> None:
    first, second = chunks_of(tokenizer, "cat BREAK dog")
    assert first.tokens == (CAT,)
    assert second.tokens == (DOG,)


def test_a_break_at_the_beginning_leaves_an_empty_chunk(tokenizer: CLIPTokenizer) -> None:
    assert lengths(chunks_of(tokenizer, "BREAK cat")) == [0, 1]


def test_without_emphasis_brackets_are_text(tokenizer: CLIPTokenizer) -> None:
    (chunk,) = chunks_of(tokenizer, "(cat:1.5)", emphasis="None")
    assert len(chunk.tokens) > 1
    assert set(chunk.weights) == {1.0}


@pytest.mark.parametrize(
    ("prompt", "used", "limit"),
    [
        ("", 0, 75),
        ("a photo of a cat", 5, 75),
        ("a (photo:1.3) of a cat", 5, 75),
        (words(75), 75, 75),
        (words(76), 76, 150),
        ("cat BREAK dog", 76, 150),
        (words(151), 151, 225),
    ],
)
def test_the_token_counter(tokenizer: CLIPTokenizer, prompt: str, used: int, limit: int) -> None:
    assert count_tokens(chunks_of(tokenizer, prompt)) == (used, limit)


def test_a_plain_prompt_is_encoded_as_transformers_does(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    prompt = "a photo of a cat, in the snow"
    ours = encode(encoder, chunks_of(tokenizer, prompt))
    tokens = tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = encoder(tokens).last_hidden_state
    assert ours.shape == (1, 77, 32)
    assert torch.equal(ours, theirs)


def test_chunks_are_encoded_apart_and_joined_in_order(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    joined = encode(encoder, chunks_of(tokenizer, "cat BREAK dog"))
    assert joined.shape == (1, 154, 32)
    torch.testing.assert_close(joined[:, :77], encode(encoder, chunks_of(tokenizer, "cat")), rtol=0, atol=1e-5)
    torch.testing.assert_close(joined[:, 77:], encode(encoder, chunks_of(tokenizer, "dog")), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("clip_skip", "layer"), [(2, -2), (3, -3), (12, -3)])
def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, clip_skip: int, layer: int
) -> None:
    chunks = chunks_of(tokenizer, "a cat")
    with torch.no_grad():
        hidden = encoder(torch.tensor([chunks[0].padded()[0]]), output_hidden_states=True)
        expected = encoder.final_layer_norm(hidden.hidden_states[layer])
    assert len(hidden.hidden_states) == 3  # so that 12 asks for more than there is
    ours = encode(encoder, chunks, clip_skip=clip_skip)
    assert torch.equal(ours, expected)
    assert not torch.allclose(ours, hidden.last_hidden_state)


def test_weight_1_changes_no_bit(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    assert torch.equal(encode(encoder, chunks_of(tokenizer, "a (cat:1.0)")), encode(encoder, chunks_of(tokenizer, "a cat")))


def test_original_emphasis_multiplies_and_keeps_each_chunks_mean(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    plain = encode(encoder, chunks_of(tokenizer, "a (cat:1.5) BREAK dog"), emphasis="Ignore")
    weighted = encode(encoder, chunks_of(tokenizer, "a (cat:1.5) BREAK dog"))
    first, second = weighted[:, :77], weighted[:, 77:]
    torch.testing.assert_close(first.mean(), plain[:, :77].mean(), rtol=1e-4, atol=1e-7)
    ratio = first / plain[:, :77]
    torch.testing.assert_close(ratio[0, 2] / ratio[0, 1], torch.full((32,), 1.5), rtol=1e-4, atol=0)
    assert torch.equal(second, plain[:, 77:])


def test_a_mean_of_0_gives_no_nan(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    silent = deepcopy(encoder)
    torch.nn.init.zeros_(silent.final_layer_norm.weight)
    torch.nn.init.zeros_(silent.final_layer_norm.bias)
    assert not encode(silent, chunks_of(tokenizer, "a (cat:1.5)")).any()


def test_no_norm_only_multiplies(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    chunks = chunks_of(tokenizer, "a (cat:1.5)")
    plain = encode(encoder, chunks, emphasis="Ignore")
    weighted = encode(encoder, chunks, emphasis="No norm")
    assert torch.equal(weighted[0, 2], plain[0, 2] * 1.5)
    assert torch.equal(weighted[0, :2], plain[0, :2])
    assert torch.equal(weighted[0, 3:], plain[0, 3:])


def test_ignored_emphasis_reads_brackets_but_weights_nothing(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    ignored = encode(encoder, chunks_of(tokenizer, "a (cat:1.5)", emphasis="Ignore"), emphasis="Ignore")
    assert torch.equal(ignored, encode(encoder, chunks_of(tokenizer, "a cat")))


def test_texts_of_one_call_share_the_mean_that_emphasis_keeps(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    texts = [chunks_of(tokenizer, "a (cat:1.5)"), chunks_of(tokenizer, "a dog"), chunks_of(tokenizer, "a dog")]
    plain = encode(encoder, *texts, emphasis="Ignore")
    weights = torch.ones(3, 77, 1)
    weights[0, 2] = 1.5
    weighted = plain * weights
    torch.testing.assert_close(encode(encoder, *texts), weighted * (plain.mean() / weighted.mean()), rtol=1e-6, atol=1e-6)
    assert not torch.equal(encode(encoder, *texts)[1:2], encode(encoder, texts[1]))


def test_shorter_texts_get_empty_chunks(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
    both = encode(encoder, chunks_of(tokenizer, "cat BREAK dog"), chunks_of(tokenizer, "cat"), emphasis="Ignore")
    assert both.shape == (2, 154, 32)
    torch.testing.assert_close(both[1:, 77:], encode(encoder, chunks_of(tokenizer, "")), rtol=0, atol=1e-5)


@dataclass(frozen=True, eq=False)
class Word:
    """An embedding called by one token."""

    name: str
    token: int
    vectors: torch.Tensor

    def of_encoder(self, place: int) -> torch.Tensor:
        """The same for every text encoder."""
        return self.vectors

    def find(self, tokens: Sequence[int], at: int) -> tuple[Word, int] | None:
        return (self, 1) if tokens[at] == self.token else None


@pytest.fixture
def word() -> Word:
    return Word("dog", DOG, torch.arange(96, dtype=torch.float32).reshape(3, 32))


def test_an_embedding_takes_a_token_for_each_vector(tokenizer: CLIPTokenizer, word: Word) -> None:
    (chunk,) = chunk_prompt(tokenizer, "cat (dog:1.2) cat", Coding(), word.find)
    assert chunk.tokens == (CAT, 0, 0, 0, CAT)
    assert chunk.weights == (1.0, 1.2, 1.2, 1.2, 1.0)
    assert chunk.fixes == ((1, word),)


def test_an_embedding_never_straddles_chunks(tokenizer: CLIPTokenizer, word: Word) -> None:
    first, second = chunk_prompt(tokenizer, f"{words(73)} dog", Coding(), word.find)
    assert lengths([first, second]) == [73, 3]
    assert second.fixes == ((0, word),)


def test_its_vectors_stand_where_its_word_stood(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, word: Word) -> None:
    chunks = chunk_prompt(tokenizer, "cat dog", Coding(), word.find)
    ours = encode(encoder, chunks)
    changed = deepcopy(encoder)
    with torch.no_grad():
        changed.get_input_embeddings().weight[[1000, 1001, 1002]] = word.vectors
        tokens = [START, CAT, 1000, 1001, 1002, *[END] * 72]
        theirs = changed(torch.tensor([tokens])).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(encode(encoder, chunks_of(tokenizer, "cat")), encode(encoder, chunks_of(tokenizer, "cat")), rtol=0, atol=0)


OLD = Coding(old_emphasis=True)


@pytest.mark.parametrize(
    ("prompt", "weights"),
    [
        ("cat (dog) cat", [1.0, 1.1, 1.0]),
        ("cat [dog] cat", [1.0, 1 / 1.1, 1.0]),
        ("((cat dog", [1.21, 1.21]),
        ("cat) dog", [1.0, 1 / 1.1]),
    ],
)
def test_old_emphasis_weights_all_that_follows_a_bracket(tokenizer: CLIPTokenizer, prompt: str, weights: list[float]) -> None:
    (chunk,) = chunk_prompt(tokenizer, prompt, OLD)
    assert chunk.weights == pytest.approx(weights)
    assert set(chunk.tokens) <= {CAT, DOG}


def test_old_emphasis_cuts_after_75_tokens(tokenizer: CLIPTokenizer) -> None:
    assert lengths(chunk_prompt(tokenizer, words(100), OLD)) == [75]


@pytest.mark.parametrize(("text", "uses"), [("a cat", False), ("a (cat)", True), ("a [cat]", True)])
def test_the_infotext_names_the_emphasis_where_there_are_brackets(text: str, uses: bool) -> None:
    assert uses_emphasis(text) is uses
