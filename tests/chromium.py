"""Where a Chromium for the browser tests is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
PLACES = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("C:/Program Files/Google/Chrome/Application/chrome.exe"),
)
# Where playwright keeps its own, on Linux, macOS and Windows.
PLAYWRIGHT = (".cache/ms-playwright", "Library/Caches/ms-playwright", "AppData/Local/ms-playwright")
PLAYWRIGHT_FILES = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*", "chromium-*/chrome-win*/chrome.exe")


def find_chromium() -> Path | None:
    """The executable that CHROMIUM names, else an installed one, else playwright's own; None if there is none."""
    if named := os.environ.get("CHROMIUM"):
        return Path(named) if Path(named).is_file() else None
    commands = (shutil.which(command) for command in COMMANDS)
    own = (file for folder in PLAYWRIGHT for pattern in PLAYWRIGHT_FILES for file in (Path.home() / folder).glob(pattern))
    candidates = (*(Path(command) for command in commands if command), *PLACES, *own)
    return next((candidate for candidate in candidates if candidate.is_file()), None)
