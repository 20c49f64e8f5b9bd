"""What a LoRA file changes in one layer: which kind its tensors are of, how the change is scaled, DoRA, and the sum.

As in A1111 1.10 a change is scaled, then made DoRA's, then multiplied by the strength; and the weight is rounded to the dtype of the
change where it is wider, so that a half-precision LoHa leaves half-precision weights.  DoRA: arXiv:2402.09353.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from webui.core.errors import ModelError
from webui.engine.adapters.lora_kinds import (
    Factors,
    Generalised,
    Hadamard,
    Kind,
    Kronecker,
    LowRank,
    LowRankConvolution,
    Matrix,
    Plain,
    Product,
    Rotation,
    Whole,
    beside,
)

Parts = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Dora:
    """Magnitudes apart from directions.  by_row: one an output (PEFT), else one an input (A1111, whatever the tensor's shape)."""

    magnitudes: torch.Tensor
    by_row: bool

    def fits(self, shape: Sequence[int]) -> bool:
        if len(shape) < 2:
            return False
        if self.by_row:
            return self.magnitudes.numel() == shape[0]
        return self.magnitudes.ndim == len(shape) and all(own in (1, side) for own, side in zip(self.magnitudes.shape, shape, strict=True))

    def change(self, weight: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """What changes the weight when the sum's lengths are made to be the magnitudes."""
        weight = weight.to(change.dtype)
        merged = weight + change
        kept = 0 if self.by_row else 1
        lengths = torch.linalg.vector_norm(merged, dim=[side for side in range(merged.ndim) if side != kept], keepdim=True)
        magnitudes = beside(self.magnitudes, weight)
        return merged * ((magnitudes.view_as(lengths) if self.by_row else magnitudes) / lengths) - weight


@dataclass(frozen=True)
class LayerChange:
    """One file's change of one layer at full strength.

    dense: added to the kind's change before it is scaled.   bias: change of the layer's bias, not scaled.
    """

    kind: Kind
    scale: float
    dora: Dora | None = None
    dense: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether it can change a weight of this shape."""
        if self.dense is not None and self.dense.numel() != math.prod(shape):
            return False
        return self.kind.fits(shape) and (self.dora is None or self.dora.fits(shape))

    @property
    def plain_lora(self) -> LowRank | None:
        """Its kind, if that is all there is to it."""
        return self.kind if isinstance(self.kind, LowRank) and self.dora is None and self.dense is None else None

    def add_to(self, weight: torch.Tensor, strength: float) -> None:
        """Change a contiguous float32 weight in place."""
        change = self.kind.change(weight).reshape(weight.shape)
        if self.dense is not None:
            change = change + beside(self.dense, change).view_as(change)
        change = change * self.scale
        if self.dora is not None:
            change = self.dora.change(weight, change)
        weight.copy_(weight.to(change.dtype) + change * strength)


Changes = Sequence[tuple[LayerChange, float]]


def add_all(weight: torch.Tensor, changes: Changes) -> None:
    """Change a contiguous float32 weight in place by each, with its strength, one after another."""
    for is_plain, group in groupby(changes, key=lambda entry: entry[0].plain_lora is not None):
        if is_plain:
            add_plain_loras(weight, list(group), out=weight)
        else:
            for change, strength in group:
                change.add_to(weight, strength)


def add_plain_loras(weight: torch.Tensor, changes: Changes, *, out: torch.Tensor) -> None:
    """Set `out` to a weight and these, in one multiplication: ten of them take little longer than one, and memory is passed over once.

    Nearly every file there is is a plain LoRA, and a changed prompt must not wait.   weight, out: contiguous, float32.
    """
    ups, downs = [], []
    for change, strength in changes:
        assert change.plain_lora is not None
        up, down = change.plain_lora.factors(weight)
        ups.append(up * (change.scale * strength))
        downs.append(down)
    torch.addmm(weight.view(len(weight), -1), torch.cat(ups, dim=1), torch.cat(downs), out=out.view(len(out), -1))


def read_layer(parts: Parts, *, default_alpha: float | None = None, dyn: int | None = None) -> LayerChange:
    """The change that a layer's tensors describe.

    parts: by what comes after the layer's name, in kohya's words.   default_alpha: where the file has none.   dyn: LoRA rank to use.
    Raises ModelError when they are no kind that is known.
    """
    for needed, read in _KINDS:
        if any(all(name in parts for name in names) for names in needed):
            kind, rank = read(parts, dyn)
            bias = parts.get("diff_b", parts.get("b_norm")) if isinstance(kind, Whole) else None
            return LayerChange(kind, _scale(parts, rank, default_alpha), _dora(parts), parts.get("bias"), bias)
    raise ModelError(f"is of no kind that is known here: {', '.join(sorted(parts)[:8])}")


def _read_lora(parts: Parts, dyn: int | None) -> tuple[Kind, int | None]:
    up, down, mid = parts["lora_up.weight"], parts["lora_down.weight"], parts.get("lora_mid.weight")
    if mid is not None:
        return LowRankConvolution(up, down, mid), len(down)
    return LowRank(up, down, len(down) if dyn is None else dyn), len(down)


def _read_loha(parts: Parts, dyn: int | None) -> tuple[Kind, int | None]:
    first, second = (Product(parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"], parts.get(f"hada_t{n}")) for n in (1, 2))
    return Hadamard(first, second), len(first.b)


def _read_lokr(parts: Parts, dyn: int | None) -> tuple[Kind, int | None]:
    matrices: list[Matrix] = []
    rank = None
    for number in (1, 2):
        name = f"lokr_w{number}"
        if name in parts:
            matrices.append(Plain(parts[name]))
        else:
            matrices.append(Product(parts[f"{name}_a"], parts[f"{name}_b"], parts.get(f"lokr_t{number}")))
            rank = len(parts[f"{name}_b"])
    return Kronecker(*matrices), rank


def _read_glora(parts: Parts, dyn: int | None) -> tuple[Kind, int | None]:
    # Unscaled: A1111 asks for alpha here, and does not use it.
    return Generalised(*(parts[f"{name}.weight"] for name in ("a1", "a2", "b1", "b2"))), None


def _read_oft(parts: Parts, dyn: int | None) -> tuple[Kind, int | None]:
    if "oft_blocks" not in parts:
        return Rotation(parts["oft_diag"], is_rotation=True, limit=0.0, rescale=parts.get("rescale")), None
    blocks = parts["oft_blocks"]
    outputs = math.prod(blocks.shape[-3:-1])
    limit = _number(parts["alpha"]) * outputs if "alpha" in parts else 0.0
    return Rotation(blocks, is_rotation=False, limit=limit, rescale=parts.get("rescale")), None


_Read = Callable[[Parts, "int | None"], "tuple[Kind, int | None]"]

# In A1111's order of trying: what makes a layer of each kind (any of the sets), and how it is read.
_KINDS: tuple[tuple[tuple[tuple[str, ...], ...], _Read], ...] = (
    ((("lora_up.weight", "lora_down.weight"),), _read_lora),
    ((("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),), _read_loha),
    ((("weight", "on_input"),), lambda parts, dyn: (Factors(parts["weight"], bool(_number(parts["on_input"]))), None)),
    (
        (
            ("lokr_w1", "lokr_w2"),
            ("lokr_w1", "lokr_w2_a", "lokr_w2_b"),
            ("lokr_w1_a", "lokr_w1_b", "lokr_w2"),
            ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"),
        ),
        _read_lokr,
    ),
    ((("diff",),), lambda parts, dyn: (Whole(parts["diff"]), None)),
    ((("w_norm", "b_norm"),), lambda parts, dyn: (Whole(parts["w_norm"]), None)),
    ((("a1.weight", "a2.weight", "b1.weight", "b2.weight"),), _read_glora),
    ((("oft_blocks",), ("oft_diag",)), _read_oft),
)


def _scale(parts: Parts, rank: int | None, default_alpha: float | None) -> float:
    """alpha / rank for kinds that have a rank, unless the file says the scale itself."""
    if "scale" in parts and "oft_blocks" not in parts and "oft_diag" not in parts:
        return _number(parts["scale"])
    alpha = _number(parts["alpha"]) if "alpha" in parts else default_alpha
    return 1.0 if rank is None or alpha is None else alpha / rank


def _number(tensor: torch.Tensor) -> float:
    if tensor.numel() != 1:
        raise ModelError(f"has a tensor of shape {tuple(tensor.shape)} where one number belongs")
    return float(tensor)


def _dora(parts: Parts) -> Dora | None:
    if "dora_scale" in parts:
        return Dora(parts["dora_scale"], by_row=False)
    if "lora_magnitude_vector" in parts:
        return Dora(parts["lora_magnitude_vector"], by_row=True)
    return None
