"""From a click to a job, and from a job to what its page shows. Knows no component."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from PIL.Image import Image

from webui.app import App, Job
from webui.core.errors import NotFound, WebuiError
from webui.core.events import Failed, ModelLoading, Preview, Progress, Remark
from webui.core.result import Picture
from webui.ui.form import Wish

PREVIEW_SIDE = 640
LOSSLESS_PIXELS = 128 * 128

Followed = dict[str, Any]
"""What a results panel follows: {"job": id or None, "message": text or None, "at": time, so that equal messages differ}."""


def followed(job_id: str | None, message: str | None = None) -> Followed:
    """The value that makes a results panel follow a job, and show a message if there is one."""
    return {"job": job_id, "message": message, "at": time.time()}


def submit(app: App, read: Callable[[], Wish], current: Followed | None) -> Followed:
    """Queue what `read` gives and follow it. What cannot be is told in the panel, which keeps following what it did."""
    try:
        wish = read()
        return followed(app.submit(wish.request, overrides=wish.overrides, styles=wish.styles, source="ui").id)
    except WebuiError as error:
        return followed((current or {}).get("job"), str(error))


def act(action: Callable[[str], None], current: Followed | None) -> None:
    """Do something to the followed job; a job that has gone in the meantime needs nothing done."""
    job_id = (current or {}).get("job")
    try:
        if job_id:
            action(job_id)
    except NotFound:
        return


def job_to_show(app: App, preferred: str | None) -> str | None:
    """The job that a page shows when it opens.

    preferred: what this browser followed before; it is kept while it has not ended. Otherwise the newest job that is being
    drawn, else the newest that waits, else the one that ended last. Only jobs asked for in a browser: an API client's are its own.
    """
    jobs = [job for job in app.queue.jobs() if job.source == "ui"]
    for job in jobs:
        if job.id == preferred and job.state in ("queued", "running"):
            return job.id
    for state in ("running", "queued"):
        active = [job for job in jobs if job.state == state]
        if active:
            return max(active, key=lambda job: job.created_at).id
    return jobs[0].id if jobs else None


def look(app: App, job_id: str, *, known: Collection[str], preview_seen: str | None, watching: bool) -> dict[str, Any]:
    """A job as a page shows it now, less what that page already has.

    known: ids of the pictures it has.   preview_seen: the key of the preview it has.   watching: somebody sees the page.
    """
    try:
        job = app.queue.job(job_id)
    except NotFound:
        return {"job": job_id, "state": "gone"}
    if watching and job.state == "running":
        app.engine.want_preview(job.id)
    pictures = job.result.pictures if job.result else ()
    failure = job.log.latest(Failed)
    return {
        "job": job.id,
        "state": job.state,
        "error": failure.message if failure else None,
        "prompt": job.request.prompt,
        "expected": job.request.images,
        "seconds": round(job.result.seconds, 1) if job.result else 0.0,
        "remarks": _remarks(job),
        "order": [picture.id for picture in pictures],
        "pictures": [_describe(app, picture) for picture in pictures if picture.id not in known],
        **_progress(app, job),
        **(_preview(job, preview_seen) if job.state == "running" else {}),
    }


def _remarks(job: Job) -> list[str]:
    if job.result and job.result.remarks:
        return list(job.result.remarks)
    return [remark.text for remark in job.log.all(Remark)]


def _progress(app: App, job: Job) -> dict[str, Any]:
    if job.state == "queued":
        active = [other.id for other in app.queue.jobs() if other.state in ("running", "queued")]
        return {"ahead": active.index(job.id) if job.id in active else 0, "paused": app.queue.paused}
    progress = job.log.latest(Progress)
    if progress is None:
        loading = job.log.latest(ModelLoading)
        return {"loading": loading.checkpoint} if loading else {"warming": not app.engine_ready}
    return {
        "fraction": progress.fraction,
        "step": progress.step,
        "steps": progress.steps,
        "batch": progress.batch + 1,
        "batches": progress.batches,
        "eta": progress.eta,
    }


def _preview(job: Job, seen: str | None) -> dict[str, str]:
    preview = job.log.latest(Preview)
    if preview is None:
        return {}
    progress = job.log.latest(Progress)
    key = f"{progress.batch if progress else 0}-{preview.step}"
    return {"preview_key": key} if key == seen else {"preview_key": key, "preview": data_url(preview.image)}


def _describe(app: App, picture: Picture) -> Mapping[str, Any]:
    return {
        "id": picture.id,
        "path": f"pictures/{picture.id}",
        "name": picture.path.name,
        "infotext": picture.infotext,
        "seed": str(picture.request.seed),
        "subseed": str(picture.request.subseed),
        "width": picture.request.width,
        "height": picture.request.height,
        "place": shown_place(app, picture) if picture.saved else None,
    }


def shown_place(app: App, picture: Picture) -> str:
    """Where a picture lies, without telling a browser the machine's folders above the program's own."""
    root = app.paths.outputs
    return f"{root.name}/{picture.path.relative_to(root).as_posix()}" if picture.path.is_relative_to(root) else picture.path.name


def data_url(image: Image) -> str:
    """A picture as text, for a view that is replaced within the second and must leave no file behind."""
    small = image.convert("RGB")
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    kind = "png" if small.width * small.height <= LOSSLESS_PIXELS else "jpeg"
    buffer = io.BytesIO()
    small.save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
