"""docs/samplers.md says what there is."""

from __future__ import annotations

import pytest

from tools.document_samplers import PAGE
from webui.core.samplers import SAMPLERS, SCHEDULES, Sampler, Schedule


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """The cells of each row of the page's tables, by table and first cell."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {f"{len(row)} {row[0]}": row for row in cells}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.label)
def test_the_page_names_every_sampler_with_what_it_is(rows: dict[str, list[str]], sampler: Sampler) -> None:
    _, aliases, schedule, calls, heeds, _, oracle, difference = rows[f"8 {sampler.label}"]
    assert aliases == ", ".join(f"`{alias}`" for alias in sampler.aliases)
    assert schedule == ((sampler.schedule or "Uniform") if sampler.has_schedule else "none")
    assert calls
    assert all(knob in heeds for knob in sampler.knobs)
    assert oracle
    assert float(difference) < 0.1


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.label)
def test_the_page_names_every_schedule(rows: dict[str, list[str]], schedule: Schedule) -> None:
    assert rows[f"3 {schedule.label}"][1] == f"`{schedule.name}`"


def test_the_page_names_nothing_else(rows: dict[str, list[str]]) -> None:
    assert len(rows) == len(SAMPLERS) + len(SCHEDULES) + 4
