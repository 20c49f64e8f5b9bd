"""Values from outside of which some may be wrong: the good ones are kept, the others named with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from webui.core.errors import InvalidRequest


def keep_valid(values: Mapping[str, Any], validate: Callable[[Mapping[str, Any]], object]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values that `validate` accepts, as it reads them, and for each other one the reason.

    validate: fills in what is missing, gives an object with an attribute of each value's name, raises InvalidRequest.
    Values that are good alone but not together are all refused.
    """
    try:
        return _read(values, validate(values)), {}
    except InvalidRequest:
        refused = {name: reason for name, value in values.items() if (reason := _reason({name: value}, validate))}
    good = {name: value for name, value in values.items() if name not in refused}
    if reason := _reason(good, validate):
        return {}, {**dict.fromkeys(good, reason), **refused}
    return _read(good, validate(good)), refused


def _read(values: Mapping[str, Any], whole: object) -> dict[str, Any]:
    return {name: getattr(whole, name) for name in values}


def _reason(values: Mapping[str, Any], validate: Callable[[Mapping[str, Any]], object]) -> str:
    try:
        validate(values)
    except InvalidRequest as error:
        return str(error)
    return ""
