"""The Queue tab: what is being drawn and what waits, with the means to stop, reorder and pause."""

from __future__ import annotations

from typing import Any

import gradio as gr

from webui.app import App, Job
from webui.core.errors import WebuiError
from webui.core.events import Failed, Progress
from webui.core.extras import ExtrasRequest
from webui.core.model_jobs import ModelRequest

PROMPT_SHOWN = 160
ENDED_SHOWN = 8


def build_queue(app: App) -> gr.HTML:
    """Lay the tab out, inside a gr.Tab. The list asks for news by itself while it can be seen, and never otherwise."""

    def list_jobs(_: Any) -> dict[str, Any]:
        return queue_as_shown(app)

    def change_queue(order: dict[str, Any]) -> dict[str, Any]:
        return change(app, str(order["action"]), order.get("job"))

    return gr.HTML(
        value=None, html_template='<section class="queue" aria-label="Queue"></section>', elem_id="queue_list",
        server_functions=[list_jobs, change_queue], js_on_load="window.webui.addQueue(element, server)", apply_default_css=False,
    )  # fmt: skip


def queue_as_shown(app: App) -> dict[str, Any]:
    """Running jobs, waiting ones in their order, and the few that ended last."""
    jobs = app.queue.jobs()
    active = [job for job in jobs if job.state in ("running", "queued")]
    ended = [job for job in jobs if job.state not in ("running", "queued")]
    return {"paused": app.queue.paused, "jobs": [_describe(job) for job in (*active, *ended[:ENDED_SHOWN])]}


def change(app: App, action: str, job_id: str | None) -> dict[str, Any]:
    """Do one of the tab's actions, and tell the queue as it is then, with the reason if it could not be done."""
    queued = [job.id for job in app.queue.jobs() if job.state == "queued"]
    place = queued.index(job_id) if job_id in queued else 0
    actions = {
        "cancel": lambda: app.queue.cancel(str(job_id)),
        "up": lambda: app.queue.move(str(job_id), max(0, place - 1)),
        "front": lambda: app.queue.move(str(job_id), 0),
        "cancel_all": app.queue.cancel_all,
        "pause": app.queue.pause,
        "resume": app.queue.resume,
    }
    try:
        actions[action]()
    except WebuiError as error:
        return queue_as_shown(app) | {"error": str(error)}
    return queue_as_shown(app)


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
    }


def _in_words(job: Job) -> tuple[str, str]:
    """What a job shows, and what it is."""
    request = job.request
    pictures = f"{job.expected} pictures" if job.expected > 1 else "1 picture"
    if isinstance(request, ExtrasRequest):
        return request.pictures[0].name or "Extras", f"Extras: {pictures}, {', '.join((*request.upscalers, *request.face_restorers))}"
    if isinstance(request, ModelRequest):
        return request.title, request.details
    return request.prompt, f"{pictures}, {request.width} × {request.height}, {request.steps} steps, {request.sampler}"
