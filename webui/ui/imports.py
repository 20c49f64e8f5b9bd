"""Taking over A1111's own files: config.json, styles.csv and ui-config.json, with a report of what was not taken and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.settings import Settings
from webui.core.styles import read_styles
from webui.core.ui_config import read_key, read_ui_config
from webui.ui.defaults import TabDefaults

MAX_IMPORTED = 2_000_000
CHOOSE = "Choose A1111's config.json, ui-config.json or styles.csv."
NO_SETTING = "This program has no such setting."


def take_over(app: App, defaults: TabDefaults, text: str) -> dict[str, Any]:
    """What a file is, and what becomes of it.  Raises InvalidRequest, OSError.

    Styles and ui-config.json are stored at once; of a config.json the page makes changes to look at.
    Returns: "kind": config, styles or ui-config; "changes" of settings by name; how many are "taken", and how many are the "same" here
    already; and those "refused" with the reason, by name.
    """
    if len(text) > MAX_IMPORTED:
        raise InvalidRequest(f"The file has {len(text)} characters; at most {MAX_IMPORTED} are read. {CHOOSE}")
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return {"kind": "styles", "changes": {}, **_take_styles(app, text)}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The file is no JSON ({error}). {CHOOSE}") from None
    if not isinstance(content, dict):
        raise InvalidRequest(f"The file holds nothing by name. {CHOOSE}")
    if sum(read_key(key) is not None for key in content) > len(content) / 2:
        taken = defaults.take(read_ui_config(text))
        return {"kind": "ui-config", "changes": {}, "taken": len(taken.keys), "same": taken.same, "refused": dict(taken.refused)}
    return {"kind": "config", **read_a1111(content, app.settings.snapshot())}


def read_a1111(content: Mapping[str, Any], current: Settings) -> dict[str, Any]:
    """What a config.json would change, and what it cannot.  current: the settings as they are."""
    now = current.model_dump()
    changes: dict[str, Any] = {}
    refused: dict[str, str] = {}
    same = 0
    for name, value in content.items():
        if name not in Settings.model_fields:
            refused[name] = NO_SETTING
            continue
        try:
            read = Settings().changed({name: value}).model_dump()[name]
        except InvalidRequest as error:
            refused[name] = str(error)
            continue
        if read == now[name]:
            same += 1
        else:
            changes[name] = ", ".join(read) if isinstance(read, tuple) else read
    return {"changes": changes, "taken": len(changes), "same": same, "refused": refused}


def _take_styles(app: App, text: str) -> dict[str, Any]:
    """Store the styles of a file beside those there are. One whose name is taken by another text is left out."""
    styles = read_styles(text.encode())
    if not styles:
        raise InvalidRequest(f"The file has no styles. {CHOOSE}")
    there = {style.name: style for style in app.styles.styles()}
    new = [style for style in styles if style.name not in there]
    taken_names = [style.name for style in styles if there.get(style.name, style) != style]
    refused = dict.fromkeys(taken_names, "There is another style of that name; rename one of them.")
    app.styles.add(new)
    return {"taken": len(new), "same": len(styles) - len(new) - len(refused), "refused": refused}
