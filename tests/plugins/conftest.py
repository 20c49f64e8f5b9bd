"""What tests of installing share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.plugins.extension_sources import GitServer
from webui.core.settings_store import SettingsStore
from webui.plugins.install.installer import Installer


@pytest.fixture
def extensions(tmp_path: Path) -> Path:
    """The folder of all extensions."""
    folder = tmp_path / "data" / "extensions"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> SettingsStore:
    return SettingsStore(tmp_path / "data" / "config.json")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only index that pip knows."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def installer(extensions: Path, settings: SettingsStore, git_server: GitServer) -> Iterator[Installer]:
    opened = Installer(extensions, settings, web=git_server.web)
    opened.begin()
    with closing(opened):
        yield opened
