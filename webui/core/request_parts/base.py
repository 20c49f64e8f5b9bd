"""What all parts of a request have in common."""

from __future__ import annotations

import re

from webui.core.errors import InvalidRequest
from webui.core.parameters import Declared

LARGEST_SIDE = 8192


class RequestPart(Declared):
    """Some of a request's parameters: those of one feature, with the rules among them. GenerationRequest is made of all parts."""


def check_picture_hashes(field: str, *names: str) -> None:
    """Pictures are named by the hash that storing them gives.  Raises InvalidRequest."""
    for name in names:
        if name and not re.fullmatch("[0-9a-f]{64}", name):
            raise InvalidRequest(f"{field}: got {name[:80]!r}; a picture is named by its hash, which storing it gives.")
