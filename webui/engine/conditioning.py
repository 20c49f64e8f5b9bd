"""Prompt text to the vectors the model is conditioned on: chunks of 75 tokens, weighted, encoded, joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from webui.core.prompt_syntax import Break, Weighted, parse_emphasis, plain_prompt
from webui.engine.tokenizer import COMMA, END, START

CHUNK = 75


@dataclass(frozen=True)
class Chunk:
    """Up to 75 tokens and their weights, not yet padded."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]

    def padded(self) -> tuple[list[int], list[float]]:
        """77 tokens and weights: start mark, tokens, end marks."""
        missing = CHUNK + 1 - len(self.tokens)
        return [START, *self.tokens, *[END] * missing], [1.0, *self.weights, *[1.0] * missing]


def count_tokens(tokenizer: CLIPTokenizer, prompt: str, *, emphasis: str = "Original", backtrack: int = 20) -> tuple[int, int]:
    """Tokens used and the limit of the last chunk; what BREAK and commas leave empty counts as used."""
    chunks = chunk_prompt(tokenizer, prompt, emphasis=emphasis, backtrack=backtrack)
    used = CHUNK * (len(chunks) - 1) + len(chunks[-1].tokens)
    return used, CHUNK * max(1, -(-used // CHUNK))


def chunk_prompt(tokenizer: CLIPTokenizer, prompt: str, *, emphasis: str, backtrack: int) -> list[Chunk]:
    """Cut a prompt into chunks, at least one.

    backtrack: when a chunk is full and its last comma is at most so many tokens back, what follows the comma moves to
    the next chunk; 0 cuts anywhere.
    """
    parts = plain_prompt(prompt) if emphasis == "None" else parse_emphasis(prompt)
    texts = [part.text for part in parts if isinstance(part, Weighted)]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])
    chunker = _Chunker(backtrack)
    for part in parts:
        if isinstance(part, Break):
            chunker.close()
        else:
            for token in next(encoded):
                chunker.add(token, part.weight)
    return chunker.finish()


class _Chunker:
    """Gathers tokens into chunks as A1111 does."""

    def __init__(self, backtrack: int) -> None:
        self._backtrack = backtrack
        self._chunks: list[Chunk] = []
        self._tokens: list[int] = []
        self._weights: list[float] = []
        self._last_comma = -1

    def add(self, token: int, weight: float) -> None:
        if token == COMMA:
            self._last_comma = len(self._tokens)
        elif len(self._tokens) == CHUNK and self._last_comma != -1 and len(self._tokens) - self._last_comma <= self._backtrack:
            self._close_after_comma()
        if len(self._tokens) == CHUNK:
            self.close()
        self._tokens.append(token)
        self._weights.append(weight)

    def close(self) -> None:
        self._chunks.append(Chunk(tuple(self._tokens), tuple(self._weights)))
        self._tokens, self._weights, self._last_comma = [], [], -1

    def finish(self) -> list[Chunk]:
        if self._tokens or not self._chunks:
            self.close()
        return self._chunks

    def _close_after_comma(self) -> None:
        cut = self._last_comma + 1
        tokens, weights = self._tokens[cut:], self._weights[cut:]
        self._tokens, self._weights = self._tokens[:cut], self._weights[:cut]
        self.close()
        self._tokens, self._weights = tokens, weights


def encode_chunks(text_encoder: CLIPTextModel, chunks: Sequence[Chunk], *, clip_skip: int, emphasis: str) -> torch.Tensor:
    """Encode each chunk by itself and join them: (1, 77 n, D), float32.

    clip_skip: 1 takes the last layer, 2 the one before it, ...   emphasis: "Original" keeps each chunk's mean after
    weighting, "No norm" does not, "Ignore" and "None" weight nothing.
    """
    padded = [chunk.padded() for chunk in chunks]
    tokens = torch.tensor([tokens for tokens, _ in padded], device=text_encoder.device)
    hidden = text_encoder(tokens, output_hidden_states=clip_skip > 1)
    if clip_skip > 1:
        depth = min(clip_skip, len(hidden.hidden_states))
        encoded = text_encoder.final_layer_norm(hidden.hidden_states[-depth]).float()
    else:
        encoded = hidden.last_hidden_state.float()
    if emphasis in ("Original", "No norm"):
        weights = torch.tensor([weights for _, weights in padded], device=encoded.device)
        encoded = _weight(encoded, weights, keep_mean=emphasis == "Original")
    return encoded.reshape(1, -1, encoded.shape[-1])


def _weight(encoded: torch.Tensor, weights: torch.Tensor, *, keep_mean: bool) -> torch.Tensor:
    """encoded: (n, 77, D).   weights: (n, 77)."""
    weighted = encoded * weights[..., None]
    if not keep_mean:
        return weighted
    before, after = encoded.mean(dim=(1, 2), keepdim=True), weighted.mean(dim=(1, 2), keepdim=True)
    return weighted * torch.where(after == 0, 1.0, before / after)
