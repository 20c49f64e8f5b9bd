"""ui-config.json, A1111's file of what its page's controls hold at first, and between which ends: {"txt2img/Sampling steps/value": 20}.

A key names a tab, a control by its label, and one of FIELDS. Those of scripts have "customscript/FILE.py/" before them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.core.errors import InvalidRequest
from webui.core.files import write_atomically

FIELDS = ("value", "minimum", "maximum", "step", "visible")
SCRIPT = "customscript"
MAX_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Entry:
    """What a key means.  script: the script's file, "" for the tab's own controls."""

    tab: str
    label: str
    field: str
    script: str = ""


def read_key(key: str) -> Entry | None:
    """A key's parts; None if it is none. A label may have slashes."""
    head, _, field = key.rpartition("/")
    parts = head.split("/")
    script = ""
    if parts[0] == SCRIPT and len(parts) > 3:
        script, parts = parts[1], parts[2:]
    tab, label = parts[0], "/".join(parts[1:])
    return Entry(tab, label, field, script) if field in FIELDS and tab and label else None


def write_key(tab: str, label: str) -> str:
    """The key of what a control holds at first."""
    return f"{tab}/{label}/value"


def read_ui_config(text: str) -> dict[str, Any]:
    """The entries of a file.  Raises InvalidRequest when it is none."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequest(f"ui-config.json has {len(text)} characters; at most {MAX_CHARACTERS} are read.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"ui-config.json is no JSON ({error}). Mend it, or move it away to begin anew.") from None
    if not isinstance(content, dict):
        raise InvalidRequest("ui-config.json must hold one JSON object. Mend it, or move it away to begin anew.")
    return content


class UiConfig:
    """Owner of the file. For any thread. What it holds for others stays, and a file that cannot be read is never written over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def entries(self) -> Mapping[str, Any]:
        """Everything in the file by its keys; nothing when there is none.  Raises InvalidRequest."""
        try:
            return read_ui_config(self._path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"ui-config.json cannot be read ({error}). Mend it, or move it away to begin anew.") from None

    def change(self, entries: Mapping[str, Any], *, without: Collection[str] = ()) -> None:
        """Put entries in, and take others out.  Raises InvalidRequest, OSError."""
        with self._lock:
            kept = {key: value for key, value in self.entries().items() if key not in without}
            text = json.dumps({**kept, **entries}, ensure_ascii=False, indent=4)
            if len(text) > MAX_CHARACTERS:
                raise InvalidRequest(f"ui-config.json would have more than {MAX_CHARACTERS} characters; shorten the form's texts.")
            write_atomically(self._path, text.encode())
