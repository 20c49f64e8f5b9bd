"""What a new hypernetwork is to be: the wish, checked without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from webui.core.errors import InvalidRequest
from webui.core.request import invalid

WEIGHT_INITS = ("Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal")
# The widths of context in SD 1.x, as A1111's page has them ticked.
USUAL_SIZES = (768, 320, 640, 1280)
MAX_SIZE, MAX_SIZES, MAX_LAYERS, MAX_FACTOR = 8192, 16, 64, 64.0
MAX_BYTES = 2 * 1024**3


class NewHypernetwork(BaseModel):
    """The shape of a hypernetwork that is not trained yet. Frozen.

    sizes: widths of context it changes; for each there are two networks.   structure: widths of a network's layers as factors of its
    size, 1 at both ends.   dropouts: shares behind each of them, 0 at both ends; empty for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes: tuple[int, ...] = Field(default=USUAL_SIZES, min_length=1, max_length=MAX_SIZES)
    structure: tuple[float, ...] = Field(default=(1.0, 2.0, 1.0), min_length=2, max_length=MAX_LAYERS)
    activation: str = Field(default="linear", max_length=40)
    weight_init: str = "Normal"
    layer_norm: bool = False
    dropouts: tuple[float, ...] = ()

    @field_validator("structure", "dropouts", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """A1111's page sends "1, 2, 1"."""
        if isinstance(value, str):
            try:
                return tuple(float(part) for part in value.split(",")) if value.strip() else ()
            except ValueError:
                raise InvalidRequest(f"Got {value[:80]!r}; write numbers with commas between them, like 1, 2, 1.") from None
        return value

    @field_validator("sizes")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if bad := [size for size in value if not 1 <= size <= MAX_SIZE]:
            raise InvalidRequest(f"enable_sizes: got {bad[0]}; a width of context is 1 to {MAX_SIZE}.")
        return tuple(dict.fromkeys(value))

    @field_validator("weight_init")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in WEIGHT_INITS:
            raise InvalidRequest(f"weight_init: got {value[:40]!r}; it is one of {', '.join(WEIGHT_INITS)}.")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> NewHypernetwork:
        ends_in_one = self.structure[0] == 1 == self.structure[-1]
        if not ends_in_one or not all(1 / MAX_SIZE <= factor <= MAX_FACTOR for factor in self.structure):
            raise InvalidRequest(
                f"layer_structure: got {_shown(self.structure)}; it begins and ends with 1, and each layer has at most {MAX_FACTOR:.0f} "
                "times the width."
            )
        if any(int(size * factor) < 1 for size in self.sizes for factor in self.structure):
            raise InvalidRequest(f"layer_structure: got {_shown(self.structure)}; a layer of the width {min(self.sizes)} would have none.")
        if self.dropouts and not self._dropouts_fit():
            raise InvalidRequest(
                f"dropout_structure: got {_shown(self.dropouts)}; it has {len(self.structure)} numbers from 0 to below 1, the first and "
                "the last of them 0."
            )
        if self.bytes > MAX_BYTES:
            raise InvalidRequest(
                f"This hypernetwork would have {self.bytes / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.1f} GB are made. Use fewer or narrower "
                "layers."
            )
        return self

    def _dropouts_fit(self) -> bool:
        ends = self.dropouts[0] == 0 == self.dropouts[-1]
        return ends and len(self.dropouts) == len(self.structure) and all(0 <= share < 1 for share in self.dropouts)

    @property
    def bytes(self) -> int:
        """How large its file will be, about: float32 weights and biases of all layers."""
        return sum(2 * 4 * self._numbers(size) for size in self.sizes)

    def _numbers(self, size: int) -> int:
        widths = [int(size * factor) for factor in self.structure]
        beside = 3 if self.layer_norm else 1
        return sum((inside + beside) * outside for inside, outside in pairwise(widths))


def new_hypernetwork(**values: Any) -> NewHypernetwork:
    """The wish of these values.  Raises InvalidRequest saying what is wrong."""
    try:
        return NewHypernetwork.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from None


def _shown(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)[:120]
