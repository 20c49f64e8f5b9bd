"""Writes docs/openapi.json: every route of the API, what it takes and what it answers.

    venv/bin/python -m tools.document_api

A test fails when the file is not what this would write, and shows the difference.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path

from webui.api.server import build_server
from webui.app import App
from webui.core.paths import PROGRAM, standard_paths

FILE = PROGRAM / "docs" / "openapi.json"


def schema() -> str:
    """The whole file.  The routes that end the program are in it, though they are served with --api-server-stop only."""
    with tempfile.TemporaryDirectory() as folder:
        paths = standard_paths(Path(folder))
        with closing(App(paths, hashing=False)) as app:
            document = build_server(app, api=True, stop=_nothing).openapi()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _nothing() -> None:
    """In place of the program's end."""


def main() -> None:
    """Write the file."""
    FILE.write_text(schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
