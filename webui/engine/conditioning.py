"""Prompt text to the vectors the model is conditioned on: chunks of 75 tokens, weighted, encoded, joined."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from transformers import CLIPTokenizer

from webui.core.prompt_syntax import Break, Weighted, parse_emphasis, plain_prompt
from webui.core.settings import Settings
from webui.engine.adapters.embeddings import Embedding
from webui.engine.tokenizer import COMMA, END, START, bracket_weights, token_ids

CHUNK = 75


FindEmbedding = Callable[[Sequence[int], int], tuple[Embedding, int] | None]
Fixes = tuple[tuple[int, Embedding], ...]


def no_embeddings(tokens: Sequence[int], at: int) -> None:
    """The search that finds nothing."""


@dataclass(frozen=True)
class Coding:
    """How text becomes vectors.

    clip_skip: 1 takes the last layer, 2 the one before it, ...   emphasis: "Original" keeps the mean after weighting, "No
    norm" does not, "Ignore" weights nothing, "None" does not even read brackets.   backtrack: when a chunk is full and its last
    comma is at most so many tokens back, what follows the comma moves to the next chunk; 0 cuts anywhere.   old_emphasis: one
    chunk, whose brackets weight what follows them, as in 2022.   sdxl_clip_l_skip: SDXL's first text encoder heeds the clip skip.
    """

    clip_skip: int = 1
    emphasis: str = "Original"
    backtrack: int = 20
    old_emphasis: bool = False
    sdxl_clip_l_skip: bool = False


def read_coding(settings: Settings) -> Coding:
    """The coding that the settings wish."""
    return Coding(
        settings.CLIP_stop_at_last_layers,
        settings.emphasis,
        settings.comma_padding_backtrack,
        settings.use_old_emphasis_implementation,
        settings.sdxl_clip_l_skip,
    )


@dataclass(frozen=True)
class Chunk:
    """Up to 75 tokens and their weights, not yet padded.

    fixes: embeddings and the offset of their first vector; their tokens are 0.  As in A1111, text that moves to the next chunk
    leaves its embeddings behind, so an offset may lie beyond the tokens.
    """

    tokens: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    fixes: Fixes = ()

    @property
    def key(self) -> Hashable:
        """Equal for chunks of equal vectors; embeddings are the same only if they are one object."""
        return self.tokens, self.weights, tuple((offset, id(embedding)) for offset, embedding in self.fixes)

    def padded(self) -> tuple[list[int], list[float]]:
        """77 tokens and weights: start mark, tokens, end marks."""
        missing = CHUNK + 1 - len(self.tokens)
        return [START, *self.tokens, *[END] * missing], [1.0, *self.weights, *[1.0] * missing]


def count_tokens(chunks: Sequence[Chunk]) -> tuple[int, int]:
    """Tokens used and the limit of the last chunk; what BREAK and commas leave empty counts as used."""
    used = CHUNK * (len(chunks) - 1) + len(chunks[-1].tokens)
    return used, CHUNK * max(1, -(-used // CHUNK))


def chunk_prompt(tokenizer: CLIPTokenizer, prompt: str, coding: Coding, find: FindEmbedding = no_embeddings) -> list[Chunk]:
    """Cut a prompt into chunks, at least one.  find: which embedding begins at a token, and how many tokens its name has."""
    if coding.old_emphasis:
        return [_old_chunk(tokenizer, prompt, coding, find)]
    parts = plain_prompt(prompt) if coding.emphasis == "None" else parse_emphasis(prompt)
    texts = [part.text for part in parts if isinstance(part, Weighted)]
    encoded = iter(token_ids(tokenizer, texts))
    chunker = _Chunker(coding.backtrack, find)
    for part in parts:
        if isinstance(part, Break):
            chunker.close()
        else:
            chunker.add(next(encoded), part.weight)
    return chunker.finish()


class _Chunker:
    """Gathers tokens into chunks as A1111 does."""

    def __init__(self, backtrack: int, find: FindEmbedding) -> None:
        self._backtrack = backtrack
        self._find = find
        self._chunks: list[Chunk] = []
        self._begin([], [])

    def add(self, tokens: Sequence[int], weight: float) -> None:
        at = 0
        while at < len(tokens):
            self._make_room(tokens[at])
            if found := self._find(tokens, at):
                self._add_embedding(found[0], weight)
                at += found[1]
            else:
                self._tokens.append(tokens[at])
                self._weights.append(weight)
                at += 1

    def close(self) -> None:
        self._chunks.append(Chunk(tuple(self._tokens), tuple(self._weights), tuple(self._fixes)))
        self._begin([], [])

    def finish(self) -> list[Chunk]:
        if self._tokens or not self._chunks:
            self.close()
        return self._chunks

    def _begin(self, tokens: list[int], weights: list[float]) -> None:
        self._tokens, self._weights, self._last_comma = tokens, weights, -1
        self._fixes: list[tuple[int, Embedding]] = []

    def _make_room(self, token: int) -> None:
        if token == COMMA:
            self._last_comma = len(self._tokens)
        elif self._backtrack and len(self._tokens) == CHUNK and self._last_comma != -1 and CHUNK - self._last_comma <= self._backtrack:
            self._close_after_comma()
        if len(self._tokens) == CHUNK:
            self.close()

    def _add_embedding(self, embedding: Embedding, weight: float) -> None:
        length = len(embedding.vectors)
        if len(self._tokens) + length > CHUNK:
            self.close()
        self._fixes.append((len(self._tokens), embedding))
        self._tokens += [0] * length
        self._weights += [weight] * length

    def _close_after_comma(self) -> None:
        cut = self._last_comma + 1
        tokens, weights = self._tokens[cut:], self._weights[cut:]
        self._tokens, self._weights = self._tokens[:cut], self._weights[:cut]
        self.close()
        self._begin(tokens, weights)


def _old_chunk(tokenizer: CLIPTokenizer, prompt: str, coding: Coding, find: FindEmbedding) -> Chunk:
    """One chunk, where every token that has brackets changes the weight of all that follow and is dropped; the rest is cut off."""
    changes = bracket_weights(tokenizer) if coding.emphasis != "None" else {}
    tokens: list[int] = []
    weights: list[float] = []
    fixes: list[tuple[int, Embedding]] = []
    (given,) = token_ids(tokenizer, [prompt])
    weight, at = 1.0, 0
    while at < len(given):
        found = find(given, at)
        length = 1
        if given[at] in changes:
            weight *= changes[given[at]]
        elif found:
            fixes.append((len(tokens), found[0]))
            tokens += [0] * len(found[0].vectors)
            weights += [weight] * len(found[0].vectors)
            length = found[1]
        else:
            tokens.append(given[at])
            weights.append(weight)
        at += length
    return Chunk(tuple(tokens[:CHUNK]), tuple(weights[:CHUNK]), tuple(fixes))


# Of tokens (m, 77) and their embeddings: vectors (m, 77, D), and pooled ones (m, P) if this encoder has any.
Encode = Callable[[torch.Tensor, Sequence[Fixes], Coding], tuple[torch.Tensor, torch.Tensor | None]]


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Texts of one length, float32.

    context: (n, 77 k, D), those of all text encoders side by side.   pooled: (n, P), of the first chunks, where the model wants it.
    """

    context: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return self.context.nbytes + (0 if self.pooled is None else self.pooled.nbytes)

    def zeroed(self) -> EncodedTexts:
        """Of the same shapes, nothing but zeros."""
        return EncodedTexts(torch.zeros_like(self.context), None if self.pooled is None else torch.zeros_like(self.pooled))


def encode_texts(encoders: Sequence[Encode], texts: Sequence[Sequence[Chunk]], coding: Coding) -> EncodedTexts:
    """Encode several chunked texts to one length; shorter texts get empty chunks.

    encoders: the model's text encoders.
    As in A1111, the mean that "Original" emphasis keeps is that of a chunk over all texts given here, of each encoder apart, so what
    is scheduled within one prompt belongs into one call; pooled vectors are not weighted.
    """
    longest = max(map(len, texts))
    grid = [[*text, *[Chunk()] * (longest - len(text))] for text in texts]
    distinct = list({chunk.key: chunk for text in grid for chunk in text}.values())
    place = {chunk.key: number for number, chunk in enumerate(distinct)}
    columns = [[place[chunk.key] for chunk in column] for column in zip(*grid, strict=True)]
    padded = [chunk.padded() for chunk in distinct]
    tokens, fixes = torch.tensor([tokens for tokens, _ in padded]), [chunk.fixes for chunk in distinct]
    contexts, pooled = [], None
    for encode in encoders:
        encoded, vectors = encode(tokens, fixes, coding)
        encoded = encoded.float()
        weights = torch.tensor([weights for _, weights in padded], device=encoded.device)
        contexts.append(torch.cat([_weight(encoded[rows], weights[rows], coding.emphasis) for rows in columns], dim=1))
        if vectors is not None:
            pooled = vectors[columns[0]].float()
    return EncodedTexts(torch.cat(contexts, dim=2) if len(contexts) > 1 else contexts[0], pooled)


def _weight(encoded: torch.Tensor, weights: torch.Tensor, emphasis: str) -> torch.Tensor:
    """encoded: (n, 77, D).   weights: (n, 77)."""
    if emphasis not in ("Original", "No norm"):
        return encoded
    weighted = encoded * weights[..., None]
    if emphasis == "No norm":
        return weighted
    before, after = encoded.mean(), weighted.mean()
    return weighted * torch.where(after == 0, 1.0, before / after)


def uses_emphasis(text: str) -> bool:
    """Whether A1111 would say in the infotext which emphasis was used."""
    return "(" in text or "[" in text
