"""CLIP's byte-pair tokenizer, built from the vocabulary file in the package. Needs no torch."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ftfy
from transformers import CLIPTokenizer

VOCABULARY = Path(__file__).parent / "data" / "bpe_simple_vocab_16e6.txt.gz"
MERGES = slice(1, 49152 - 256 - 2 + 1)

START = 49406
END = 49407
COMMA = 267


def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer of SD 1.x: 49408 tokens.

    Its vocabulary is the 256 bytes, the same at the end of a word, one token a merge, and start and end marks.
    Source: Radford et al. 2021 (CLIP); the vocabulary file is open_clip's (MIT, see data/LICENSE-open_clip.txt).
    """
    lines = gzip.decompress(VOCABULARY.read_bytes()).decode("utf-8").split("\n")[MERGES]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    symbols = list(_printable_bytes().values())
    words = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(pair) for pair in merges), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=10**9)


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, without marks; entities, ligatures and curly quotes are made plain before, as CLIP's own tokenizer does."""
    return tokenizer([ftfy.fix_text(text) for text in texts], add_special_tokens=False)["input_ids"] if texts else []


def bracket_weights(tokenizer: CLIPTokenizer) -> Mapping[int, float]:
    """By token, the factor that its brackets make: "(" 1.1, "[" 1 / 1.1, and the inverse for those that close."""
    factors = {"(": 1.1, ")": 1 / 1.1, "[": 1 / 1.1, "]": 1.1}
    weights = {}
    for text, token in tokenizer.get_vocab().items():
        weight = math.prod(factors.get(character, 1.0) for character in text)
        if weight != 1.0:
            weights[token] = weight
    return weights


def _printable_bytes() -> dict[int, str]:
    """GPT-2's way to write each byte as one printable character: printable ones stand for themselves, others from U+0100 on."""
    themselves = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in themselves}
    others = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + number) for number, byte in enumerate(others)}
