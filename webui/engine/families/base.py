"""What a model family is: how a checkpoint is read, and what its pictures are conditioned on. One file a family."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from webui.core.settings import Settings
from webui.engine.families.texts import TextShape
from webui.engine.families.unet import UNetShape
from webui.engine.loading import TensorFile
from webui.engine.text_encoders import TextReading

PictureNumbers = Callable[[tuple[int, int], Settings, bool], tuple[float, ...]]


@dataclass(frozen=True)
class TextPart:
    """One of a family's text encoders.  shape: its architecture in a file.   reading: what is taken of its answers."""

    shape: Callable[[TensorFile], TextShape]
    reading: TextReading


@dataclass(frozen=True)
class Family:
    """A kind of model.

    name: as told to people.   recognises: of the names in a checkpoint, whether it is of this family.
    unet: the architecture of a checkpoint's UNet.   texts: its text encoders, whose vectors are joined in this order.
    latent_scale: what latents are multiplied with, unless the file says otherwise.   asks_unet: whether the UNet is asked what
    it predicts when nothing in or beside the file says so.   taesd: file of its tiny decoder for previews.
    numbers: of (width, height), settings, and whether it is for the negative prompt: what the UNet is told of the picture beside the text's
    pooled vector; None for families that are told nothing.   zeroes_empty_negative: an empty negative prompt is no text at all, but zeros.
    """

    name: str
    recognises: Callable[[Collection[str]], bool]
    unet: Callable[[TensorFile], UNetShape]
    texts: tuple[TextPart, ...]
    latent_scale: float = 0.18215
    asks_unet: bool = False
    taesd: str = "taesd_decoder.safetensors"
    numbers: PictureNumbers | None = None
    zeroes_empty_negative: bool = False


def has_any(names: Collection[str], *prefixes: str) -> bool:
    """Whether some name begins with one of the prefixes."""
    return any(name.startswith(prefixes) for name in names)
