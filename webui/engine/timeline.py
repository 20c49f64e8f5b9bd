"""Vectors that condition a picture, call after call, and ways to bring them to one length."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timeline:
    """What conditions at which denoiser call.

    entries: (last call, context (T, D)), rising; all of one T.   vectors: for each entry, what conditions beside its context (V,);
    none for models that take nothing beside.
    """

    entries: tuple[tuple[int, torch.Tensor], ...]
    vectors: tuple[torch.Tensor, ...] = ()

    def at(self, call: int) -> torch.Tensor:
        """The context of the first entry whose last call is not before this one; past the end, of the first of all, as in A1111."""
        return self.entries[self._place(call)][1]

    def vector_at(self, call: int) -> torch.Tensor | None:
        """What conditions beside that context."""
        return self.vectors[self._place(call)] if self.vectors else None

    def _place(self, call: int) -> int:
        return next((place for place, (last, _) in enumerate(self.entries) if call <= last), 0)

    @property
    def length(self) -> int:
        """T."""
        return len(self.entries[0][1])

    def lengthened(self, length: int) -> Timeline:
        """With the last vector of each entry repeated up to a length; what is longer stays."""
        if self.length >= length:
            return self
        return Timeline(tuple((last, with_last_repeated(tensor, length)) for last, tensor in self.entries), self.vectors)


def with_last_repeated(context: torch.Tensor, length: int) -> torch.Tensor:
    """(T, D) with its last vector repeated up to `length`; what is longer stays."""
    return torch.cat([context, context[-1:].expand(max(0, length - len(context)), -1)])


def with_empty(context: torch.Tensor, empty: torch.Tensor, length: int) -> torch.Tensor:
    """(T, D) with the empty prompt's (77, D) behind it as often as it takes."""
    return torch.cat([context, empty.repeat(max(0, length - len(context)) // len(empty), 1)])
