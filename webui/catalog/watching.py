"""Looks at the model folders again by itself when something in them has changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from watchfiles import Change, watch

log = logging.getLogger(__name__)

# Milliseconds: how often the system is asked, how long changes are gathered at most, and how often folders are polled.
STEP, AT_MOST, POLL = 100, 3000, 3000
# Seconds before looking: what comes with a model comes with it.
REST = 0.4
ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".json", ".txt", ".yaml", ".civitai.info", ".png", ".jpg", ".jpeg", ".webp")


class FolderWatch:
    """A thread that calls `changed` after files of models, or beside them, have come, gone or changed.

    folders: those that are not there are left out.   changed: any exception of it is logged, and the watch goes on.
    """

    def __init__(self, folders: Sequence[Path], changed: Callable[[], None]) -> None:
        self._folders = folders
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder watch", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def close(self) -> None:
        """End. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        folders = list(dict.fromkeys(folder.resolve() for folder in self._folders if folder.is_dir()))
        if not folders:
            return
        for polls in (False, True):
            try:
                self._watch(folders, polls=polls)
                return
            except (OSError, RuntimeError) as error:
                # Some network folders, and machines that watch too much already.
                log.warning("The model folders cannot be watched%s: %s", " by polling" if polls else "; they are polled instead", error)

    def _watch(self, folders: Sequence[Path], *, polls: bool) -> None:
        changes = watch(
            *folders, stop_event=self._stop, debounce=AT_MOST, step=STEP, rust_timeout=1000, force_polling=polls, poll_delay_ms=POLL,
            raise_interrupt=False, ignore_permission_denied=True, watch_filter=_matters,
        )  # fmt: skip
        for _ in changes:
            if self._stop.wait(REST):
                return
            try:
                self._changed()
            except Exception:
                log.exception("The model folders could not be looked at again")


def _matters(change: Change, path: str) -> bool:
    """A file of a model or beside one; or a folder that has come or gone, which changes whenever something in it does."""
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    return not name.startswith(".") and (name.endswith(ENDINGS) or ("." not in name and change != Change.modified))
