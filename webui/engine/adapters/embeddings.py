"""Textual inversions: reading their files, finding their words among a prompt's tokens, and putting their vectors in.

Source: Gal et al. 2022 (arXiv:2208.01618); matching and placing as in A1111 1.10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from webui.catalog.embedding_images import SUFFIXES as IMAGE_SUFFIXES
from webui.catalog.embedding_images import read_image_embedding
from webui.core.errors import ModelError
from webui.engine.adapters.legacy import read_torch_file
from webui.engine.loading import TensorFile
from webui.engine.tokenizer import token_ids

MAX_VECTORS = 1024

Fixes = Sequence[tuple[int, torch.Tensor]]
TextEncoder: TypeAlias = CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True, eq=False)
class Embedding:
    """A word and the vectors that stand for it, float32.

    vectors: (n, D), for CLIP-L, or for the only text encoder there is.   second: (n, D2), for SDXL's other encoder.
    step, checkpoint: what A1111 notes of the training.
    """

    name: str
    vectors: torch.Tensor
    second: torch.Tensor | None = None
    step: int | None = None
    checkpoint: str | None = None

    @property
    def width(self) -> int:
        """As A1111 counts it: the widths of both encoders together."""
        return self.vectors.shape[1] + (0 if self.second is None else self.second.shape[1])

    @property
    def widths(self) -> tuple[int, ...]:
        """D of each text encoder that it was made for."""
        return tuple(vectors.shape[1] for vectors in (self.vectors, self.second) if vectors is not None)

    def fits(self, *text_encoders: TextEncoder) -> bool:
        """Whether it was made for a model with these text encoders, all of them."""
        return self.widths == tuple(encoder.config.hidden_size for encoder in text_encoders)

    def of_encoder(self, place: int) -> torch.Tensor:
        """(n, D) for a model's first text encoder, 0, or its second, 1."""
        return self.vectors if self.second is None or place == 0 else self.second


def read_embedding(path: Path, name: str | None = None) -> Embedding:
    """Read a .pt, .bin, .safetensors or picture.  name: else the one stored in a picture, else the file's.

    Raises ModelError when it cannot be read or is no embedding.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            file = TensorFile(path)
            return embedding_from_tensors(name or path.stem, {key: file.tensor(key) for key in file.names}, path)
        content = _read_image(path) if suffix in IMAGE_SUFFIXES else read_torch_file(path)
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read ({error.strerror}). Put it back, or choose another one.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path.name} is no embedding: it has no vectors in it.")
    stored = content.get("name") if suffix in IMAGE_SUFFIXES else None
    return _from_content(name or (stored if isinstance(stored, str) and stored else path.stem), content, path)


def embedding_from_tensors(name: str, tensors: Mapping[str, torch.Tensor], path: Path) -> Embedding:
    """From clip_l and clip_g, emb_params, or the only tensor there is.  path: for the error's text.  Raises ModelError."""
    if {"clip_l", "clip_g"} <= tensors.keys():
        first, second = _vectors(tensors["clip_l"], path), _vectors(tensors["clip_g"], path)
        if len(first) != len(second):
            raise ModelError(f"{path.name} has {len(first)} vectors for one text encoder and {len(second)} for the other.")
        return Embedding(name, first, second)
    if len(tensors) != 1 and "emb_params" not in tensors:
        raise ModelError(f"{path.name} is no embedding: it has {len(tensors)} tensors where there should be one.")
    return Embedding(name, _vectors(tensors.get("emb_params", next(iter(tensors.values()))), path))


class EmbeddingIndex:
    """The words of some embeddings as token sequences. Of two with one name the later counts."""

    def __init__(self, embeddings: Iterable[Embedding], tokenizer: CLIPTokenizer) -> None:
        by_name = {embedding.name: embedding for embedding in embeddings}
        self._by_first: dict[int, list[tuple[tuple[int, ...], Embedding]]] = {}
        for tokens, embedding in zip(token_ids(tokenizer, list(by_name)), by_name.values(), strict=True):
            if tokens:
                self._by_first.setdefault(tokens[0], []).append((tuple(tokens), embedding))
        for candidates in self._by_first.values():
            candidates.sort(key=lambda candidate: len(candidate[0]), reverse=True)

    def find(self, tokens: Sequence[int], at: int) -> tuple[Embedding, int] | None:
        """The embedding whose word begins at this place, the longest first, and the number of tokens of its word."""
        for word, embedding in self._by_first.get(tokens[at], ()):
            if tuple(tokens[at : at + len(word)]) == word:
                return embedding, len(word)
        return None


@contextmanager
def injected(text_encoder: TextEncoder, fixes: Sequence[Fixes]) -> Iterator[None]:
    """Within this context the text encoder puts vectors in the place of tokens.

    fixes: for every row of tokens (n, 77) what stands where: the offset from the first token after the start mark, and vectors
    (m, D), cut off at the end of the row. Later ones lie over earlier ones. Without any, nothing at all is done.
    """
    if not any(fixes):
        yield
        return

    def put_in(embedding: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        for row, own in zip(range(len(output)), fixes, strict=True):
            for offset, vectors in own:
                place = output[row, offset + 1 : offset + 1 + len(vectors)]
                place.copy_(vectors[: len(place)])
        return output

    hook = text_encoder.get_input_embeddings().register_forward_hook(put_in)
    try:
        yield
    finally:
        hook.remove()


def encode_with(text_encoder: TextEncoder, tokens: torch.Tensor, fixes: Sequence[Fixes], **options: Any) -> Any:
    """The text encoder's answer for tokens (n, 77) with vectors put in; options are passed on to it."""
    with injected(text_encoder, fixes):
        return text_encoder(tokens, **options)


def _read_image(path: Path) -> dict[str, Any]:
    try:
        content = read_image_embedding(path)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}.") from None
    if content is None:
        raise ModelError(f"{path.name} is a picture without an embedding in it.")
    return content


def _from_content(name: str, content: dict[str, Any], path: Path) -> Embedding:
    """From what A1111 saves (string_to_param), or from a dictionary of tensors, as diffusers' .bin."""
    if "string_to_param" in content:
        parameters = content["string_to_param"]
        if not isinstance(parameters, dict) or len(parameters) != 1:
            raise ModelError(f"{path.name} has not one word in it but several, or none; only a file of one can be used.")
        step, checkpoint = content.get("step"), content.get("sd_checkpoint_name")
        return Embedding(
            name,
            _vectors(next(iter(parameters.values())), path),
            step=step if isinstance(step, int) else None,
            checkpoint=checkpoint if isinstance(checkpoint, str) else None,
        )
    return embedding_from_tensors(name, {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}, path)


def _vectors(value: Any, path: Path) -> torch.Tensor:
    """(n, D), float32, in memory of its own.  Raises ModelError for anything else."""
    try:
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError):
        raise ModelError(f"{path.name} has an embedding in it that is not made of numbers.") from None
    tensor = tensor[None] if tensor.ndim == 1 else tensor
    if tensor.ndim != 2 or not 1 <= len(tensor) <= MAX_VECTORS or not tensor.shape[1]:
        raise ModelError(f"{path.name} has vectors of shape {tuple(tensor.shape)}; they must be (1 to {MAX_VECTORS}, width).")
    with torch.inference_mode(False):
        vectors = tensor.to(torch.float32, copy=True)
    if not vectors.isfinite().all():
        raise ModelError(f"{path.name} has numbers in it that are not finite; it was damaged in training.")
    return vectors
