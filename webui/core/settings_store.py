"""Where the settings are kept: config.json, read at start, written atomically at each change.

Defaults < config.json < command line < a job's own overrides.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.core.errors import InvalidRequest, StartupError
from webui.core.files import write_atomically
from webui.core.parameters import parameters_of
from webui.core.settings import Settings


class SettingsStore:
    """Owner of the settings: reads config.json at start, writes it atomically at each change. Safe to call from any thread.

    command_line: settings given by flags; they win over the file and are never written to it.
    """

    def __init__(self, path: Path, command_line: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._command_line = dict(command_line or {})
        self._unknown: dict[str, Any] = {}
        self._stored = self._read()
        self._current = self._stored.changed(self._command_line)

    def snapshot(self) -> Settings:
        """The settings now; frozen, so it may be kept."""
        return self._current

    @property
    def locked(self) -> frozenset[str]:
        """Names of settings that the command line has given; a change of them lasts until the next start."""
        return frozenset(self._command_line)

    def change(self, changes: Mapping[str, Any]) -> Settings:
        """Validate all changes, then apply and store all of them.  Raises InvalidRequest with none applied."""
        with self._lock:
            stored = self._stored.changed(changes)
            current = self._current.changed(changes)
            self._write(stored)
            self._stored, self._current = stored, current
            return current

    def _read(self) -> Settings:
        if not self._path.exists():
            return Settings()
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StartupError(f"{self._path} cannot be read ({error}). Mend it, or move it away to start with default settings.") from None
        if not isinstance(values, dict):
            raise StartupError(f"{self._path} must hold one JSON object, not a {type(values).__name__}. Mend it, or move it away.")
        known = {key: value for key, value in values.items() if key in Settings.model_fields}
        self._unknown = {key: value for key, value in values.items() if key not in known}
        try:
            return Settings().changed(known)
        except InvalidRequest as error:
            raise StartupError(f"{self._path}: {error} Mend that line, or delete it to get the default.") from None

    def _write(self, settings: Settings) -> None:
        """Only what differs from the defaults is written; keys we do not know (an A1111 config.json's) are kept."""
        defaults = {name: declared.default for name, declared in parameters_of(Settings).items()}
        differing = {key: value for key, value in settings.model_dump().items() if value != defaults[key]}
        write_atomically(self._path, json.dumps({**self._unknown, **differing}, indent=4, ensure_ascii=False).encode())
