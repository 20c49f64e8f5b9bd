"""Grids: pictures in rows and columns, with legends above and beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from webui.core.images import fitting_scale, scaled
from webui.plugins.scripts.lettering import Lettering, TextBlock

BACKGROUND, ACTIVE, INACTIVE = "white", "black", "#999999"
# Of a cell's width plus height, as in A1111.
FONT_SHARE = 25
SMALLEST_LETTERS = 10
ROW_LEGEND_SHARE = 0.75


@dataclass(frozen=True)
class Label:
    """One line of a legend.  is_active: else it is struck out."""

    text: str
    is_active: bool = True


Legend = tuple[Label, ...]


@dataclass(frozen=True)
class Sheet:
    """What a grid shows.

    pictures: rows of as many columns each; None where there is none.   columns, rows: their legends, or none at all.
    margin: pixels between the pictures.
    """

    pictures: tuple[tuple[Image.Image | None, ...], ...]
    columns: tuple[Legend, ...] = ()
    rows: tuple[Legend, ...] = ()
    margin: int = 0

    @classmethod
    def of(
        cls,
        pictures: Iterable[Iterable[Image.Image | None]],
        *,
        columns: Iterable[Legend] = (),
        rows: Iterable[Legend] = (),
        margin: int = 0,
    ) -> Sheet:
        """From any sequences."""
        return cls(tuple(map(tuple, pictures)), tuple(columns), tuple(rows), margin)

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height in which every picture has room."""
        sizes = [picture.size for row in self.pictures for picture in row if picture]
        return max((width for width, _ in sizes), default=1), max((height for _, height in sizes), default=1)


def paste_grid(sheet: Sheet) -> Image.Image:
    """The grid as one RGB picture. Smaller pictures are centred in their cell; a missing one's is left empty."""
    width, height = sheet.cell
    count = len(sheet.pictures), max(map(len, sheet.pictures))
    size = max((width + height) // FONT_SHARE, SMALLEST_LETTERS)
    has_rows, has_columns = _has_text(sheet.rows), _has_text(sheet.columns)
    left = int(width * ROW_LEGEND_SHARE) if has_rows else 0
    columns = [_lettered(legend, width, size) for legend in sheet.columns] if has_columns else []
    rows = [_lettered(legend, left, size, most=height) for legend in sheet.rows] if has_rows else []
    top = max((block.height for block in columns), default=0) + (size if has_columns else 0)
    step = width + sheet.margin, height + sheet.margin
    grid = Image.new("RGB", (left + step[0] * count[1] - sheet.margin, top + step[1] * count[0] - sheet.margin), BACKGROUND)
    pen = ImageDraw.Draw(grid)
    for column, block in enumerate(columns):
        block.draw(pen, left + column * step[0] + width // 2, (top - block.height) // 2)
    for row, block in enumerate(rows):
        block.draw(pen, left // 2, top + row * step[1] + (height - block.height) // 2)
    for row, pictures in enumerate(sheet.pictures):
        for column, picture in enumerate(pictures):
            if picture:
                corner = (left + column * step[0] + (width - picture.width) // 2, top + row * step[1] + (height - picture.height) // 2)
                grid.paste(picture.convert("RGB"), corner)
    # Legends do not grow smaller with small cells, so that they may carry a grid beyond what was reckoned.
    return scaled(grid, fitting_scale(*grid.size))


def without_legend(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures one after another in so many columns."""
    rows = [list(pictures[first : first + columns]) for first in range(0, len(pictures), columns)]
    rows[-1] += [None] * (columns - len(rows[-1]))  # type: ignore[list-item]
    return paste_grid(Sheet.of(rows))


def _has_text(legends: Sequence[Legend]) -> bool:
    return any(label.text.strip() for legend in legends for label in legend)


def _lettered(legend: Legend, width: int, size: int, *, most: int | None = None) -> TextBlock:
    """most: pixels that it may be high; smaller letters are tried until it is."""
    lines = [(label.text, ACTIVE if label.is_active else INACTIVE, not label.is_active) for label in legend if label.text.strip()]
    for smaller in range(size, 5, -1):
        block = Lettering(smaller).block(lines, width)
        if most is None or block.height <= most:
            return block
    return Lettering(6).block(lines, width)
