"""Guidance: which contexts to evaluate the model with, and how their answers become one."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class ClassifierFree:
    """Away from the negative prompt, towards the prompt: uncond + scale * (cond - uncond).  Source: Ho & Salimans 2022.

    cond, uncond: (1, T, D); their T may differ.   At scale 1 the negative prompt cancels out, so it is not evaluated.
    """

    def __init__(self, cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> None:
        self._scale = scale
        self.contexts: tuple[torch.Tensor, ...] = (cond,) if scale == 1.0 else (cond, uncond)

    def combine(self, denoised: Sequence[torch.Tensor]) -> torch.Tensor:
        """denoised: one (B, C, h, w) a context, in their order."""
        if len(denoised) == 1:
            return denoised[0]
        cond, uncond = denoised
        return uncond + (cond - uncond) * self._scale
