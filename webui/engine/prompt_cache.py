"""Encoded prompts, kept while they are being asked for again: changing only the seed encodes nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

LIMIT = 256 * 2**20


class Encoded(Protocol):
    """What is kept: anything that knows how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=Encoded)


class PromptCache:
    """Least recently used first out.  limit: bytes.  The key must hold everything that enters into the encoding."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._encoded: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, encode: Callable[[], Kept]) -> Kept:
        """What was encoded under this key, or is now."""
        with self._lock:
            if (found := self._encoded.get(key)) is not None:
                self._encoded.move_to_end(key)
                kept: Kept = found
                return kept
        encoded = encode()
        with self._lock:
            self._drop(key)
            self._encoded[key] = encoded
            self._size += encoded.nbytes
            while self._size > self._limit:
                self._drop(next(iter(self._encoded)))
        return encoded

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._encoded.clear()
            self._size = 0

    def _drop(self, key: Hashable) -> None:
        if (found := self._encoded.pop(key, None)) is not None:
            self._size -= found.nbytes
