"""Parameters that are declared while the program runs, by extensions: a model made of them, which validates as all others do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError, create_model

from webui.core.request import invalid
from webui.core.scripts import ScriptArguments


def declared_model(name: str, declared: Mapping[str, Any]) -> type[ScriptArguments]:
    """A model of `parameter(...)`s by name.  Raises TypeError for what is no parameter, InvalidRequest for a default against its rules."""
    fields: dict[str, Any] = {}
    for key, field in declared.items():
        if not isinstance(key, str) or not key.isidentifier() or key.startswith("_") or not hasattr(field, "json_schema_extra"):
            raise TypeError(f"{key!r}: {field!r} is no parameter; declare it with webui.core.parameters.parameter")
        kind = type(field.default)
        if kind not in (bool, int, float, str, tuple):
            raise TypeError(f"{key!r}: its default is {field.default!r}; give a bool, a number, a text or a tuple of texts")
        fields[key] = (tuple[str, ...] if kind is tuple else kind, field)
    model: type[ScriptArguments] = create_model(name, __base__=ScriptArguments, **fields)
    try:
        model()
    except ValidationError as error:
        raise invalid(error) from None
    return model
