"""How a parameter is declared: one line says type, range, step, default, title, help, A1111's API name and infotext key.

Sliders, JSON schema, validation, infotext and docs are made from that line, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from webui.core.errors import UnknownName


@dataclass(frozen=True)
class Parameter:
    """One declared parameter, as the rooms that show or write it see it."""

    name: str
    type: type
    default: Any
    title: str
    help: str
    minimum: float | None
    maximum: float | None
    step: float | None
    slider: tuple[float, float] | None
    choices: tuple[str, ...] | None
    api: str
    infotext: str | None
    section: str


def parameter(
    default: Any,
    *,
    title: str,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    step: float | None = None,
    slider: tuple[float, float] | None = None,
    multiple_of: int | None = None,
    max_length: int | None = None,
    choices: tuple[str, ...] | None = None,
    api: str | None = None,
    infotext: str | None = None,
    section: str = "",
) -> Any:
    """Declare a parameter as a pydantic field.

    minimum, maximum: what is accepted at all.   slider: the narrower range that a slider offers.
    api: A1111's name of the field where it differs from ours.   infotext: its key in the text beside a picture.
    section: the heading under which the settings page shows it.
    """
    extra: dict[str, Any] = {"step": step, "slider": slider, "choices": choices, "api": api, "infotext": infotext, "section": section}
    return Field(
        default=default,
        title=title,
        description=help,
        ge=minimum,
        le=maximum,
        multiple_of=multiple_of,
        max_length=max_length,
        json_schema_extra={key: value for key, value in extra.items() if value not in (None, "")},
    )


class Declared(BaseModel):
    """A model whose fields are declared parameters: it holds no other, and each holds one of its choices."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @field_validator("*")
    @classmethod
    def _one_of_the_choices(cls, value: Any, info: Any) -> Any:
        choices = choices_of(cls).get(info.field_name)
        if choices and value not in choices:
            raise UnknownName(f"value for {info.field_name}", str(value), choices)
        return value


def parameters_of(model: type[BaseModel]) -> Mapping[str, Parameter]:
    """The parameters a model declares, in order of declaration, by name; without what it keeps for others."""
    return _parameters_of(model)


def choices_of(model: type[BaseModel]) -> Mapping[str, tuple[str, ...]]:
    """What the fields that have choices may be, by their names."""
    return _choices_of(model)


# A declaration never changes, and both are asked for many times a request.
@cache
def _parameters_of(model: type[BaseModel]) -> Mapping[str, Parameter]:
    return MappingProxyType({name: _read(name, field) for name, field in model.model_fields.items() if not _is_kept_for_others(field)})


@cache
def _choices_of(model: type[BaseModel]) -> Mapping[str, tuple[str, ...]]:
    extras: dict[str, Any] = {name: field.json_schema_extra or {} for name, field in model.model_fields.items()}
    return MappingProxyType({name: extra["choices"] for name, extra in extras.items() if extra.get("choices")})


def _is_kept_for_others(field: Any) -> bool:
    """Whether it is no parameter: what is in it is declared elsewhere."""
    return bool((field.json_schema_extra or {}).get("kept_for_others"))


def _read(name: str, field: Any) -> Parameter:
    extra = field.json_schema_extra or {}
    bounds = {type(rule).__name__: rule for rule in field.metadata}
    minimum = bounds["Ge"].ge if "Ge" in bounds else None
    maximum = bounds["Le"].le if "Le" in bounds else None
    return Parameter(
        name=name,
        type=field.annotation,
        default=field.default,
        title=field.title or name,
        help=field.description or "",
        minimum=minimum,
        maximum=maximum,
        step=extra.get("step"),
        slider=extra.get("slider", (minimum, maximum) if minimum is not None and maximum is not None else None),
        choices=extra.get("choices"),
        api=extra.get("api", name),
        infotext=extra.get("infotext"),
        section=extra.get("section", ""),
    )
