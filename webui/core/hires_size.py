"""How large the second pass of a hires fix becomes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HiresSize:
    """Pixels.  width, height: what the first pass is upscaled to.   cut_x, cut_y: how much of that is cut off thereafter."""

    width: int
    height: int
    cut_x: int = 0
    cut_y: int = 0


def hires_size(width: int, height: int, *, scale: float, to_x: int, to_y: int) -> HiresSize:
    """By factor; or to a given side, keeping the shape; or to both sides, covering and then cutting.

    width, height: of the first pass.   scale: used while to_x and to_y, the wanted sides, are 0.
    """
    if not to_x and not to_y:
        return HiresSize(int(width * scale), int(height * scale))
    by_width = (to_x, to_x * height // width)
    by_height = (to_y * width // height, to_y)
    if not to_y:
        return HiresSize(*by_width)
    if not to_x:
        return HiresSize(*by_height)
    covering = by_width if width / height < to_x / to_y else by_height
    return HiresSize(*covering, covering[0] - to_x, covering[1] - to_y)
