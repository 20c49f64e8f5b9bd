"""The tokenizer is CLIP's own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from transformers import CLIPTokenizer

from webui.engine.tokenizer import COMMA, END, START, bracket_weights, token_ids


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A Photo OF a CAT", [320, 1125, 539, 320, 2368]),
        ("a photo\n of   a cat", [320, 1125, 539, 320, 2368]),
        ("", []),
        (",", [COMMA]),
    ],
)
def test_text_becomes_clips_tokens(tokenizer: CLIPTokenizer, text: str, tokens: list[int]) -> None:
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == tokens


def test_the_vocabulary_has_49408_words_and_the_marks_are_the_last_two(tokenizer: CLIPTokenizer) -> None:
    assert len(tokenizer) == 49408
    assert sorted(tokenizer.get_vocab().values()) == list(range(49408))
    assert tokenizer.convert_ids_to_tokens([START, END]) == ["<|startoftext|>", "<|endoftext|>"]
    assert tokenizer("cat")["input_ids"] == [START, 2368, END]


def test_text_beyond_ascii_becomes_known_tokens_and_comes_back(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenizer("łódź 猫 🙂", add_special_tokens=False)["input_ids"]
    assert tokens
    assert max(tokens) < START
    assert tokenizer.decode(tokens).split() == ["łódź", "猫", "🙂"]


def test_importing_and_building_it_does_not_import_torch() -> None:
    program = "import sys, webui.engine.tokenizer as t; t.build_tokenizer()('a cat'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("written", "plain"),
    [("“cat”", '"cat"'), ("cat &amp; dog", "cat & dog"), ("ﬁsh", "fish"), ("ｃａｔ", "cat"), ("CAT", "cat"), ("a   cat\n", "a cat")],
)
def test_text_is_made_plain_as_clips_own_tokenizer_does(tokenizer: CLIPTokenizer, written: str, plain: str) -> None:
    assert token_ids(tokenizer, [written]) == token_ids(tokenizer, [plain])


def test_no_text_has_no_tokens(tokenizer: CLIPTokenizer) -> None:
    assert token_ids(tokenizer, []) == []
    assert token_ids(tokenizer, [""]) == [[]]


def test_a_tokens_brackets_make_its_weight(tokenizer: CLIPTokenizer) -> None:
    weights = bracket_weights(tokenizer)
    ((opening,), (closing,), (square,), (both,)) = token_ids(tokenizer, ["(", ")", "[", "(("])
    assert weights[opening] == pytest.approx(1.1)
    assert weights[closing] == weights[square] == pytest.approx(1 / 1.1)
    assert weights[both] == pytest.approx(1.21)
    assert len(weights) > 50
