"""What happens to a job, told in order. A job's log can be read by anybody any number of times, always from the start.

Engine events (Drawn, Annotated) carry pixels; the job room saves them and logs ImageReady and ControlReady in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL.Image import Image

from webui.core.extras import PictureRequest
from webui.core.result import GenerationResult, Picture


@dataclass(frozen=True)
class Queued:
    """The job waits.  ahead: how many jobs are before it."""

    ahead: int = 0


@dataclass(frozen=True)
class ModelLoading:
    """The engine is bringing a checkpoint into memory."""

    checkpoint: str


@dataclass(frozen=True)
class Progress:
    """How far the job is.

    batch: the batch being drawn, from 0; without batches, the picture.   step, steps: of that batch.   fraction: of the whole job, 0..1.
    eta: seconds still needed, as far as can be told.
    """

    batch: int
    batches: int
    step: int
    steps: int
    fraction: float
    eta: float


@dataclass(frozen=True)
class Preview:
    """A rough view of the unfinished pictures of the running batch."""

    image: Image
    step: int


@dataclass(frozen=True)
class Remark:
    """Something the user should know that does not stop the job."""

    text: str


@dataclass(frozen=True)
class Annotated:
    """What a ControlNet unit follows as pixels, from the engine.  unit: its number."""

    unit: int
    image: Image


@dataclass(frozen=True)
class ControlReady:
    """What a ControlNet unit follows.  unit: its number.   picture: by whose hash the stored pictures have it."""

    unit: int
    picture: str


@dataclass(frozen=True)
class Drawn:
    """One finished picture as pixels, from the engine.

    index: its place in the job.   request: what draws it alone, with its real seed.   used: infotext keys that only the
    engine knows (the step at which the picture was stopped, ...).
    """

    index: int
    image: Image
    request: PictureRequest
    used: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageReady:
    """One finished picture, on disk."""

    picture: Picture


@dataclass(frozen=True)
class Finished:
    """The job is done."""

    result: GenerationResult | None = None


@dataclass(frozen=True)
class Cancelled:
    """The job was ended by somebody; the result has the pictures drawn so far."""

    result: GenerationResult | None = None


@dataclass(frozen=True)
class Failed:
    """The job cannot be done.  message: for the user.   kind: the error's class name."""

    message: str
    kind: str = "WebuiError"


EngineEvent = ModelLoading | Progress | Preview | Remark | Annotated | Drawn | Finished | Cancelled | Failed
JobEvent = Queued | ModelLoading | Progress | Preview | Remark | ControlReady | ImageReady | Finished | Cancelled | Failed
TERMINAL = (Finished, Cancelled, Failed)
