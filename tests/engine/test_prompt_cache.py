"""Encoded prompts are kept, within a limit."""

from __future__ import annotations

import threading

import torch

from webui.engine.prompt_cache import PromptCache


class Counting:
    """An encoder that says how often it was asked."""

    def __init__(self, numbers: int = 10) -> None:
        self.calls = 0
        self._numbers = numbers

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return torch.full((self._numbers,), float(self.calls))


def test_what_was_encoded_is_not_encoded_again() -> None:
    cache, encode = PromptCache(), Counting()
    assert cache.get("a", encode) is cache.get("a", encode)
    assert encode.calls == 1
    cache.get("b", encode)
    assert encode.calls == 2


def test_the_longest_unused_goes_first() -> None:
    cache, encode = PromptCache(limit=80), Counting()
    for key in ("a", "b", "a", "c", "a"):
        cache.get(key, encode)
    assert encode.calls == 3
    cache.get("b", encode)
    assert encode.calls == 4


def test_what_is_larger_than_the_limit_is_given_and_not_kept() -> None:
    cache, encode = PromptCache(limit=8), Counting()
    assert len(cache.get("a", encode)) == 10
    cache.get("a", encode)
    assert encode.calls == 2


def test_clearing_forgets_and_makes_room() -> None:
    cache, encode = PromptCache(limit=40), Counting()
    cache.get("a", encode)
    cache.clear()
    cache.get("a", encode)
    cache.get("a", encode)
    assert encode.calls == 2


def test_many_threads_may_ask() -> None:
    cache, encode = PromptCache(limit=200), Counting()
    threads = [threading.Thread(target=lambda: [cache.get(key, encode) for key in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.get(0, encode)) == 10
