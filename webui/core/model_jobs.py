"""Jobs that make or fetch model files: what may be asked, checked before anything is opened or fetched."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ValidationError, field_validator

from webui.core.errors import InvalidRequest
from webui.core.parameters import parameter
from webui.core.request import invalid
from webui.core.request_parts.base import RequestPart

NO_INTERPOLATION, WEIGHTED_SUM, ADD_DIFFERENCE = "No interpolation", "Weighted sum", "Add difference"
METHODS = (NO_INTERPOLATION, WEIGHTED_SUM, ADD_DIFFERENCE)
AS_IN_A = "As in A"
PRECISIONS = (AS_IN_A, "float16", "bfloat16")
KEEP_AVERAGES, DROP_AVERAGES, USE_AVERAGES = "Keep", "Drop", "Use"
AVERAGES = (KEEP_AVERAGES, DROP_AVERAGES, USE_AVERAGES)
FIRST_CONFIG, CONFIG_B, CONFIG_C, NO_CONFIG = "A, B or C", "B", "C", "Don't"
CONFIG_SOURCES = (FIRST_CONFIG, CONFIG_B, CONFIG_C, NO_CONFIG)
NO_VAE = "None"

MODEL_KINDS = ("Checkpoint", "VAE", "LoRA", "Embedding", "Hypernetwork", "ControlNet", "Upscaler")

MAX_NAME, MAX_SOURCE, MAX_PATTERN, MAX_METADATA = 512, 2048, 300, 64 * 1024

# Fields that the program fills in.
SETTLED = ("kind", "result", "url")


class ModelRequest(RequestPart):
    """What all jobs on model files have in common. They draw nothing.

    kind: by this a stored request says what it is; it stands first in the JSON, where the queue looks for it.
    result: the file's name, once it is settled; "" before.
    """

    kind: str = ""
    result: str = parameter("", title="Result", help="The file's name, as it was settled when the job was queued.", max_length=MAX_NAME)

    @property
    def images(self) -> int:
        """How many pictures come out."""
        return 0

    @property
    def title(self) -> str:
        """What a list of jobs calls it."""
        return self.result

    @property
    @abstractmethod
    def details(self) -> str:
        """What is done, in a few words."""


class MergeRequest(ModelRequest):
    """Make one checkpoint of up to three, or convert and prune one alone (with "No interpolation"). Frozen."""

    kind: Literal["merge"] = "merge"
    primary: str = parameter("", title="Primary model (A)", help="The checkpoint that all others are worked into.", max_length=MAX_NAME)
    secondary: str = parameter("", title="Secondary model (B)", help="The checkpoint that is worked into A.", max_length=MAX_NAME)
    tertiary: str = parameter("", title="Tertiary model (C)", help="Add difference: what is taken away from B.", max_length=MAX_NAME)
    method: str = parameter(
        WEIGHTED_SUM, title="Interpolation method", choices=METHODS,
        help="Weighted sum: A * (1 - M) + B * M. Add difference: A + (B - C) * M. No interpolation: A alone.",
    )  # fmt: skip
    multiplier: float = parameter(
        0.3, title="Multiplier (M)", help="0 gives model A.", minimum=-2.0, maximum=2.0, step=0.05, slider=(0.0, 1.0)
    )
    custom_name: str = parameter("", title="Custom name", help="Without suffix; empty: made of the models' names.", max_length=200)
    precision: str = parameter(
        AS_IN_A, title="Precision", choices=PRECISIONS, help="Numbers of the weights in the file; of 16 bits they take half the space."
    )
    averages: str = parameter(
        KEEP_AVERAGES, title="EMA weights", choices=AVERAGES,
        help="Averages that training left beside the weights (model_ema): keep them, drop them, or put them in the weights' place.",
    )  # fmt: skip
    only_known_parts: bool = parameter(
        False, title="Only known parts", help="Keep the UNet, the text encoders, the VAE and the depth model, and nothing else."
    )
    bake_in_vae: str = parameter(NO_VAE, title="Bake in VAE", help="Replace the checkpoint's VAE by this one.", max_length=MAX_NAME)
    discard_weights: str = parameter(
        "", title="Discard weights with matching name", help="A regular expression; tensors in whose names it is found are left out.",
        max_length=MAX_PATTERN,
    )  # fmt: skip
    config_source: str = parameter(
        FIRST_CONFIG, title="Copy config from", choices=CONFIG_SOURCES,
        help="Which model says what the UNet predicts: in its .yaml, its metadata or its marker tensors.",
    )  # fmt: skip
    add_recipe: bool = parameter(True, title="Add merge recipe metadata", help="Note in the file what it was made of.")
    copy_metadata: bool = parameter(True, title="Copy metadata from A", help="Except hashes, which are not true any more.")
    metadata_json: str = parameter(
        "", title="Metadata", help="A JSON object of more metadata; it wins over what is copied.", max_length=MAX_METADATA
    )
    overwrite: bool = parameter(False, title="Replace a file of that name", help="Otherwise a name that is taken is refused.")

    NEEDS: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({
        NO_INTERPOLATION: ("primary",), WEIGHTED_SUM: ("primary", "secondary"), ADD_DIFFERENCE: ("primary", "secondary", "tertiary"),
        CONFIG_B: ("secondary",), CONFIG_C: ("tertiary",),
    })  # fmt: skip

    @field_validator("metadata_json")
    @classmethod
    def _an_object(cls, value: str) -> str:
        read_metadata_json(value)
        return value

    @property
    def details(self) -> str:
        """The formula, with the models' names."""
        if self.method == NO_INTERPOLATION:
            return f"Convert: {self.primary}"
        return f"Merge: {merged_name(self)}"


class DownloadRequest(ModelRequest):
    """Fetch one model file from the web into the folder of its kind. Frozen.

    url: what `source` means, once it is settled; "" before.
    """

    kind: Literal["download"] = "download"
    source: str = parameter(
        "", title="From", help="An https:// address, or owner/name/file on the hub of the settings.", max_length=MAX_SOURCE
    )
    model_kind: str = parameter("Checkpoint", title="What it is", choices=MODEL_KINDS, help="Into whose folder it goes.")
    name: str = parameter("", title="File name", help="With suffix; empty: as in the address.", max_length=200)
    sha256: str = parameter("", title="SHA-256", help="64 hexadecimal digits; a file that has another is thrown away.", max_length=64)
    overwrite: bool = parameter(False, title="Replace a file of that name", help="Otherwise a name that is taken is refused.")
    url: str = parameter("", title="Address", help="As it was settled when the job was queued.", max_length=2 * MAX_SOURCE)

    @field_validator("sha256")
    @classmethod
    def _a_hash(cls, value: str) -> str:
        value = value.strip().lower()
        if value and not re.fullmatch("[0-9a-f]{64}", value):
            raise InvalidRequest(f"sha256: got {value!r}; give the 64 hexadecimal digits of the file's SHA-256, or nothing.")
        return value

    @property
    def details(self) -> str:
        """What it is; not the address, in which there may be a password."""
        return f"Download: {self.model_kind}"


R = TypeVar("R", bound=ModelRequest)


def read_model_request(kind: type[R], values: Mapping[str, Any]) -> R:
    """Validate outside values.  Raises InvalidRequest naming each wrong field, its value and the rule."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise invalid(error) from None


def read_metadata_json(text: str) -> dict[str, str]:
    """Metadata as safetensors has it, texts by name; other values are written as JSON.  Raises InvalidRequest."""
    try:
        content = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InvalidRequest(f'metadata_json: got {text[:80]!r}; write a JSON object, like {{"author": "me"}}, or nothing.')
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}


def merged_name(request: MergeRequest) -> str:
    """A1111's name for the result of these models, without suffix; models are called by their names without folder."""
    a, b, c = (_stem(name) for name in (request.primary, request.secondary, request.tertiary))
    own, other = round(1 - request.multiplier, 2), round(request.multiplier, 2)
    if request.method == WEIGHTED_SUM:
        return f"{own}({a}) + {other}({b})"
    if request.method == ADD_DIFFERENCE:
        return f"{a} + {other}({b} - {c})"
    return a


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"\.(safetensors|ckpt|pt|pth|bin)$", "", last, flags=re.IGNORECASE)
