"""The typed block of JSON beside the infotext: what drew a picture, so exactly that no name or prompt can pass for a field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest, describe_validation, read_request
from webui.core.settings import PICTURE_SECTIONS, Settings
from webui.core.validation import keep_valid

# Raised when a record of before would be read wrongly; a new field with a default does not ask for it.
SCHEMA = 1
MAX_RECORD = 4 * 1024 * 1024
# Of settings that are left out, as many are named to the user.
MAX_NAMED = 20

# Settings of these sections can change what is drawn. Those that name a file do not count: the request names it.
_FILES = frozenset({"sd_model_checkpoint", "sd_vae"})


@dataclass(frozen=True)
class NamedModel:
    """A file that took part.  hash: sha256 or its beginning, "" when not known."""

    kind: Literal["checkpoint", "vae", "lora", "embedding", "hypernetwork"]
    name: Annotated[str, Field(max_length=1024)]
    hash: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{0,64}$")] = ""


@dataclass(frozen=True)
class Record:
    """What drew one picture.

    settings: those of PICTURE_SECTIONS, all of them as they were.   extension_settings: of extensions, those that say they change pictures.
    version, device: of the program that drew it.
    infotext_sha256: of the infotext that was stored beside it; another one there means that somebody edited it.
    """

    request: GenerationRequest
    settings: Mapping[str, Any]
    models: tuple[NamedModel, ...] = ()
    version: str = ""
    device: str = ""
    infotext_sha256: str = ""
    extension_settings: Mapping[str, Any] = field(default_factory=dict)

    def describes(self, infotext: str) -> bool:
        """Whether this infotext is the one that was stored beside the record."""
        return text_hash(infotext) == self.infotext_sha256

    def model(self, kind: str) -> NamedModel | None:
        """The first file of that kind, if one is named."""
        return next((model for model in self.models if model.kind == kind), None)


@dataclass(frozen=True)
class ReadRecord:
    """A record as far as it could be read, and what to tell the user of the rest."""

    record: Record | None = None
    remarks: tuple[str, ...] = ()


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = Field(alias="schema")
    version: str = Field("", max_length=200)
    device: str = Field("", max_length=200)
    infotext_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    request: dict[str, Any]
    settings: dict[str, Any] = Field(default_factory=dict)
    models: tuple[NamedModel, ...] = Field((), max_length=1000)
    extension_settings: dict[Annotated[str, Field(max_length=200)], str | bool | int | float | list[str]] = Field(
        default_factory=dict, max_length=1000
    )


def settings_of_picture(settings: Settings) -> dict[str, Any]:
    """The settings that can change what is drawn, by name."""
    return {name: getattr(settings, name) for name in picture_settings()}


def picture_settings() -> tuple[str, ...]:
    """The names of the settings that can change what is drawn; only these may come from a picture or a pasted text."""
    return tuple(name for name, one in parameters_of(Settings).items() if one.section in PICTURE_SECTIONS and name not in _FILES)


def write_record(
    request: GenerationRequest,
    settings: Mapping[str, Any],
    models: Sequence[NamedModel] = (),
    *,
    infotext: str,
    version: str,
    device: str = "",
    extension_settings: Mapping[str, Any] | None = None,
) -> str:
    """The record as JSON.

    request: what draws this picture alone.   settings: as `settings_of_picture` gives them.   infotext: the one stored beside it.
    extension_settings: see Record.
    """
    content = {
        "schema": SCHEMA,
        "version": version,
        "device": device,
        "infotext_sha256": text_hash(infotext),
        "request": request.model_dump(mode="json"),
        "settings": dict(settings),
        "models": [asdict(model) for model in models],
        **({"extension_settings": dict(extension_settings)} if extension_settings else {}),
    }
    return storable(json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def read_record(text: str) -> ReadRecord:
    """The record in a text from outside, checked as strictly as a request; none, with the reason, when it cannot be used.

    Settings that this version does not have, or that no picture may set, are left out and named.
    """
    if len(text) > MAX_RECORD:
        return _unusable(f"it has {len(text)} characters; at most {MAX_RECORD} are read")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return _unusable("it is not JSON")
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return _unusable(f"it is not of schema {SCHEMA}, the one this version reads")
    try:
        wire = _Wire.model_validate(content)
        request = read_request(wire.request)
    except ValidationError as error:
        return _unusable(describe_validation(error))
    except InvalidRequest as error:
        return _unusable(str(error))
    settings, refused = _read_settings(wire.settings)
    record = Record(request, settings, wire.models, wire.version, wire.device, wire.infotext_sha256, wire.extension_settings)
    return ReadRecord(record, tuple(f"The picture's setting {name[:80]!r} is left out: {reason}" for name, reason in refused.items()))


def text_hash(text: str) -> str:
    """The sha256 of a text as a file can hold it."""
    return hashlib.sha256(storable(text).encode()).hexdigest()


def storable(text: str) -> str:
    """The text with unpaired surrogates, which no file could hold, replaced by "?"."""
    return text.encode("utf-8", "replace").decode()


def _read_settings(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    allowed = picture_settings()
    refused = dict.fromkeys(islice((name for name in values if name not in allowed), MAX_NAMED), "no picture sets that in this version.")
    known = {name: values[name] for name in allowed if name in values}
    accepted, wrong = keep_valid(known, Settings().changed)
    return accepted, refused | wrong


def _unusable(reason: str) -> ReadRecord:
    return ReadRecord(None, (f"The record in the picture is not used: {reason[:500]}.".replace("..", "."),))
