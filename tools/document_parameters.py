"""Writes docs/parameters.md from the declarations of the request and the settings.

    venv/bin/python -m tools.document_parameters

A test fails when the page is not what this would write.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from webui.core.model_jobs import SETTLED, DownloadRequest, MergeRequest, ModelRequest
from webui.core.parameters import Parameter, parameters_of
from webui.core.paths import PROGRAM
from webui.core.request import GenerationRequest
from webui.core.request_parts.control import ControlUnit
from webui.core.samplers import SAMPLERS, SCHEDULES
from webui.core.settings import Settings

PAGE = PROGRAM / "docs" / "parameters.md"
INTRODUCTION = """# Parameters and settings

Written by `python -m tools.document_parameters` from the declarations in `webui/core/request.py` and `webui/core/settings.py`, which
also make the controls, the validation and the infotext. "Accepted" is what the API takes; a slider may offer less.
"""


def page() -> str:
    """The whole page."""
    samplers = ", ".join(sampler.label for sampler in SAMPLERS)
    schedules = ", ".join(schedule.label for schedule in SCHEDULES)
    parts = [
        INTRODUCTION,
        "## What a picture is drawn from\n",
        _table(parameters_of(GenerationRequest).values()),
        f"Samplers: {samplers}. Schedules: {schedules}.\n",
        "## A ControlNet unit\n",
        _table(parameters_of(ControlUnit).values()),
        "## A merge\n",
        "The body of `/api/v1/models/merge` and `/api/v1/models/convert`; see [merging.md](merging.md).\n",
        _table(_asked(MergeRequest)),
        "## A download\n",
        "The body of `/api/v1/models/download`.\n",
        _table(_asked(DownloadRequest)),
        "## Settings\n",
        "Stored in `config.json`; read and changed at `/sdapi/v1/options`; changed for one job with `override_settings`.\n",
        _table(parameters_of(Settings).values()),
    ]
    return "\n".join(parts)


def _asked(kind: type[ModelRequest]) -> list[Parameter]:
    """What a caller may give; the rest is settled by the program."""
    return [one for name, one in parameters_of(kind).items() if name not in SETTLED]


def _table(parameters: Iterable[Parameter]) -> str:
    rows = ["| name in the API | title | default | accepted | infotext | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for one in parameters:
        cells = (f"`{one.api}`", one.title, f"`{one.default!r}`", _accepted(one), one.infotext or "", one.help)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _accepted(one: Parameter) -> str:
    if one.choices:
        return ", ".join(one.choices)
    if one.type is bool:
        return "true, false"
    if one.minimum is None and one.maximum is None:
        return "text"
    return f"{one.minimum:g} to {one.maximum:g}" if isinstance(one.maximum, float) else f"{one.minimum} to {one.maximum}"


def main() -> None:
    """Write the page."""
    Path(PAGE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
