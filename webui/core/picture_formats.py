"""The formats that pictures are saved in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# By the ending of a file's name, without its dot: Pillow's word for the format.
SAVED_AS: Mapping[str, str] = MappingProxyType({"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"})
# The longest side that a format can say.
MAX_SIDE: Mapping[str, int] = MappingProxyType({"JPEG": 65535, "WEBP": 16383, "AVIF": 65535})
