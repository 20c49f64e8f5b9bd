"""What extensions do to a job: the values of their always-on scripts, and what of it is done already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.request_parts.base import RequestPart

MAX_VALUES = 1_000_000
# What extensions make of a job, none of which a user chooses alone.
OF_EXTENSIONS = ("always_on", "extensions_applied", "extension_pairs")
MAX_PAIRS = 100


class AlwaysOnParameters(RequestPart):
    """Values of always-on scripts. The other two are set on the way, so that a picture's own request draws it again and no more."""

    always_on: Mapping[str, Mapping[str, Any]] = parameter(
        {}, title="Always-on scripts", help="By the title of an extension's script, what it is asked, by name; others are as declared."
    )
    extensions_applied: str = parameter(
        "", title="Changed by extensions", choices=("", "request", "batch"),
        help="How far extensions have changed this request already: before it was queued, or before its batch too.",
    )  # fmt: skip
    extension_pairs: Mapping[str, str] = parameter(
        {}, title="Extensions' infotext", help="What scripts add to the text beside the picture; set when the job is queued."
    )

    @field_validator("always_on")
    @classmethod
    def _storable_values(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            written = json.dumps(values)
        except (TypeError, ValueError, RecursionError):
            raise InvalidRequest("always_on: got a value that JSON cannot say; give texts, numbers, booleans and lists.") from None
        if len(written) > MAX_VALUES:
            raise InvalidRequest(f"always_on: got {len(written)} characters of JSON; at most {MAX_VALUES} are accepted.")
        return values

    @field_validator("extension_pairs")
    @classmethod
    def _few_pairs(cls, values: Mapping[str, str]) -> Mapping[str, str]:
        if len(values) > MAX_PAIRS:
            raise InvalidRequest(f"extension_pairs: got {len(values)} pairs; at most {MAX_PAIRS} are accepted.")
        return values
