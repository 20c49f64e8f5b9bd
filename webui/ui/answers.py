"""What the page's scripts get from the server: an answer, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webui.core.errors import WebuiError


def answered(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the page gets: an answer, or the reason why there is none."""
    try:
        return work()
    except WebuiError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"A file cannot be read or written: {error.strerror or error}."}
