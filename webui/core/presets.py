"""Forms that users have stored under a name: one JSON file. A tab's own defaults are in ui-config.json (core/ui_config.py)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.core.errors import InvalidRequest, NotFound
from webui.core.files import write_atomically

MAX_NAME = 100
MAX_PRESETS = 500
MAX_CHARACTERS = 200_000

Fields = Mapping[str, Any]


class PresetStore:
    """Owner of the file. For any thread. A file that cannot be read is never written over: saving says so instead."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def names(self, tab: str) -> tuple[str, ...]:
        """The names of a tab's presets, in their order of the alphabet.  Raises InvalidRequest."""
        return tuple(sorted(self._read().get(tab, {}), key=str.casefold))

    def find(self, tab: str, name: str) -> Fields:
        """A preset's values by control.  Raises NotFound, InvalidRequest."""
        presets = self._read().get(tab, {})
        if name not in presets:
            raise NotFound(f"There is no preset {name[:MAX_NAME]!r} of {tab} (any more).")
        return presets[name]

    def save(self, tab: str, name: str, fields: Fields) -> None:
        """Store values under a name, in place of what was there.  Raises InvalidRequest, OSError."""
        if len(name) > MAX_NAME or not (name and name.isprintable() and name == name.strip()):
            raise InvalidRequest(f"The preset's name {name[:MAX_NAME]!r} is too long or cannot be shown. Choose another.")
        if len(json.dumps(fields)) > MAX_CHARACTERS:
            raise InvalidRequest(f"The form has more than {MAX_CHARACTERS} characters; shorten its texts.")
        with self._lock:
            stored = self._read()
            presets = {**stored.get(tab, {}), name: dict(fields)}
            if len(presets) > MAX_PRESETS:
                raise InvalidRequest(f"{tab} has {MAX_PRESETS} presets already; delete some.")
            self._write({**stored, tab: presets})

    def delete(self, tab: str, name: str) -> None:
        """Forget a preset; one that is not there needs nothing done.  Raises InvalidRequest, OSError."""
        with self._lock:
            stored = self._read()
            self._write({**stored, tab: {other: fields for other, fields in stored.get(tab, {}).items() if other != name}})

    def _read(self) -> dict[str, dict[str, Fields]]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"{self._path.name} cannot be read ({error}). Mend it, or move it away to begin anew.") from None
        tabs = content.items() if isinstance(content, dict) else ()
        return {
            tab: {name: fields for name, fields in presets.items() if isinstance(fields, dict)}
            for tab, presets in tabs
            if isinstance(presets, dict)
        }

    def _write(self, content: Mapping[str, Mapping[str, Fields]]) -> None:
        write_atomically(self._path, json.dumps(content, ensure_ascii=False, indent=1).encode())
