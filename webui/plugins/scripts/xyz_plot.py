"""X/Y/Z plot: a picture for every combination of the values of up to three axes, and a grid of them with legends."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod, sqrt
from typing import Any

from PIL import Image

from webui.core.errors import InvalidRequest, NotFound
from webui.core.hires_size import hires_size
from webui.core.images import fitting_scale, scaled
from webui.core.infotext import with_pairs
from webui.core.parameters import parameter
from webui.core.request import SEED_LIMIT, GenerationRequest
from webui.core.scripts import (
    MAX_DRAWN,
    Desk,
    Draw,
    DrawFailed,
    DrawingEnded,
    Give,
    Keep,
    Plan,
    Script,
    ScriptArguments,
    Shot,
    Steps,
    Tell,
)
from webui.plugins.scripts.grids import Label, Legend, Sheet, paste_grid, without_legend
from webui.plugins.scripts.xyz_axes import SEEDS, Axis, Cell, all_axes, find_axis, label_by_number
from webui.plugins.scripts.xyz_values import join_list, split_list

NAMES = ("x", "y", "z")
NOTHING = "Nothing"
TYPE_HELP = "What differs along this axis."
VALUES_HELP = "Between commas; ranges: 1-10, 1-10 (+2), 1-10 [5]."
CHOICES_HELP = "In place of the values, where there is something to choose from."
VARY_HELP = "Each value of the axis has other seeds."


class XyzPlotArguments(ScriptArguments):
    """The axes, and what is made of the pictures."""

    x_type: str = parameter("Seed", title="X type", help=TYPE_HELP, max_length=200)
    x_values: str = parameter("", title="X values", help=VALUES_HELP, max_length=100_000)
    x_values_dropdown: tuple[str, ...] = parameter((), title="X choices", help=CHOICES_HELP)
    y_type: str = parameter(NOTHING, title="Y type", help=TYPE_HELP, max_length=200)
    y_values: str = parameter("", title="Y values", help=VALUES_HELP, max_length=100_000)
    y_values_dropdown: tuple[str, ...] = parameter((), title="Y choices", help=CHOICES_HELP)
    z_type: str = parameter(NOTHING, title="Z type", help=TYPE_HELP, max_length=200)
    z_values: str = parameter("", title="Z values", help=VALUES_HELP, max_length=100_000)
    z_values_dropdown: tuple[str, ...] = parameter((), title="Z choices", help=CHOICES_HELP)
    draw_legend: bool = parameter(True, title="Draw legend", help="Write the values beside the pictures.")
    include_lone_images: bool = parameter(
        False, title="Include Sub Images", help="Show every picture beside the grid; they are saved anyway."
    )
    include_sub_grids: bool = parameter(False, title="Include Sub Grids", help="Show the grid of each Z value too.")
    no_fixed_seeds: bool = parameter(False, title="Keep -1 for seeds", help="A random seed is another one in every cell.")
    vary_seeds_x: bool = parameter(False, title="Vary seeds for X", help=VARY_HELP)
    vary_seeds_y: bool = parameter(False, title="Vary seeds for Y", help=VARY_HELP)
    vary_seeds_z: bool = parameter(False, title="Vary seeds for Z", help=VARY_HELP)
    margin_size: int = parameter(0, title="Grid margins (px)", help="Between the pictures.", minimum=0, maximum=500, step=2)
    csv_mode: bool = parameter(False, title="Use text inputs instead of dropdowns", help="The choices are written as text.")


@dataclass(frozen=True)
class _Line:
    """One axis with its values.  name: "x", ...   text: the values as they were given."""

    name: str
    axis: Axis
    values: tuple[Any, ...]
    text: str

    @property
    def legends(self) -> tuple[Legend, ...]:
        return tuple((Label(self.axis.legend(value)),) for value in self.values)


@dataclass(frozen=True)
class _Layout:
    """All cells by their place in the grid, (ix, iy, iz).

    counts: pictures of each cell, in the order of the result.   scale: how much smaller the grid shows them.
    """

    lines: tuple[_Line, _Line, _Line]
    counts: Mapping[tuple[int, int, int], int]
    batches: int
    scale: float

    @property
    def sizes(self) -> tuple[int, int, int]:
        x, y, z = (len(line.values) for line in self.lines)
        return x, y, z


class XyzPlot(Script[XyzPlotArguments]):
    """X are the columns, Y the rows, Z a grid for each value."""

    title = "X/Y/Z plot"
    arguments = XyzPlotArguments

    def plan(self, request: GenerationRequest, arguments: XyzPlotArguments, desk: Desk) -> Plan:
        """All values are read and each is tried on the request before anything is drawn."""
        lines = _read_lines(request, arguments, desk)
        _check_count(lines)
        for line in lines:
            _check(line, request, desk)
        layout = _layout(request, arguments, lines)
        drawn = sum(layout.counts.values())
        sub_grids = layout.sizes[2] if arguments.include_sub_grids and layout.sizes[2] > 1 else 0
        cells = "x".join(str(size) for size in layout.sizes if size > 1) or "1"
        remark = f"The grid has {cells} cells."
        if layout.scale < 1:
            remark += f" It would be too large to open, so its pictures are made smaller in it, to {layout.scale:.0%}."
        return Plan(drawn, layout.batches, drawn if arguments.include_lone_images else 0, 1 + sub_grids, remark)

    def run(self, request: GenerationRequest, arguments: XyzPlotArguments, desk: Desk) -> Steps:
        """Cells are drawn so that what is costly to change changes least often; their places do not depend on that."""
        lines = _read_lines(request, arguments, desk)
        layout = _layout(request, arguments, lines)
        places = _places(layout.counts)
        keep: Keep = "shown" if arguments.include_lone_images else "saved"
        pictures: dict[tuple[int, int, int], Image.Image] = {}
        texts: dict[int, str] = {}

        def take(cell: tuple[int, int, int], shots: Sequence[Shot]) -> None:
            if shots:
                pictures[cell] = scaled(_together([shot.image for shot in shots]), layout.scale)
                texts[places[cell]] = shots[0].infotext

        for cell in _order(layout):
            try:
                step = _draw(request, arguments, lines, cell)
                shots = yield Draw(step.request, step.settings, step.styles, keep, places[cell] if keep == "shown" else None)
            except DrawingEnded as ended:
                take(cell, ended.shots)
                break
            except (DrawFailed, InvalidRequest) as error:
                yield Tell(f"The cell {_told(lines, cell)} was left empty: {error}")
                continue
            take(cell, shots)
        if pictures:
            infotext = with_pairs(texts[min(texts)], _pairs(self.title, arguments, lines))
            for grid in _grids(pictures, layout, arguments):
                yield Give(grid, infotext, is_grid=True)

    def choices(self, name: str, values: Mapping[str, Any], desk: Desk) -> tuple[str, ...] | None:
        """The axes; and what an axis offers."""
        needs_picture = bool(values.get("needs_picture"))
        if name.endswith("_type"):
            return tuple(axis.label for axis in all_axes(needs_picture=needs_picture))
        if not name.endswith("_values_dropdown"):
            return None
        try:
            axis = find_axis(str(values.get(f"{name[0]}_type") or NOTHING), needs_picture=needs_picture)
        except InvalidRequest:
            return ()
        return axis.choices(desk) if axis.choices else ()

    def read_positions(self, values: Sequence[Any], *, needs_picture: bool) -> dict[str, Any]:
        """Axes may be given by A1111's numbers."""
        named = super().read_positions(values, needs_picture=needs_picture)
        for name in ("x_type", "y_type", "z_type"):
            if isinstance(named.get(name), int):
                named[name] = label_by_number(named[name], needs_picture=needs_picture)
        return named


def _read_lines(request: GenerationRequest, arguments: XyzPlotArguments, desk: Desk) -> tuple[_Line, _Line, _Line]:
    x, y, z = (_read_line(name, request, arguments, desk) for name in NAMES)
    return x, y, z


def _read_line(name: str, request: GenerationRequest, arguments: XyzPlotArguments, desk: Desk) -> _Line:
    axis = find_axis(getattr(arguments, f"{name}_type"), needs_picture=bool(request.init_images))
    written, chosen = getattr(arguments, f"{name}_values"), getattr(arguments, f"{name}_values_dropdown")
    takes_choices = axis.choices is not None and chosen and not arguments.csv_mode
    try:
        texts = chosen if takes_choices else split_list(written)
        if not texts and axis.label != NOTHING:
            raise InvalidRequest(f"got no values for {axis.label!r}; write some, or choose the type {NOTHING!r}.")
        values = axis.read(texts, request, desk)
    except (InvalidRequest, NotFound) as error:
        raise InvalidRequest(f"{name.upper()} values: {error}") from None
    if axis.label in SEEDS and not arguments.no_fixed_seeds:
        values = tuple(_real_seed(value, f"{request.seed} {name} {place}") for place, value in enumerate(values))
    return _Line(name, axis, values, join_list(texts) if takes_choices else written)


def _real_seed(value: int, place: str) -> int:
    """A random seed is drawn once for the axis, and the same again after a restart."""
    return random.Random(place).randrange(SEED_LIMIT) if value == -1 else value


def _check(line: _Line, request: GenerationRequest, desk: Desk) -> None:
    """Raises InvalidRequest for a value that the request or the settings cannot have."""
    for value in line.values:
        cell = line.axis.apply(Cell(), value, line.values, request)
        try:
            request.changed(**cell.request)
            desk.settings.changed(cell.settings)
        except InvalidRequest as error:
            raise InvalidRequest(f"{line.name.upper()} values: {error}") from None


def _check_count(lines: Sequence[_Line]) -> None:
    sizes = [len(line.values) for line in lines]
    if prod(sizes) > MAX_DRAWN:
        cells = " x ".join(map(str, sizes))
        raise InvalidRequest(f"This plot has {cells} = {prod(sizes)} cells; at most {MAX_DRAWN} are drawn. Give fewer values.")


def _layout(request: GenerationRequest, arguments: XyzPlotArguments, lines: tuple[_Line, _Line, _Line]) -> _Layout:
    sizes = [len(line.values) for line in lines]
    counts: dict[tuple[int, int, int], int] = {}
    batches, widest, highest = 0, 1, 1
    for iz, iy, ix in product(range(sizes[2]), range(sizes[1]), range(sizes[0])):
        asked = {**_shape_of(request), **_cell(request, lines, (ix, iy, iz)).request}
        count = int(asked["batch_count"]) * int(asked["batch_size"])
        counts[ix, iy, iz] = count
        batches += int(asked["batch_count"])
        width, height = _size(asked)
        columns = ceil(sqrt(count))
        widest, highest = max(widest, width * columns), max(highest, height * ceil(count / columns))
    # With room for the legends.
    scale = fitting_scale(ceil(widest * (sizes[0] + 0.8) * sizes[2]), ceil(highest * (sizes[1] + 0.5)))
    return _Layout(lines, counts, batches, scale)


def _shape_of(request: GenerationRequest) -> dict[str, Any]:
    names = ("batch_count", "batch_size", "width", "height", "enable_hr", "hr_scale", "hr_resize_x", "hr_resize_y")
    return {name: getattr(request, name) for name in names}


def _size(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels of a cell's picture."""
    width, height = int(asked["width"]), int(asked["height"])
    if not asked["enable_hr"]:
        return width, height
    size = hires_size(width, height, scale=asked["hr_scale"], to_x=asked["hr_resize_x"], to_y=asked["hr_resize_y"])
    return size.width, size.height


def _cell(request: GenerationRequest, lines: Sequence[_Line], place: tuple[int, int, int]) -> Cell:
    cell = Cell()
    for line, index in zip(lines, place, strict=True):
        cell = line.axis.apply(cell, line.values[index], line.values, request)
    return cell


def _draw(request: GenerationRequest, arguments: XyzPlotArguments, lines: tuple[_Line, _Line, _Line], place: tuple[int, int, int]) -> Draw:
    cell = _cell(request, lines, place)
    changed = request.changed(**cell.request)
    seeds_given = {line.axis.label for line in lines} & SEEDS
    if arguments.no_fixed_seeds and request.script_random_seed and "Seed" not in seeds_given:
        changed = changed.changed(seed=-1)
    if changed.seed != -1:
        changed = changed.changed(seed=(changed.seed + _seed_offset(arguments, lines, place)) % 2**63)
    return Draw(changed, cell.settings, cell.styles)


def _seed_offset(arguments: XyzPlotArguments, lines: Sequence[_Line], place: tuple[int, int, int]) -> int:
    """Axes that vary the seeds count through them together, X quickest."""
    offset, step = 0, 1
    for varies, line, index in zip((arguments.vary_seeds_x, arguments.vary_seeds_y, arguments.vary_seeds_z), lines, place, strict=True):
        if varies:
            offset += index * step
            step *= len(line.values)
    return offset


def _order(layout: _Layout) -> list[tuple[int, int, int]]:
    """All cells, the most costly axis changing least often; of equal ones Z, then Y."""
    by_cost = sorted((2, 1, 0), key=lambda number: -layout.lines[number].axis.cost)
    cells = []
    for indices in product(*(range(layout.sizes[number]) for number in by_cost)):
        found = dict(zip(by_cost, indices, strict=True))
        cells.append((found[0], found[1], found[2]))
    return cells


def _places(counts: Mapping[tuple[int, int, int], int]) -> dict[tuple[int, int, int], int]:
    """Where each cell's pictures begin in the result."""
    places, place = {}, 0
    for cell, count in counts.items():
        places[cell] = place
        place += count
    return places


def _together(images: Sequence[Image.Image]) -> Image.Image:
    return images[0] if len(images) == 1 else without_legend(images, ceil(sqrt(len(images))))


def _grids(pictures: Mapping[tuple[int, int, int], Image.Image], layout: _Layout, arguments: XyzPlotArguments) -> list[Image.Image]:
    """The whole grid, and those of the Z values if they are wanted."""
    x, y, z = layout.lines
    legends = (x.legends, y.legends, z.legends) if arguments.draw_legend else ((), (), ())
    subs = [
        paste_grid(
            Sheet.of(
                [[pictures.get((ix, iy, iz)) for ix in range(layout.sizes[0])] for iy in range(layout.sizes[1])],
                columns=legends[0], rows=legends[1], margin=arguments.margin_size,
            )
        )
        for iz in range(layout.sizes[2])
    ]  # fmt: skip
    if len(subs) == 1:
        return subs
    whole = paste_grid(Sheet.of([subs], columns=legends[2], margin=arguments.margin_size))
    return [whole, *subs] if arguments.include_sub_grids else [whole]


def _pairs(title: str, arguments: XyzPlotArguments, lines: Sequence[_Line]) -> dict[str, str]:
    """What A1111 writes into a grid's infotext."""
    pairs = {"Script": title}
    for line in lines:
        if line.axis.label != NOTHING:
            name = line.name.upper()
            pairs |= {f"{name} Type": line.axis.label, f"{name} Values": line.text}
            if line.axis.label in SEEDS and not arguments.no_fixed_seeds:
                pairs[f"Fixed {name} Values"] = ", ".join(map(str, line.values))
    return pairs


def _told(lines: Sequence[_Line], place: tuple[int, int, int]) -> str:
    labels = [line.axis.legend(line.values[index]) for line, index in zip(lines, place, strict=True) if line.axis.label != NOTHING]
    return " / ".join(labels)[:300]
