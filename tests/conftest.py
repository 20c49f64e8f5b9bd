"""What tests of every room may use. A room's own fixtures are in its own conftest.py."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chromium import find_chromium
from webui.core.paths import Paths, standard_paths


def pytest_configure() -> None:
    """No test may ask the network for anything; libraries read this when they are imported."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The folders of a program whose data folder is this test's own; of what ships, only the checkpoints are there."""
    paths = standard_paths(tmp_path)
    own = lambda folders: tuple(folder for folder in folders if folder.is_relative_to(tmp_path))  # noqa: E731
    return replace(
        paths,
        vaes=own(paths.vaes),
        loras=own(paths.loras),
        embeddings=own(paths.embeddings),
        depth_models=own(paths.depth_models),
        controls=own(paths.controls),
        shipped=None,
    )


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium executable. Without one the test is skipped; on CI it fails."""
    found = find_chromium()
    if found is None and os.environ.get("CI"):
        pytest.fail("There is no Chromium, and CI must run the browser tests; set CHROMIUM to an executable.")
    if found is None:
        pytest.skip("There is no Chromium; install one, or set CHROMIUM to its executable.")
    return found
