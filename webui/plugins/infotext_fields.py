"""What extensions declare with an infotext key: controls of always-on scripts, and settings that change pictures.

It is written beside a picture, and read again when that is pasted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from webui.core.declared import declared_model
from webui.core.errors import InvalidRequest
from webui.core.extension_points import Addition
from webui.core.parameters import Parameter, parameters_of
from webui.core.request import GenerationRequest
from webui.plugins.script import AlwaysOnScript


def infotext_keys(script: AlwaysOnScript) -> Mapping[str, str]:
    """The names of a script's controls by their infotext key, of those that have one."""
    return {one.infotext: name for name, one in parameters_of(script.arguments).items() if one.infotext}


def written_fields(script: AlwaysOnScript, request: GenerationRequest) -> dict[str, str]:
    """The pairs of a script: none when it is asked for nothing but what is declared.  Raises InvalidRequest for wrong values."""
    keys = infotext_keys(script)
    values = script.values(request) if keys else {}
    declared = parameters_of(script.arguments)
    if all(value == declared[name].default for name, value in values.items()):
        return {}
    return {key: _written(values[name]) for key, name in keys.items()}


def read_fields(scripts: Sequence[AlwaysOnScript], fields: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What an infotext's pairs ask of scripts, as a request has it in `always_on`; and what is wrong with them, in sentences."""
    asked: dict[str, Any] = {}
    wrong: list[str] = []
    for script in scripts:
        defaults = {name: one.default for name, one in parameters_of(script.arguments).items()}
        given = {name: _read(fields[key], defaults[name]) for key, name in infotext_keys(script).items() if key in fields}
        if not given:
            continue
        try:
            asked[script.title] = script.as_core().read(given).model_dump(mode="json")
        except InvalidRequest as error:
            wrong.append(f"{error} These values are left out.")
    return asked, wrong


def recorded(additions: Sequence[Addition]) -> Mapping[str, Parameter]:
    """The settings of extensions that say by an infotext key that they change pictures, by that key."""
    declared = (parameters_of(declared_model(f"{one.extension} settings", one.settings)) for one in additions)
    return {one.infotext: one for of_one in declared for one in of_one.values() if one.infotext}


def written_settings(known: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, str]:
    """The pairs of settings that are not as declared.  values: of all settings of extensions, as JSON has them."""
    given = {key: values.get(one.name, one.default) for key, one in known.items()}
    return {key: _written(value) for key, value in given.items() if _plain(value) != _plain(known[key].default)}


def read_settings(known: Mapping[str, Parameter], fields: Mapping[str, str]) -> dict[str, Any]:
    """What an infotext's pairs say of settings, by their names, unchecked."""
    return {one.name: _read(fields[key], one.default) for key, one in known.items() if key in fields}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, tuple | list) else str(value)


def _read(text: str, default: Any) -> Any:
    """The value as its kind has it, where the text says one; else the text, which is refused with the others."""
    if not isinstance(default, tuple):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
