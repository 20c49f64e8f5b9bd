"""Settings that are lists: the Settings tab sends them as one text with commas, A1111's config.json has them as lists."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator


def split_names(value: Any) -> Any:
    """The names in a text; what is no text is left to be judged as it is."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Whitespace = Annotated[tuple[Literal["Tab", "Carriage Return", "Line Feed"], ...], BeforeValidator(split_names)]
