"""The Queue tab: what is drawn, what waits and what was, with the means to stop, reorder, pause, edit and draw again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import gradio as gr
from PIL import Image

from webui.app import App, Job
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.events import Failed, Preview, Progress
from webui.core.extras import ExtrasRequest
from webui.core.model_jobs import ModelRequest
from webui.core.record import picture_settings
from webui.core.request import GenerationRequest
from webui.ui.fields import declared, shown
from webui.ui.form import SEED_EXTRAS, WITHOUT_CONTROL
from webui.ui.generate import data_url

PROMPT_SHOWN = 160
ENDED_SHOWN, MOST_SHOWN = 8, 200
THUMBNAIL = 128


def build_queue(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. The list asks for news by itself while it can be seen, and never otherwise."""

    def list_jobs(query: dict[str, Any] | None) -> dict[str, Any]:
        return queue_as_shown(app, ended=int((query or {}).get("ended") or ENDED_SHOWN), watching=True)

    def change_queue(order: dict[str, Any]) -> dict[str, Any]:
        return change(app, str(order["action"]), order.get("job"), place=order.get("place"), ended=int(order.get("ended") or ENDED_SHOWN))

    def edit_job(query: dict[str, Any]) -> dict[str, Any]:
        try:
            return take_back(app, str(query.get("job")))
        except WebuiError as error:
            return {"error": str(error)}

    return gr.HTML(
        value=None, html_template='<section class="queue" aria-label="Queue"></section>', elem_id="queue_list",
        server_functions=[list_jobs, change_queue, edit_job], js_on_load="window.webui.addQueue(element, server)", apply_default_css=False,
    )  # fmt: skip


def queue_as_shown(app: App, *, ended: int = ENDED_SHOWN, watching: bool = False) -> dict[str, Any]:
    """Running jobs, waiting ones in their order, and those that ended last.

    ended: how many of these.   watching: somebody sees the list, so that pictures being drawn are worth a preview.
    """
    jobs = app.queue.jobs()
    active = [job for job in jobs if job.state in ("running", "queued")]
    past = [job for job in jobs if job.state not in ("running", "queued")]
    for job in active:
        if watching and job.state == "running":
            app.engine.want_preview(job.id)
    listed = (*active, *past[: min(max(0, ended), MOST_SHOWN)])
    return {"paused": app.queue.paused, "jobs": [_describe(job) for job in listed], "past": min(len(past), MOST_SHOWN)}


def change(app: App, action: str, job_id: str | None, *, place: Any = None, ended: int = ENDED_SHOWN) -> dict[str, Any]:
    """Do one of the tab's actions, and tell the queue as it is then, with the reason if it could not be done.

    place: where "move" puts a waiting job, 0 being the next to run.   ended: see queue_as_shown.
    """
    queued = [job.id for job in app.queue.jobs() if job.state == "queued"]
    now = queued.index(job_id) if job_id in queued else 0
    actions = {
        "cancel": lambda: app.queue.cancel(str(job_id)),
        "up": lambda: app.queue.move(str(job_id), max(0, now - 1)),
        "front": lambda: app.queue.move(str(job_id), 0),
        "move": lambda: app.queue.move(str(job_id), int(place)),
        "duplicate": lambda: _submit_again(app, str(job_id), fresh=True),
        "retry": lambda: _submit_again(app, str(job_id), fresh=False),
        "cancel_all": app.queue.cancel_all,
        "pause": app.queue.pause,
        "resume": app.queue.resume,
    }
    try:
        actions[action]()
    except WebuiError as error:
        return queue_as_shown(app, ended=ended) | {"error": str(error)}
    return queue_as_shown(app, ended=ended)


def _submit_again(app: App, job_id: str, *, fresh: bool) -> None:
    """Queue what a job was asked for once more, with its settings.  fresh: with another seed."""
    job = app.queue.job(job_id)
    request = job.request
    if fresh and isinstance(request, GenerationRequest):
        request = request.changed(seed=-1).with_real_seed()
    app.queue.submit(request, job.settings, source=job.source if job.source.split()[0] == "ui" else "queue", save=job.save)


def take_back(app: App, job_id: str) -> dict[str, Any]:
    """What a tab's form shall hold so that the job can be edited; a job that still waits leaves the queue.

    Returns: "tab", "values" by control, "picture" for the tab's editor or None, and a "note" of what the form does not take over.
    Raises NotFound, InvalidRequest for what was not asked for in a generation tab.
    """
    job = app.queue.job(job_id)
    request = job.request
    if not isinstance(request, GenerationRequest):
        raise InvalidRequest("Only jobs that draw pictures can be edited. Start this one anew in its own tab.")
    tab = _tab_of(request)
    now = app.settings.snapshot()
    settings = {name: getattr(job.settings, name) for name in picture_settings() if getattr(job.settings, name) != getattr(now, name)}
    beside = {name: getattr(request, name) for name in WITHOUT_CONTROL if getattr(request, name) != declared(name).default}
    controls = {name: shown(name, getattr(request, name)) for name in GenerationRequest.model_fields}
    values = {name: value for name, value in controls.items() if isinstance(value, str | int | float)}
    values["extra"] = any(getattr(request, name) != declared(name).default for name in SEED_EXTRAS)
    left_out = [name for name, there in (("script", request.script), ("ControlNet units", request.active_units)) if there]
    if job.state == "queued":
        app.queue.cancel(job_id)
    return {
        "tab": tab,
        "values": {**values, "styles": [], "overrides": {"settings": settings, "request": beside}},
        "picture": _picture_of(app, request),
        "note": f"Not taken over: its {' and its '.join(left_out)}." if left_out else None,
    }


def _tab_of(request: GenerationRequest) -> str:
    if request.use_depth:
        return "depth2img"
    if request.mask or any(request.outpainting):
        return "inpaint"
    return "img2img" if request.init_images else "txt2img"


def _picture_of(app: App, request: GenerationRequest) -> Mapping[str, Any] | None:
    if not request.init_images:
        return None
    width, height = Image.open(io.BytesIO(app.queue.inputs.read(request.init_images[0]))).size
    return {"picture": request.init_images[0], "mask": request.mask, "width": width, "height": height}


def _describe(job: Job) -> dict[str, Any]:
    progress, failure = job.log.latest(Progress), job.log.latest(Failed)
    title, details = _in_words(job)
    return {
        "id": job.id,
        "state": job.state,
        "prompt": title[:PROMPT_SHOWN],
        "details": details,
        "source": "browser" if job.source.split()[0] == "ui" else job.source,
        "fraction": progress.fraction if progress and job.state == "running" else 0.0,
        "error": failure.message if failure else None,
        "thumbnail": _thumbnail(job),
        "draws": isinstance(job.request, GenerationRequest),
    }


def _thumbnail(job: Job) -> str | None:
    """A picture to know the job by: its first one, what is to be seen of it yet, or what it begins with. An address, or its data."""
    if job.state not in ("queued", "running"):
        return f"pictures/{job.pictures[0].id}" if job.pictures else None
    preview = job.log.latest(Preview)
    if preview is not None and job.state == "running":
        small = preview.image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        return data_url(small)
    request = job.request
    if isinstance(request, ExtrasRequest):
        return f"inputs/{request.pictures[0].image}"
    return f"inputs/{request.init_images[0]}" if isinstance(request, GenerationRequest) and request.init_images else None


def _in_words(job: Job) -> tuple[str, str]:
    """What a job shows, and what it is."""
    request = job.request
    pictures = f"{job.expected} pictures" if job.expected > 1 else "1 picture"
    if isinstance(request, ExtrasRequest):
        return request.pictures[0].name or "Extras", f"Extras: {pictures}, {', '.join((*request.upscalers, *request.face_restorers))}"
    if isinstance(request, ModelRequest):
        return request.title, request.details
    return request.prompt, f"{pictures}, {request.width} × {request.height}, {request.steps} steps, {request.sampler}"
