"""Where the settings are kept: config.json, read at start, written atomically at each change.

Defaults < config.json < command line < a job's own overrides.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from webui.core.declared import declared_model
from webui.core.errors import InvalidRequest, StartupError
from webui.core.files import write_atomically
from webui.core.parameters import Parameter, parameters_of
from webui.core.request import invalid
from webui.core.scripts import ScriptArguments
from webui.core.settings import Settings
from webui.core.validation import keep_valid

log = logging.getLogger(__name__)

EXTENSION_SETTINGS = "extension_settings"


class SettingsStore:
    """Owner of the settings: reads config.json at start, writes it atomically at each change. Safe to call from any thread.

    command_line: settings given by flags; they win over the file and are never written to it.
    """

    def __init__(self, path: Path, command_line: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._command_line = dict(command_line or {})
        self._unknown: dict[str, Any] = {}
        self._declared = declared_model("extension settings", {})
        self._stored = self._read()
        self._current = self._stored.changed(self._command_line)

    def snapshot(self) -> Settings:
        """The settings now; frozen, so it may be kept."""
        return self._current

    @property
    def locked(self) -> frozenset[str]:
        """Names of settings that the command line has given; a change of them lasts until the next start."""
        return frozenset(self._command_line)

    @property
    def declared(self) -> Mapping[str, Parameter]:
        """The settings that extensions have declared."""
        return parameters_of(self._declared)

    def declare(self, settings: Mapping[str, Any]) -> None:
        """Take up the settings of extensions, once, when they are loaded. A stored value against their rules is left out and named."""
        with self._lock:
            self._declared = declared_model("extension settings", settings)
            stored = self._stored.extension_settings
            valid, wrong = keep_valid({name: value for name, value in stored.items() if name in settings}, self._valid)
            for name, reason in wrong.items():
                log.warning("config.json: the extension's setting %s is as declared, because what is stored is refused: %s", name, reason)
            complete = {**stored, **_plain(self._valid(valid))}
            self._stored = self._stored.changed({"extension_settings": complete})
            self._current = self._current.changed({"extension_settings": complete})

    def with_changes(self, changes: Mapping[str, Any]) -> Settings:
        """The settings with these changed, for one job.  Raises InvalidRequest."""
        return self._changed(self._current, changes)

    def change(self, changes: Mapping[str, Any]) -> Settings:
        """Validate all changes, then apply and store all of them.  Raises InvalidRequest with none applied."""
        with self._lock:
            stored = self._changed(self._stored, changes)
            current = self._changed(self._current, changes)
            self._write(stored)
            self._stored, self._current = stored, current
            return current

    def _changed(self, settings: Settings, changes: Mapping[str, Any]) -> Settings:
        """Changed settings, those of extensions among them, each by its own name."""
        if EXTENSION_SETTINGS in changes:
            raise InvalidRequest(f"{EXTENSION_SETTINGS}: give each setting of an extension by its own name.")
        of_extensions = {name: value for name, value in changes.items() if name in self._declared.model_fields}
        if not of_extensions:
            return settings.changed(changes)
        before = settings.extension_settings
        values = _plain(self._valid({**{name: before[name] for name in self._declared.model_fields if name in before}, **of_extensions}))
        others = {name: value for name, value in changes.items() if name not in of_extensions}
        return settings.changed({**others, EXTENSION_SETTINGS: {**before, **values}})

    def _valid(self, values: Mapping[str, Any]) -> ScriptArguments:
        """All declared settings of extensions with these values.  Raises InvalidRequest."""
        try:
            return self._declared.model_validate(dict(values))
        except ValidationError as error:
            raise invalid(error) from None

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
        defaults = {name: field.default for name, field in Settings.model_fields.items()}
        values = settings.model_dump()
        own = _plain(self._declared())
        values[EXTENSION_SETTINGS] = {name: value for name, value in values[EXTENSION_SETTINGS].items() if own.get(name) != value}
        differing = {key: value for key, value in values.items() if value != defaults[key]}
        write_atomically(self._path, json.dumps({**self._unknown, **differing}, indent=4, ensure_ascii=False).encode())


def _plain(settings: ScriptArguments) -> dict[str, Any]:
    """As JSON has them."""
    return settings.model_dump(mode="json")
