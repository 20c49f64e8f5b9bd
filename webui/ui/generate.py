"""From a click to a job, and from a job to what its page shows. Knows no component."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from PIL.Image import Image

from webui.app import App, Job
from webui.core.errors import InvalidRequest, NotFound, WebuiError
from webui.core.events import Failed, ModelLoading, Preview, Progress, Remark
from webui.core.extras import ExtrasRequest, as_drawing
from webui.core.metadata import read as read_metadata
from webui.core.request import GenerationRequest
from webui.core.result import Picture
from webui.ui.fields import shown
from webui.ui.form import Wish

PREVIEW_SIDE = 640
# How far a varied picture's noise goes towards another one.
VARIED = 0.15
LOSSLESS_PIXELS = 128 * 128
# The size follows from the picture itself.
SENT_ALONG = ("prompt", "negative_prompt", "steps", "cfg_scale", "seed")

FIRST_TAB = "txt2img"

Followed = dict[str, Any]
"""What a results panel follows.  job: its id or None.   jobs: ids of all, where it follows several.   message: text or None.
at: time, so that equal messages differ."""


def source_of(tab: str) -> str:
    """What a job from that tab says of where it comes from."""
    return "ui" if tab == FIRST_TAB else f"ui {tab}"


def followed(job_id: str | None, message: str | None = None, jobs: Sequence[str] = ()) -> Followed:
    """The value that makes a results panel follow a job or several, and show a message if there is one."""
    return {"job": job_id, "jobs": list(jobs), "message": message, "at": time.time()}


def jobs_of(current: Followed | None) -> list[str]:
    """The ids of all jobs that a panel follows."""
    job_id, several = (current or {}).get("job"), (current or {}).get("jobs")
    return [str(one) for one in several] if isinstance(several, list) and several else [str(job_id)] if job_id else []


def submit(app: App, read: Callable[[], Wish], current: Followed | None, *, tab: str = FIRST_TAB) -> Followed:
    """Queue what `read` gives and follow it. What cannot be is told in the panel, which keeps following what it did."""
    return submit_all(app, lambda: ([read()], ()), current, tab=tab)


def submit_all(
    app: App, read: Callable[[], tuple[Sequence[Wish], Sequence[str]]], current: Followed | None, *, tab: str = FIRST_TAB
) -> Followed:
    """Queue a job for each wish that `read` gives, and follow them together; with the wishes come remarks for the user.

    When the queue is full, the jobs that it took go on, and the panel says so.
    """
    jobs: list[str] = []
    try:
        wishes, remarks = read()
        for wish in wishes:  # one by one, so that an error loses none of those before it
            job = app.submit(wish.request.changed(make_grid=True), overrides=wish.overrides, styles=wish.styles, source=source_of(tab))
            jobs.append(job.id)
    except WebuiError as error:
        if not jobs:
            return followed((current or {}).get("job"), str(error), (current or {}).get("jobs") or ())
        remarks = [f"{len(jobs)} of {len(wishes)} pictures are queued. {error}"]
    return followed(jobs[0], " ".join(remarks) or None, jobs if len(jobs) > 1 else ())


def act(action: Callable[[str], None], current: Followed | None) -> None:
    """Do something to the followed jobs; a job that has gone in the meantime needs nothing done."""
    for job_id in reversed(jobs_of(current)):
        with suppress(NotFound):
            action(job_id)


def job_to_show(app: App, preferred: Sequence[str], tab: str = FIRST_TAB) -> Followed:
    """What a tab follows when its page opens.

    preferred: the jobs that this browser followed before; they are kept while one of them has not ended. Otherwise the newest job
    that is being drawn, else the newest that waits, else the one that ended last. Only jobs asked for in that tab of a browser: an
    API client's are its own.
    """
    jobs = [job for job in app.queue.jobs() if job.source == source_of(tab)]
    states = {job.id: job.state for job in jobs}
    together = [job_id for job_id in preferred if job_id in states]
    if any(states[job_id] in ("queued", "running") for job_id in together):
        return _follow(together)
    for state in ("running", "queued"):
        active = [job for job in jobs if job.state == state]
        if active:
            return followed(max(active, key=lambda job: job.created_at).id)
    last = [jobs[0].id] if jobs else []
    return _follow(together if last and last[0] in together else last)


def draw_again(app: App, picture_id: Any, *, vary: bool) -> Wish:
    """The picture's own request with another seed, or with its seed a little varied.  Raises InvalidRequest, NotFound."""
    if not picture_id:
        raise InvalidRequest("There is no picture to draw again. Choose one first.")
    picture = app.outputs.picture(str(picture_id))
    request = as_drawing(picture.request)
    drawn_with = app.read_paste(read_metadata(picture.path.read_bytes())).settings_changes
    changes: dict[str, Any] = {"subseed": -1, "subseed_strength": request.subseed_strength or VARIED} if vary else {"seed": -1}
    return Wish(request.changed(**changes), drawn_with, ())


def throw_picture_away(app: App, picture_id: str) -> dict[str, Any]:
    """Move a drawn picture into the trash of outputs/; where it was, or the reason why not."""
    try:
        picture = app.outputs.picture(picture_id)
        if not picture.saved:
            raise InvalidRequest("This picture is not kept: saving pictures is switched off.")
        place = shown_place(app, picture)
        app.gallery.throw_away([app.gallery.picture_at(picture.path).id])
    except WebuiError as error:
        return {"error": str(error)}
    return {"place": place}


def show_folder_of(app: App, picture_id: str) -> dict[str, Any]:
    """Open the folder that a drawn picture lies in, on the machine itself; or the reason why not."""
    try:
        picture = app.outputs.picture(picture_id)
        if not picture.saved:
            raise InvalidRequest("This picture is not kept: saving pictures is switched off.")
        app.desktop.show(picture.path.parent)
    except WebuiError as error:
        return {"error": str(error)}
    return {}


def _follow(jobs: Sequence[str]) -> Followed:
    return followed(jobs[0] if jobs else None, None, jobs if len(jobs) > 1 else ())


def look_at_all(app: App, jobs: Sequence[str], *, known: Collection[str], preview_seen: str | None, watching: bool) -> dict[str, Any]:
    """Several jobs as a page shows them together, as `look` does one: the pictures of all, and the progress of the one being drawn."""
    views = [look(app, job_id, known=known, preview_seen=preview_seen, watching=watching) for job_id in jobs]
    states = [view["state"] for view in views]
    current = next((view for view in views if view["state"] == "running"), None)
    current = current or next((view for view in views if view["state"] == "queued"), views[-1])
    ended = sum(state not in ("running", "queued") for state in states)
    present = [view for view in views if view["state"] != "gone"]
    together = {
        "state": next((state for state in ("running", "queued", "failed", "cancelled", "finished", "gone") if state in states), "gone"),
        "error": next((view["error"] for view in present if view["error"]), None),
        "expected": sum(view["expected"] for view in present),
        "seconds": round(sum(view["seconds"] for view in present), 1),
        "remarks": list(dict.fromkeys(remark for view in present for remark in view["remarks"])),
        "order": [picture for view in present for picture in view["order"]],
        "grids": [picture for view in present for picture in view["grids"]],
        "pictures": [picture for view in present for picture in view["pictures"]],
        "job_number": min(ended + 1, len(jobs)),
        "job_count": len(jobs),
    }
    if "fraction" in current:
        together["fraction"] = (ended + current["fraction"]) / len(jobs)
    return {**current, **together}


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
        "prompt": job.request.prompt if isinstance(job.request, GenerationRequest) else "",
        "expected": job.expected,
        "seconds": round(job.result.seconds, 1) if job.result else 0.0,
        "memory": _memory(app) if job.result else None,
        "remarks": _remarks(job),
        "order": [picture.id for picture in pictures],
        "pictures": [_describe(app, picture) for picture in pictures if picture.id not in known],
        # Of an ordinary job; what a script makes are pictures that were asked for.
        "grids": [picture.id for picture in pictures if picture.is_grid and not getattr(job.request, "script", "")],
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
        **_facts(picture),
        "place": shown_place(app, picture) if picture.saved else None,
    }


def _memory(app: App) -> dict[str, int | None] | None:
    """Bytes that the program holds now, and of the GPU's, where there is one; None before the engine is there."""
    if not app.engine_ready:
        return None
    use = app.engine.memory()
    return {"ram": use.ram_used, "device": use.device_used, "device_total": use.device_total}


def sent_along(request: GenerationRequest) -> Mapping[str, Any]:
    """The parameters that go with a picture to another tab; as in A1111, those that say what it shows and not how large it is."""
    return {name: shown(name, getattr(request, name)) for name in SENT_ALONG}


def _facts(picture: Picture) -> dict[str, Any]:
    """Of a drawn picture its seeds and size; of one that was worked on, which one it was, and its size now."""
    request = picture.request
    if isinstance(request, ExtrasRequest):
        source = request.pictures[0]
        size = request.target(source)
        width, height = size.crop or (size.width, size.height)
        return {"source": source.image, "width": width, "height": height}
    seeds = {"seed": str(request.seed), "subseed": str(request.subseed)}
    return {**seeds, "width": request.width, "height": request.height, "parameters": sent_along(request)}


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
