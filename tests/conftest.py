"""What tests of every room may use. A room's own fixtures are in its own conftest.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.chromium import find_chromium
from tests.plugins.extension_sources import GitServer, Repository, extension_files, make_repository, serving_git
from webui.core.paths import Paths, standard_paths


def pytest_configure() -> None:
    """No test may ask the network for anything; libraries read this when they are imported. No example fails for taking long.

    A busy machine takes longer than hypothesis' 200 ms for what takes one.
    """
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
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


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A git server on this machine, whose repositories lie in the test's folder."""
    with serving_git(tmp_path / "served") as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An extension, served under /adding."""
    return make_repository(tmp_path / "served" / "adding", extension_files())


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium executable. Without one the test is skipped; on CI it fails."""
    found = find_chromium()
    if found is None and os.environ.get("CI"):
        pytest.fail("There is no Chromium, and CI must run the browser tests; set CHROMIUM to an executable.")
    if found is None:
        pytest.skip("There is no Chromium; install one, or set CHROMIUM to its executable.")
    return found
