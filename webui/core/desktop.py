"""Folders shown in the file manager of the machine that the program runs on, where somebody sits in front of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.core.errors import NotFound, WebuiError


@dataclass(frozen=True)
class Desktop:
    """command: what shows a folder that is named behind it; empty where there is nobody to show it to."""

    command: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.command)

    def show(self, folder: Path) -> None:
        """Open a window with what is in a folder.  Raises NotFound, WebuiError."""
        if not self.command:
            raise NotFound("Folders are opened only on the machine that the program runs on, and only where that has a desktop.")
        if not folder.is_dir():
            raise NotFound(f"The folder {folder.name!r} is not there (any more).")
        quiet = subprocess.DEVNULL
        command = [*self.command, str(folder.resolve())]
        try:
            started = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        except OSError as error:
            raise WebuiError(f"{self.command[0]} cannot be started: {error.strerror or error}.") from None
        # A file manager may run until its window is closed; somebody has to take note of its end, or it stays as a zombie.
        threading.Thread(target=started.wait, name="file-manager", daemon=True).start()


def find_desktop(
    platform: str = sys.platform, environ: Mapping[str, str] = os.environ, which: Callable[[str], str | None] = shutil.which
) -> Desktop:
    """The file manager of this machine; on Linux, where a screen is known to this process."""
    if platform == "win32":
        return Desktop(("explorer",))
    if platform == "darwin":
        return Desktop(("open",))
    opener = which("xdg-open") if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY") else None
    return Desktop((opener,)) if opener else Desktop()
