"""The step "Auto-sized crop" of the Extras tab: pictures of many shapes brought to sizes that a model can be trained on.

Parameters, their ranges and the choice of the size are A1111's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image, ImageOps

from webui.core.extension_points import NewPostprocessor
from webui.core.parameters import parameter
from webui.plugins.hookspecs import hookimpl

OBJECTIVES = ("Maximize area", "Minimize error")
GRID = 64


@hookimpl
def register_postprocessors() -> list[NewPostprocessor]:
    """A1111's place for it: behind enlarging and mending."""
    controls = {
        "mindim": _side(384, "Dimension lower bound", "Pixels; no side of the result is shorter."),
        "maxdim": _side(768, "Dimension upper bound", "Pixels; no side of the result is longer."),
        "minarea": _area(64 * 64, "Area lower bound", "Pixels of the result, at least."),
        "maxarea": _area(640 * 640, "Area upper bound", "Pixels of the result, at most."),
        "objective": parameter(
            "Maximize area", title="Resizing objective", help="What matters first, of the sizes that are allowed.", choices=OBJECTIVES
        ),
        "threshold": parameter(
            0.1, title="Error threshold", help="How much of the shape may be lost, 0 to 1.", minimum=0.0, maximum=1.0, step=0.01
        ),
    }
    return [NewPostprocessor("Auto-sized crop", crop, controls, order=4020)]


def crop(
    image: Image.Image,
    name: str,
    mindim: int,
    maxdim: int,
    minarea: int,
    maxarea: int,
    objective: str,
    threshold: float,
    tell: Callable[[str], None],
) -> Image.Image | None:
    """The middle of the picture at the best of the allowed sizes; where none is allowed, the picture as it is, and the user is told."""
    sides = range(mindim, maxdim + 1, GRID)
    sizes = [(width, height) for width in sides for height in sides if minarea <= width * height <= maxarea]
    fitting = [size for size in sizes if error(image.size, size) <= threshold]
    if not fitting:
        tell(f"{name or 'A picture'} of {image.width}x{image.height} fits none of the {len(sizes)} sizes of the crop, and stays as it is.")
        return None

    def merits(size: tuple[int, int]) -> tuple[float, float]:
        both = size[0] * size[1], -error(image.size, size)
        return both if objective == OBJECTIVES[0] else (both[1], both[0])

    return ImageOps.fit(image, max(fitting, key=merits), Image.Resampling.LANCZOS)


def _side(default: int, title: str, help: str) -> Any:
    return parameter(default, title=title, help=help, minimum=64, maximum=2048, step=8)


def _area(default: int, title: str, help: str) -> Any:
    return parameter(default, title=title, help=help, minimum=64 * 64, maximum=2048 * 2048, step=1)


def error(size: tuple[int, int], wanted: tuple[int, int]) -> float:
    """How much of a picture of this size is cut off for one of the wanted shape, 0..1."""
    ratio = size[0] * wanted[1] / (size[1] * wanted[0])
    return 1 - min(ratio, 1 / ratio)
