"""Vectors that condition a picture, call after call, and ways to bring them to one length."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timeline:
    """What conditions at which denoiser call.  entries: (last call, (T, D)), rising; all of one T."""

    entries: tuple[tuple[int, torch.Tensor], ...]

    def at(self, call: int) -> torch.Tensor:
        """The first entry whose last call is not before this one; past the end, the first of all, as in A1111."""
        return next((tensor for last, tensor in self.entries if call <= last), self.entries[0][1])

    @property
    def length(self) -> int:
        """T."""
        return len(self.entries[0][1])

    def lengthened(self, length: int) -> Timeline:
        """With the last vector of each entry repeated up to a length; what is longer stays."""
        if self.length >= length:
            return self
        return Timeline(tuple((last, with_last_repeated(tensor, length)) for last, tensor in self.entries))


def with_last_repeated(context: torch.Tensor, length: int) -> torch.Tensor:
    """(T, D) with its last vector repeated up to `length`; what is longer stays."""
    return torch.cat([context, context[-1:].expand(max(0, length - len(context)), -1)])


def with_empty(context: torch.Tensor, empty: torch.Tensor, length: int) -> torch.Tensor:
    """(T, D) with the empty prompt's (77, D) behind it as often as it takes."""
    return torch.cat([context, empty.repeat(max(0, length - len(context)) // len(empty), 1)])
