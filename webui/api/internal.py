"""What A1111's own page and its clients ask beside /sdapi: progress by task, hints, and the state of the machine."""

from __future__ import annotations

import hashlib
import json
import platform
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from webui import __version__
from webui.app import App, Job
from webui.core.errors import NotFound
from webui.core.events import Preview, Progress
from webui.core.images import encode_png, image_to_base64
from webui.core.parameters import parameters_of
from webui.core.settings import Settings


class ProgressWish(BaseModel):
    """id_task: the job asked for.   id_live_preview: the number of the preview that the client has."""

    model_config = ConfigDict(extra="ignore")

    id_task: str | None = Field(default=None, max_length=200)
    id_live_preview: int = -1
    live_preview: bool = True


class TaskProgress(BaseModel):
    """How far one job is.  eta: seconds.   live_preview: a data URL, when there is a newer one."""

    active: bool = False
    queued: bool = False
    completed: bool = False
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = None
    id_live_preview: int | None = None
    textinfo: str | None = None


class PendingTasks(BaseModel):
    """The jobs that wait or run."""

    size: int
    tasks: list[str]


class Hint(BaseModel):
    """A setting and its title."""

    name: str
    label: str


class Internal:
    """The handlers under /internal, which A1111 serves without --api too."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        server.add_api_route("/internal/ping", ping, methods=["GET"], tags=["state"])
        server.add_api_route("/internal/progress", self.progress, methods=["POST"], tags=["state"])
        server.add_api_route("/internal/pending-tasks", self.pending, methods=["GET"], tags=["state"])
        server.add_api_route("/internal/quicksettings-hint", hints, methods=["GET"], tags=["state"])
        server.add_api_route("/internal/profile-startup", profile, methods=["GET"], tags=["state"])
        for name in ("sysinfo", "sysinfo-download"):
            server.add_api_route(
                f"/internal/{name}", self.sysinfo, methods=["GET"], tags=["state"], response_class=PlainTextResponse,
                name=name.replace("-", "_"),
            )  # fmt: skip

    def progress(self, wish: ProgressWish) -> TaskProgress:
        """How far a job is, and where it waits."""
        jobs = self._app.queue.jobs()
        job = self._job(wish.id_task)
        if job is None:
            return TaskProgress(textinfo="Waiting...", id_live_preview=wish.id_live_preview)
        if job.state == "queued":
            waiting = [one.id for one in jobs if one.state == "queued"]
            place = waiting.index(job.id) + 1 if job.id in waiting else 1
            return TaskProgress(queued=True, textinfo=f"In queue: {place}/{len(waiting)}", id_live_preview=wish.id_live_preview)
        if job.state != "running":
            return TaskProgress(completed=True, textinfo="Waiting...", id_live_preview=wish.id_live_preview)
        progress = job.log.latest(Progress)
        answer = TaskProgress(active=True, progress=min(0.01 + (progress.fraction if progress else 0.0), 1.0), id_live_preview=-1)
        answer.eta = progress.eta if progress else None
        if wish.live_preview and job.settings.live_previews_enable:
            self._app.engine.want_preview(job.id)
            preview = job.log.latest(Preview)
            number = progress.batch * 10_000 + preview.step if progress and preview else -1
            answer.id_live_preview = number
            if preview and number != wish.id_live_preview:
                answer.live_preview = _data_url(preview.image)
        return answer

    def pending(self) -> PendingTasks:
        """The jobs that wait or run."""
        tasks = [job.id for job in self._app.queue.jobs() if job.state in ("queued", "running")]
        return PendingTasks(size=len(tasks), tasks=tasks)

    def sysinfo(self) -> PlainTextResponse:
        """The machine and the program as JSON text with a checksum inside; no folders, users or secrets."""
        use = self._app.engine.memory()
        facts: dict[str, Any] = {
            "Platform": platform.platform(),
            "Python": platform.python_version(),
            "Version": __version__,
            "Checksum": "",
            "Device": self._app.engine.device,
            "RAM": {"total": use.ram_total, "used": use.ram_used, "free": use.ram_free},
            "Extensions": [{"name": one.name, "enabled": one.enabled} for one in self._app.host.extensions()],
            "Config": self._app.settings.snapshot().model_dump(),
        }
        facts["Checksum"] = hashlib.sha256(json.dumps(facts, indent=4).encode()).hexdigest()
        return PlainTextResponse(json.dumps(facts, indent=4), headers={"Content-Disposition": 'inline; filename="sysinfo.json"'})

    def _job(self, job_id: str | None) -> Job | None:
        try:
            return self._app.queue.job(job_id) if job_id else None
        except NotFound:
            return None


def ping() -> dict[str, Any]:
    """Whether the server answers."""
    return {}


def hints() -> list[Hint]:
    """Every setting with its title."""
    return [Hint(name=name, label=one.title) for name, one in parameters_of(Settings).items()]


def profile() -> dict[str, Any]:
    """A1111's startup profile; this program keeps none, its log has the seconds."""
    return {"total": 0.0, "records": {}}


def _data_url(image: Image) -> str:
    return f"data:image/png;base64,{image_to_base64(encode_png(image.convert('RGB'), {}))}"
