"""Cutting a picture into overlapping tiles and joining them again without a seam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tiling:
    """Where the tiles of one size lie on a picture. The first and the last touch its edges; between them the distances are equal.

    width, height: of the tiles.   columns, rows: their left and upper edges, pixels.
    """

    width: int
    height: int
    columns: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, size: tuple[int, int], tile: tuple[int, int], overlap: int) -> Tiling:
        """size: of the picture, at least that of a tile.   overlap: pixels that neighbours share at least; less than a tile has."""
        return cls(*tile, _edges(size[0], tile[0], overlap), _edges(size[1], tile[1], overlap))

    def __len__(self) -> int:
        return len(self.columns) * len(self.rows)

    def boxes(self) -> Iterator[Box]:
        """Row by row."""
        for y in self.rows:
            for x in self.columns:
                yield x, y, x + self.width, y + self.height

    def join(self, tiles: Sequence[Image.Image]) -> Image.Image:
        """One RGB picture of all tiles, row by row. Where neighbours overlap, one fades into the other."""
        rows = []
        for first in range(0, len(self), len(self.columns)):
            pictures = [tile.convert("RGB") for tile in tiles[first : first + len(self.columns)]]
            rows.append(_faded(pictures, self.columns, across=True))
        return _faded(rows, self.rows, across=False)


def _edges(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    count = max(ceil((length - overlap) / (tile - overlap)), 1)
    return tuple((length - tile) * place // (count - 1) for place in range(count)) if count > 1 else (0,)


def _faded(pictures: Sequence[Image.Image], edges: Sequence[int], *, across: bool) -> Image.Image:
    """Pictures one beside the other, or below."""
    length = pictures[0].width if across else pictures[0].height
    other = pictures[0].height if across else pictures[0].width
    total = edges[-1] + length
    whole = Image.new("RGB", (total, other) if across else (other, total))
    whole.paste(pictures[0], (0, 0))
    for (before, edge), picture in zip(pairwise(edges), pictures[1:], strict=True):
        shared = before + length - edge
        ramp = np.ones(length, dtype=np.float64)
        ramp[:shared] = (np.arange(shared) + 0.5) / max(shared, 1)
        levels = np.round(ramp * 255).astype(np.uint8)
        mask = np.broadcast_to(levels if across else levels[:, None], (other, length) if across else (length, other))
        whole.paste(picture, (edge, 0) if across else (0, edge), Image.fromarray(np.ascontiguousarray(mask)))
    return whole
