"""Drawing a picture again from what it says of itself, and the verdict in words a person understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.app import App
from webui.core.errors import NotFound, WebuiError
from webui.core.verdict import Difference, Verdict
from webui.ui.generate import look

SOURCE = "verify"
# From about this many dB on hardly anybody sees a difference; below the other, everybody does.
UNSEEN, SLIGHT = 40.0, 30.0

_MEANINGS: Mapping[str, str] = {
    "Prompt": "Another prompt: a style, a comment or a wildcard was read differently.",
    "Negative prompt": "Another negative prompt: a style, a comment or a wildcard was read differently.",
    "Model": "Drawn with another checkpoint, because the picture's own is not here.",
    "Model hash": "Another checkpoint file: a picture can only be drawn again with the very same one.",
    "VAE": "Decoded by another VAE.",
    "VAE hash": "Decoded by another VAE file.",
    "Version": "Another program or version drew it; its arithmetic may differ a little.",
    "Device": "Another kind of device drew it; the last digits of its arithmetic differ.",
    "RNG": "The noise was drawn by another random number generator.",
    "Lora hashes": "Other LoRA files, or one of them is not here.",
    "TI hashes": "Other embedding files, or one of them is not here.",
    "Sampler": "This sampling method is not known here; another one was used.",
    "Schedule type": "This schedule type is not known here; another one was used.",
}
_NAMES: Mapping[str, str] = {"Size-1": "Width", "Size-2": "Height"}


def start(app: App, data: bytes) -> dict[str, Any]:
    """Queue the drawing.  job: its id, or error: why it cannot be drawn."""
    try:
        return {"job": app.verify(data, source=SOURCE).id}
    except WebuiError as error:
        return {"error": str(error)}


def progress(app: App, job_id: str, known: str | None) -> dict[str, Any]:
    """How far the drawing is, as a page shows any job; when it is finished, with the verdict.

    known: the id of the picture drawn again, if the page has it.
    """
    seen = look(app, job_id, known=[known] if known else [], preview_seen=None, watching=False)
    if seen["state"] != "finished":
        return seen
    try:
        verdict = app.verdict(job_id)
    except NotFound as error:
        return seen | {"state": "gone", "error": str(error)}
    except WebuiError as error:
        return seen | {"state": "failed", "error": str(error)}
    return seen | {"verdict": in_words(verdict)} if verdict else seen | {"state": "failed", "error": "No picture was drawn."}


def stop(app: App, job_id: str) -> None:
    """Cancel the drawing; one that has gone in the meantime needs nothing done."""
    try:
        app.queue.cancel(job_id)
    except NotFound:
        return


def in_words(verdict: Verdict) -> dict[str, Any]:
    """headline, what it means, the numbers in one line, and each differing field with then, now and what that does."""
    return {
        "identical": verdict.identical,
        "near": verdict.identical or (verdict.psnr is not None and verdict.psnr >= UNSEEN),
        "headline": _headline(verdict),
        "meaning": _meaning(verdict),
        "numbers": _numbers(verdict),
        "differences": [_difference(one) for one in verdict.differences],
    }


def _headline(verdict: Verdict) -> str:
    if verdict.identical:
        return "Identical"
    if verdict.psnr is None:
        return "Another size"
    if verdict.psnr >= UNSEEN:
        return "Almost identical"
    return "Slightly different" if verdict.psnr >= SLIGHT else "Different"


def _meaning(verdict: Verdict) -> str:
    if verdict.identical:
        return "Drawn again, every value of every pixel is the same."
    if verdict.psnr is None:
        return "The picture drawn again has another size, so they cannot be compared; this one may have been cropped or scaled."
    if verdict.differences:
        return "What it says of itself is not what was drawn now; that may be why:"
    if verdict.psnr >= UNSEEN:
        return "It says the same of itself, yet some values differ: another device or library, or a file format that loses a little."
    return "It says the same of itself, yet the picture differs: it was probably edited, or scaled, or saved with loss after it was made."


def _numbers(verdict: Verdict) -> str:
    if verdict.psnr is None:
        return ""
    share = verdict.share * 100
    few = "less than 0.01" if share < 0.01 else f"{share:.3g}"
    return f"PSNR {verdict.psnr:.1f} dB · largest difference {verdict.largest} of 255 · {few} % of the values differ"


def _difference(one: Difference) -> dict[str, str]:
    meaning = _MEANINGS.get(one.key, "") if one.then and one.now else "Only one of them says it."
    return {"key": _NAMES.get(one.key, one.key), "then": one.then, "now": one.now, "meaning": meaning}
