"""A working extension to begin with, and its test."""

from __future__ import annotations

import os
from pathlib import Path

from webui import __version__
from webui.core.errors import InvalidRequest
from webui.plugins.manifest import check_folder_name

MANIFEST = """name = "{name}"
version = "0.1.0"
description = "Adds a few words to every prompt that asks for them."
hooks = ["change_request"]
min_version = "{program}"
# Packages of PyPI that it needs, beside those of the program:
requires = []
"""

CODE = '''"""Adds a few words to every prompt that asks for them with (nicely)."""

from webui.plugins.hookspecs import hookimpl

ASKED, WORDS = "(nicely)", "soft light, calm colours"


@hookimpl
def change_request(request):
    """Called for each job before it is queued; what is returned is queued in its place."""
    if ASKED not in request.prompt:
        return None
    return request.changed(prompt=request.prompt.replace(ASKED, WORDS))
'''

TEST = '''"""Loads the extension as the program does, and lets it see a request."""

import shutil
from pathlib import Path

import pytest

from webui.core.request import GenerationRequest
from webui.plugins.host import Host

FOLDER = Path(__file__).resolve().parents[1]


@pytest.fixture
def host(tmp_path):
    shutil.copytree(FOLDER, tmp_path / FOLDER.name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    host = Host(tmp_path)
    host.load()
    return host


def test_it_is_loaded(host):
    assert [(one.name, one.error) for one in host.extensions()] == [(FOLDER.name, None)]


def test_a_prompt_that_asks_for_it_gets_the_words(host):
    request = host.change_request(GenerationRequest(prompt="a house, (nicely)"))
    assert request.prompt == "a house, soft light, calm colours"


def test_other_prompts_stay_as_they_are(host):
    request = GenerationRequest(prompt="a house")
    assert host.change_request(request) == request
'''


def write_template(extensions: Path, name: str) -> Path:
    """Write it under extensions/NAME, which must not be there yet.  Raises InvalidRequest."""
    folder = extensions / check_folder_name(name)
    if os.path.lexists(folder):
        raise InvalidRequest(f"There is an extensions/{name} already. Choose another name.")
    files = {
        "extension.toml": MANIFEST.format(name=name, program=__version__),
        "extension.py": CODE,
        f"tests/test_{name.replace('-', '_').replace('.', '_').lower()}.py": TEST,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder
