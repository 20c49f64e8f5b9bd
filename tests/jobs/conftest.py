"""A data folder's queue, closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.stand_ins import House


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Opens one more program on the same data folder each time it is called."""
    houses: list[House] = []

    def open_one(**options: Any) -> House:
        houses.append(House(tmp_path, **options))
        return houses[-1]

    yield open_one
    for house in houses:
        house.close()
