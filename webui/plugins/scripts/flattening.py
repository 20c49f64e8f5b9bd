"""Laying a colour under what is transparent."""

from __future__ import annotations

from PIL import Image


def flat(image: Image.Image, background: str) -> Image.Image:
    """The picture as RGB.  background: "#rrggbb"."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, background)
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")
