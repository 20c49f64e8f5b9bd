"""Making a picture larger before a script draws on it."""

from __future__ import annotations

from PIL import Image

# As A1111's list begins. Upscaler models are added here and in `enlarged`, once scripts may ask the engine for them.
UPSCALERS = ("None", "Lanczos", "Nearest")


def enlarged(image: Image.Image, factor: float, upscaler: str) -> Image.Image:
    """The picture `factor` times as wide and high; itself with "None"."""
    if upscaler == "None":
        return image
    method = Image.Resampling.NEAREST if upscaler == "Nearest" else Image.Resampling.LANCZOS
    return image.resize(enlarged_size(image.size, factor, upscaler), method)


def enlarged_size(size: tuple[int, int], factor: float, upscaler: str) -> tuple[int, int]:
    """How large it becomes, pixels."""
    return size if upscaler == "None" else (int(size[0] * factor), int(size[1] * factor))
