"""Pictures in words, by a captioner or a tagger: one at a time, loaded for one picture and let go.

They are asked seldom, and the memory is worth more to the models that draw.
"""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from PIL.Image import Image

from webui.core.interrogation import Tag, Tagger
from webui.core.setting_parts.interrogation import InterrogationSettings
from webui.engine.captions import caption
from webui.engine.tags import read_tags


class Interrogators:
    """Owner of the turn: whoever asks meanwhile waits, so that many at once do not fill the memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._turn = threading.Lock()

    def caption(self, picture: Image, folder: Path, settings: InterrogationSettings) -> str:
        """One sentence on a picture.  Raises ModelError."""
        with self._turn:
            return caption(picture, folder, self._device, settings)

    def tags(self, picture: Image, tagger: Tagger) -> tuple[Tag, ...]:
        """Every tag that the tagger knows, with its share.  Raises ModelError."""
        with self._turn:
            return read_tags(picture, tagger)
