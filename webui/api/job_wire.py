"""Our own jobs on the wire: what a client sends and hears. Shapes and how they are filled; no routes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from webui.app import Job
from webui.core.events import (
    Cancelled,
    ControlReady,
    Failed,
    Finished,
    ImageReady,
    JobEvent,
    ModelLoading,
    Preview,
    Progress,
    Queued,
    Remark,
)
from webui.core.extras import ExtrasRequest
from webui.core.model_jobs import DownloadRequest, MergeRequest
from webui.core.request import GenerationRequest
from webui.core.result import Picture

PREVIEW_QUALITY = 75
State = Literal["queued", "running", "finished", "cancelled", "failed"]


Kind = Literal["generation", "extras", "merge", "download"]


def _kind_of(value: Any) -> str:
    """A request that is none for drawing says so."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if kind in ("extras", "merge", "download") else "generation"


# What may be submitted as such a job; jobs on model files have routes of their own.
Submitted = Annotated[
    Annotated[GenerationRequest, Tag("generation")] | Annotated[ExtrasRequest, Tag("extras")],
    Discriminator(_kind_of),
]
AnyRequest = Annotated[
    Annotated[GenerationRequest, Tag("generation")]
    | Annotated[ExtrasRequest, Tag("extras")]
    | Annotated[MergeRequest, Tag("merge")]
    | Annotated[DownloadRequest, Tag("download")],
    Discriminator(_kind_of),
]


class JobWish(BaseModel):
    """A job to queue.

    request: docs/parameters.md has its names; pictures in it are hashes that POST /api/v1/inputs gives.
    overrides: settings for this job alone.   styles: names of stored styles.   save: null for as the settings say.
    on_disconnect: what happens to the job when the last reader of its events goes away before it has ended.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    request: Submitted
    overrides: dict[str, Any] = Field(default_factory=dict)
    styles: list[str] = Field(default_factory=list, max_length=100)
    save: bool | None = None
    on_disconnect: Literal["leave", "cancel"] = "leave"


class PictureWish(BaseModel):
    """A picture to start from.  image: base64 of a picture file, or a data URL."""

    image: str = Field(min_length=1)


class StoredPicture(BaseModel):
    """A picture that requests can name.  hash: by this.   width, height: pixels."""

    hash: str
    width: int
    height: int
    url: str


class MoveWish(BaseModel):
    """Another place in the queue.  position: 0 is the next to run."""

    position: int = Field(ge=0, le=1_000_000)


class PictureView(BaseModel):
    """A picture of a job.  index: from 0; grids are at -1, -2, ...   saved: kept in outputs/."""

    id: str
    url: str
    index: int
    seed: int | None
    width: int | None
    height: int | None
    infotext: str
    saved: bool


class ProgressView(BaseModel):
    """How far a job is.  fraction: 0..1 of all.   eta: seconds.   batch: from 0.   step: of the batch."""

    fraction: float
    eta: float
    batch: int
    batches: int
    step: int
    steps: int


class FailureView(BaseModel):
    """Why a job failed.  kind: the error's class name."""

    kind: str
    message: str


class JobView(BaseModel):
    """A job as it is now.  position: its place among the queued, 0 being the next.   *_at: seconds since the epoch."""

    id: str
    kind: Kind
    state: State
    source: str
    save: bool
    created_at: float
    started_at: float | None
    position: int | None
    expected: int
    progress: ProgressView | None
    pictures: list[PictureView]
    remarks: list[str]
    error: FailureView | None
    url: str
    events_url: str


class JobDetail(JobView):
    """A job with what it was asked for, its seed drawn and its models found."""

    request: AnyRequest


class JobPage(BaseModel):
    """Some of the jobs: running, then queued in order, then ended with the newest first.  total: of all that match."""

    total: int
    offset: int
    jobs: list[JobView]


class QueueView(BaseModel):
    """The queue.  paused: no job starts.   limit: how many may wait."""

    paused: bool
    running: int
    queued: int
    limit: int


def view_job(job: Job, root: str, *, position: int | None = None) -> JobView:
    """root: the path under which a proxy serves us, "" for none."""
    return JobView(**_facts(job, root, position))


def detail_job(job: Job, root: str, *, position: int | None = None) -> JobDetail:
    """As view_job."""
    return JobDetail(**_facts(job, root, position), request=job.request)


def positions(jobs: Sequence[Job]) -> dict[str, int]:
    """The places of the queued ones by their ids.  jobs: as the queue lists them."""
    return {name: place for place, name in enumerate(job.id for job in jobs if job.state == "queued")}


def view_picture(picture: Picture, root: str) -> PictureView:
    """How a client may fetch it."""
    request = picture.request
    drawn = request if isinstance(request, GenerationRequest) else None
    return PictureView(
        id=picture.id,
        url=f"{root}/pictures/{picture.id}",
        index=picture.index,
        seed=drawn.seed if drawn else None,
        width=drawn.width if drawn else None,
        height=drawn.height if drawn else None,
        infotext=picture.infotext,
        saved=picture.saved,
    )


def write_event(event: JobEvent, job: Job, root: str) -> tuple[str, dict[str, Any]]:
    """Name and content of a server-sent event."""
    match event:
        case Queued(ahead):
            return "queued", {"ahead": ahead}
        case ModelLoading(checkpoint):
            return "loading", {"checkpoint": checkpoint}
        case Progress():
            return "progress", _progress(event).model_dump()
        case Preview(image, step):
            return "preview", {"step": step, "image": _data_url(image)}
        case Remark(text):
            return "remark", {"text": text}
        case ControlReady(unit, picture):
            return "control", {"unit": unit, "url": f"{root}/inputs/{picture}"}
        case ImageReady(picture):
            return "picture", view_picture(picture, root).model_dump()
        case Failed(message, kind):
            return "failed", {"message": message, "kind": kind}
        case Cancelled() | Finished():
            return ("finished" if isinstance(event, Finished) else "cancelled"), detail_job(job, root).model_dump(mode="json")


def _facts(job: Job, root: str, position: int | None) -> dict[str, Any]:
    progress, failed = job.log.latest(Progress), job.log.latest(Failed)
    return {
        "id": job.id,
        "kind": _kind_of(job.request),
        "state": job.state,
        "source": job.source,
        "save": job.save,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "position": position,
        "expected": job.expected,
        "progress": _progress(progress) if progress and job.state == "running" else None,
        "pictures": [view_picture(picture, root) for picture in job.pictures],
        "remarks": list(dict.fromkeys(remark.text for remark in job.log.all(Remark))),
        "error": FailureView(kind=failed.kind, message=failed.message) if failed else None,
        "url": f"{root}/api/v1/jobs/{job.id}",
        "events_url": f"{root}/api/v1/jobs/{job.id}/events",
    }


def _progress(progress: Progress) -> ProgressView:
    return ProgressView(
        fraction=progress.fraction,
        eta=progress.eta,
        batch=progress.batch,
        batches=progress.batches,
        step=progress.step,
        steps=progress.steps,
    )


def _data_url(image: Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=PREVIEW_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
