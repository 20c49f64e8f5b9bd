"""Classifier-free guidance."""

from __future__ import annotations

import torch

from webui.engine.guidance import ClassifierFree

COND, UNCOND = torch.ones(1, 77, 4), torch.zeros(1, 154, 4)


def test_it_leads_away_from_the_negative_prompt() -> None:
    guidance = ClassifierFree(COND, UNCOND, 7.0)
    assert [context.shape[1] for context in guidance.contexts] == [77, 154]
    assert guidance.combine([torch.tensor([3.0]), torch.tensor([1.0])]).tolist() == [15.0]


def test_scale_0_is_the_negative_prompt_alone() -> None:
    assert ClassifierFree(COND, UNCOND, 0.0).combine([torch.tensor([3.0]), torch.tensor([1.0])]).tolist() == [1.0]


def test_at_scale_1_the_negative_prompt_is_not_evaluated() -> None:
    guidance = ClassifierFree(COND, UNCOND, 1.0)
    assert len(guidance.contexts) == 1
    assert guidance.contexts[0] is COND
    answer = torch.tensor([3.0])
    assert guidance.combine([answer]) is answer
