"""The files of the extension that docs/extensions.md walks through."""

from __future__ import annotations

import re
from pathlib import Path

from webui.core.paths import PROGRAM

BLOCK = re.compile(r"^`extensions/([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def install_walkthrough(extensions: Path) -> Path:
    """Write them as the page says; the extension's folder."""
    files = BLOCK.findall((PROGRAM / "docs" / "extensions.md").read_text(encoding="utf-8"))
    for path, text in files:
        file = extensions / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert [path for path, _ in files] == ["postcard/extension.py", "postcard/javascript/postcard.js", "postcard/style.css"]
    return extensions / "postcard"
