"""The arithmetic of the LoRA family: what the few tensors that a file has for a layer change in that layer's weight.

As in A1111 1.10, LoRA is computed in float32 and every other kind in the dtype of the file's tensors.

Sources: LoRA arXiv:2106.09685; LoHa, LoKr and their Tucker forms arXiv:2309.14859 (LyCORIS); IA3 arXiv:2205.05638; GLoRA
arXiv:2306.07967; OFT arXiv:2306.07280; BOFT arXiv:2311.06243.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

# Dtypes that a change is computed in if the file's tensors have them.
_WORKING = (torch.float16, torch.bfloat16, torch.float32)


class Kind(Protocol):
    """One way of writing a change down."""

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether it can change a weight of this shape."""
        ...

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        """The full change, unscaled, of a float32 weight; as many numbers as the weight has, in any shape, in the kind's dtype."""
        ...


@dataclass(frozen=True)
class LowRank:
    """up (o, r) @ down (r, i...).  rank: how many of the r are used (A1111's dyn).  LoRA and LoCon."""

    up: torch.Tensor
    down: torch.Tensor
    rank: int

    def fits(self, shape: Sequence[int]) -> bool:
        return len(self.up) == shape[0] and self.up.flatten(1).shape[1] == len(self.down) and self.down[0].numel() == math.prod(shape[1:])

    def factors(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The two matrices, where the weight is."""
        return beside(self.up.flatten(1)[:, : self.rank], weight), beside(self.down.flatten(1)[: self.rank], weight)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        up, down = self.factors(weight)
        return up @ down


@dataclass(frozen=True)
class LowRankConvolution:
    """LoRA of a convolution in CP form: up (o, n), down (m, i), mid (n, m, k, l)."""

    up: torch.Tensor
    down: torch.Tensor
    mid: torch.Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        up, down, mid = self.up.flatten(1), self.down.flatten(1), self.mid
        return mid.ndim == 4 and mid.shape[:2] == (up.shape[1], len(down)) and (len(up), down.shape[1], *mid.shape[2:]) == tuple(shape)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        up, down = beside(self.up.flatten(1), weight), beside(self.down.flatten(1), weight)
        return torch.einsum("nmkl,on,mi->oikl", beside(self.mid, weight), up, down)


@dataclass(frozen=True)
class Product:
    """a (o, r) @ b (r, i...), or with core (r, s, k, l) the Tucker form of a (r, o) and b (s, i)."""

    a: torch.Tensor
    b: torch.Tensor
    core: torch.Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix or convolution it makes; () when the parts do not belong together."""
        if self.core is not None:
            return (self.a.shape[1], self.b.shape[1], *self.core.shape[2:]) if self._has_core() else ()
        return (len(self.a), *self.b.shape[1:]) if self.a.ndim > 1 and self.a[0].numel() == len(self.b) else ()

    def _has_core(self) -> bool:
        core = self.core
        return core is not None and (self.a.ndim, self.b.ndim, core.ndim) == (2, 2, 4) and core.shape[:2] == (len(self.a), len(self.b))

    def make(self, weight: torch.Tensor) -> torch.Tensor:
        """The product, where the weight is."""
        a, b = _there(self.a, weight), _there(self.b, weight)
        if self.core is not None:
            half = torch.einsum("rskl,si->rikl", _there(self.core, weight).float(), b.float()).to(a.dtype)
            return torch.einsum("rikl,ro->oikl", half.float(), a.float()).to(a.dtype)
        return _product(a.flatten(1), b.flatten(1)).view(self.shape)


@dataclass(frozen=True)
class Plain:
    """A matrix that the file has whole."""

    whole: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Its own."""
        return tuple(self.whole.shape)

    def make(self, weight: torch.Tensor) -> torch.Tensor:
        """It, where the weight is."""
        return _there(self.whole, weight)


Matrix = Product | Plain


@dataclass(frozen=True)
class Hadamard:
    """The product of two matrices, number by number.  LoHa."""

    first: Matrix
    second: Matrix

    def fits(self, shape: Sequence[int]) -> bool:
        first, second = self.first.shape, self.second.shape
        return bool(first) and first[0] == shape[0] and math.prod(first) == math.prod(second) == math.prod(shape)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        first = self.first.make(weight)
        return first * self.second.make(weight).view_as(first)


@dataclass(frozen=True)
class Kronecker:
    """Every number of the first matrix times the whole second.  LoKr."""

    first: Matrix
    second: Matrix

    def fits(self, shape: Sequence[int]) -> bool:
        first, second = self.first.shape, self.second.shape
        if len(first) != 2 or len(second) not in (2, 4):
            return False
        return first[0] * second[0] == shape[0] and math.prod(first) * math.prod(second) == math.prod(shape)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        first, second = self.first.make(weight), self.second.make(weight).contiguous()
        return torch.kron(first[:, :, None, None] if second.ndim == 4 else first, second)


@dataclass(frozen=True)
class Whole:
    """The change itself.  Full difference, and the weights of norms."""

    difference: torch.Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        return self.difference.numel() == math.prod(shape)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        return _there(self.difference, weight)


@dataclass(frozen=True)
class Factors:
    """The weight times one number a row, or a column.  IA3."""

    factors: torch.Tensor
    on_input: bool

    def fits(self, shape: Sequence[int]) -> bool:
        return len(shape) > 1 and self.factors.numel() == shape[1 if self.on_input else 0]

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        place = [1] * weight.ndim
        place[1 if self.on_input else 0] = -1
        return weight * beside(self.factors, weight).view(place)


@dataclass(frozen=True)
class Generalised:
    """b2 @ b1 + weight @ a2 @ a1, for linear layers and 1x1 convolutions.  GLoRA."""

    a1: torch.Tensor
    a2: torch.Tensor
    b1: torch.Tensor
    b2: torch.Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        a1, a2, b1, b2 = (part.flatten(1).shape for part in (self.a1, self.a2, self.b1, self.b2))
        inside = math.prod(shape[1:])
        return (b2[0], b1[1]) == (shape[0], inside) and b2[1] == b1[0] and (a2[0], a1[1]) == (inside, inside) and a2[1] == a1[0]

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        a1, a2, b1, b2 = (_there(part.flatten(1), weight) for part in (self.a1, self.a2, self.b1, self.b2))
        return _product(b2, b1) + _product(_product(weight.flatten(1).to(a2.dtype), a2), a1)


@dataclass(frozen=True)
class Rotation:
    """Turns blocks of rows.  OFT, and with blocks of four dimensions BOFT: one turn after another, rows shuffled between.

    blocks: (n, b, b) or (m, n, b, b).   is_rotation: they are rotations already (older LyCORIS), else generators of some.
    limit: how large all generators together may be (COFT), 0 for any.   rescale: (o,), factors of the turned rows.
    """

    blocks: torch.Tensor
    is_rotation: bool
    limit: float
    rescale: torch.Tensor | None

    def fits(self, shape: Sequence[int]) -> bool:
        blocks = self.blocks.shape
        if len(blocks) not in (3, 4) or blocks[-1] != blocks[-2] or blocks[-3] * blocks[-1] != shape[0]:
            return False
        shuffles = len(blocks) == 3 or (blocks[-1] % 2 == 0 and shape[0] % (2 ** (blocks[0] - 1) * blocks[-1]) == 0)
        return shuffles and (self.rescale is None or self.rescale.numel() == shape[0])

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        blocks = _there(self.blocks, weight)
        turns = (blocks if self.is_rotation else _cayley(blocks, self.limit)).to(weight.dtype)
        rows = weight.flatten(1)
        if turns.ndim == 3:
            turned = torch.einsum("knm,knc->kmc", turns, rows.view(*turns.shape[:2], -1)).reshape_as(rows)
        else:
            turned = _butterfly(turns, rows)
        if self.rescale is not None:
            turned = turned * beside(self.rescale, weight).view(-1, 1)
        return turned - rows


def _cayley(blocks: torch.Tensor, limit: float) -> torch.Tensor:
    """Rotations (I + Q)(I - Q)^-1 from the skew-symmetric part Q of each block; all Q together no longer than `limit`."""
    skew = blocks - blocks.transpose(-1, -2)
    if limit:
        length = torch.linalg.vector_norm(skew)
        skew = skew * ((length.clamp(max=limit) + 1e-8) / (length + 1e-8))
    identity = torch.eye(blocks.shape[-1], device=blocks.device)  # float32, and so is all that follows
    return (identity + skew) @ torch.linalg.inv(identity - skew)


def _butterfly(turns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Turn blocks of rows that lie further and further apart.  turns: (m, n, b, b).   rows: (n b, c)."""
    size = turns.shape[-1]
    for level, turn in enumerate(turns):
        distance = 2**level * (size // 2)
        shuffled = rows.view(-1, 2, distance, rows.shape[-1]).transpose(1, 2).reshape(-1, size, rows.shape[-1])
        turned = torch.einsum("nij,njc->nic", turn, shuffled)
        rows = turned.reshape(-1, distance, 2, rows.shape[-1]).transpose(1, 2).reshape(rows.shape)
    return rows


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b, rounded to a's dtype only at the end."""
    return (a.float() @ b.float()).to(a.dtype)


def beside(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return tensor.to(device=weight.device, dtype=weight.dtype)


def _there(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Where the weight is, in the dtype of the file."""
    return tensor.to(device=weight.device, dtype=tensor.dtype if tensor.dtype in _WORKING else torch.float32)
