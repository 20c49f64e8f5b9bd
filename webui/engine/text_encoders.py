"""Tokens to a text encoder's vectors: how each kind of encoder is padded, and which of its layers is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from webui.engine.adapters.embeddings import TextEncoder, encode_with
from webui.engine.conditioning import Coding, Fixes
from webui.engine.tokenizer import END


@dataclass(frozen=True)
class TextReading:
    """What is taken of a text encoder's answer, as A1111 does it.

    padding: the token behind the first end mark.   layer: counted from the last, 1.   normed: through the final norm.
    clip_skip: whether the user's clip skip says the layer: always, never, or where the user wishes so for SDXL.
    pooled: the projected vector of the first end mark is wanted too.
    """

    padding: int = END
    layer: int = 1
    normed: bool = True
    clip_skip: Literal["always", "never", "if wished"] = "never"
    pooled: bool = False

    def layer_for(self, coding: Coding) -> int:
        """The layer, counted from the last."""
        heeds = self.clip_skip == "always" or (self.clip_skip == "if wished" and coding.sdxl_clip_l_skip)
        return coding.clip_skip if heeds else self.layer


def read_text(
    encoder: TextEncoder, reading: TextReading, place: int, tokens: torch.Tensor, fixes: Sequence[Fixes], coding: Coding
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Vectors (n, 77, D) of tokens (n, 77), and pooled ones (n, P) where they are wanted.

    place: which of the model's text encoders this is; an embedding has vectors for each.
    """
    layer = reading.layer_for(coding)
    vectors = [[(offset, embedding.of_encoder(place)) for offset, embedding in own] for own in fixes]
    tokens = pad_behind_end(tokens.to(encoder.device), reading.padding)
    answer = encode_with(encoder, tokens, vectors, output_hidden_states=layer > 1 or not reading.normed)
    if layer == 1 and reading.normed:
        hidden = answer.last_hidden_state
    else:
        hidden = answer.hidden_states[-min(layer, len(answer.hidden_states))]
        hidden = _core(encoder).final_layer_norm(hidden) if reading.normed else hidden
    return hidden, answer.text_embeds if reading.pooled else None


def pad_behind_end(tokens: torch.Tensor, padding: int) -> torch.Tensor:
    """(n, 77) tokens with another padding behind the first end mark of each row."""
    if padding == END:
        return tokens
    ends = (tokens == END).int()
    return tokens.masked_fill(ends.cumsum(dim=1) - ends > 0, padding)


def _core(encoder: TextEncoder) -> CLIPTextModel:
    return encoder.text_model if isinstance(encoder, CLIPTextModelWithProjection) else encoder
