"""What all parts of a request have in common."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from webui.core.errors import InvalidRequest, UnknownName

LARGEST_SIDE = 8192


class RequestPart(BaseModel):
    """Some of a request's parameters: those of one feature, with the rules among them. GenerationRequest is made of all parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @field_validator("*")
    @classmethod
    def _one_of_the_choices(cls, value: Any, info: Any) -> Any:
        extra: Any = cls.model_fields[info.field_name].json_schema_extra
        choices = (extra or {}).get("choices")
        if choices and value not in choices:
            raise UnknownName(f"value for {info.field_name}", value, choices)
        return value


def check_picture_hashes(field: str, *names: str) -> None:
    """Pictures are named by the hash that storing them gives.  Raises InvalidRequest."""
    for name in names:
        if name and not re.fullmatch("[0-9a-f]{64}", name):
            raise InvalidRequest(f"{field}: got {name[:80]!r}; a picture is named by its hash, which storing it gives.")
