"""What a job gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from webui.core.request import GenerationRequest


@dataclass(frozen=True)
class Picture:
    """One finished picture on disk.

    id: unguessable; the only name by which the outside may ask for it.   index: its place in the job, from 0.
    request: exactly what draws this picture again, alone.   saved: False for pictures kept only to be fetched.
    """

    id: str
    job_id: str
    index: int
    path: Path
    request: GenerationRequest
    infotext: str
    saved: bool


@dataclass(frozen=True)
class GenerationResult:
    """A job's outcome: the pictures it has drawn, in order, and remarks for the user (a LoRA not found, ...)."""

    request: GenerationRequest
    pictures: tuple[Picture, ...]
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
