"""What a job gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from webui.core.extras import JobRequest, PictureRequest

# Where pictures stand that extensions add when a job is drawn: behind all that it draws.
ADDED = 500_000
NOT_SHOWN = 1_000_000


@dataclass(frozen=True)
class Picture:
    """One finished picture on disk.

    id: unguessable; the only name by which the outside may ask for it.
    index: its place in the job, from 0. Grids come before, at -1, -2, ...; what extensions add stands from ADDED on, what is not shown
    from NOT_SHOWN on, a grid from -NOT_SHOWN down.
    request: exactly what makes this picture again, alone.   saved: False for pictures kept only to be fetched.
    """

    id: str
    job_id: str
    index: int
    path: Path
    request: PictureRequest
    infotext: str
    saved: bool

    @property
    def is_grid(self) -> bool:
        """Whether it shows other pictures of the job."""
        return self.index < 0


@dataclass(frozen=True)
class GenerationResult:
    """A job's outcome: the pictures it has drawn, in order, and remarks for the user (a LoRA not found, ...)."""

    request: JobRequest
    pictures: tuple[Picture, ...]
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
