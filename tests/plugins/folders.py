"""Extensions as folders, written for a test."""

from __future__ import annotations

from pathlib import Path

HEAD = "from webui.plugins.hookspecs import hookimpl\n"


def install(extensions: Path, name: str, code: str, **files: str) -> Path:
    """Write an extension: extension.py with this code, and files by their path, "__" for "/" and "_dot_" for "."."""
    folder = extensions / name
    folder.mkdir(parents=True)
    (folder / "extension.py").write_text(HEAD + code, encoding="utf-8")
    for path, text in files.items():
        file = folder / path.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
