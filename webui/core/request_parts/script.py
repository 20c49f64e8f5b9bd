"""A script that makes many pictures of one request: which, and what it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.request_parts.base import RequestPart

MAX_ARGUMENTS = 1_000_000
# What only the job as a whole has; the pictures that its script draws have none of it.
OF_A_SCRIPT = ("script", "script_args", "script_styles", "script_random_seed", "script_pictures")


class ScriptParameters(RequestPart):
    """The script of a job, by its title. All but the first two are set when the job is queued."""

    script: str = parameter("", title="Script", help="Makes many pictures of one request; empty: none.", max_length=200, api="script_name")
    script_args: Mapping[str, Any] = parameter({}, title="Script's arguments", help="By name, as the script declares them.")
    script_styles: tuple[str, ...] = parameter(
        (), title="Script's styles", help="Names of styles to put around every prompt that the script makes; set when the job is queued."
    )
    script_random_seed: bool = parameter(
        False, title="Script with a random seed", help="Whether no seed was asked for; set when the job is queued."
    )
    script_pictures: int = parameter(
        0,
        title="Script's pictures",
        help="How many pictures and grids come of it; set when the job is queued.",
        minimum=0,
        maximum=1_000_000,
    )

    @field_validator("script_args")
    @classmethod
    def _storable_arguments(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            written = json.dumps(values)
        except (TypeError, ValueError, RecursionError):
            raise InvalidRequest("script_args: got a value that JSON cannot say; give texts, numbers, booleans and lists.") from None
        if len(written) > MAX_ARGUMENTS:
            raise InvalidRequest(f"script_args: got {len(written)} characters of JSON; at most {MAX_ARGUMENTS} are accepted.")
        return values
