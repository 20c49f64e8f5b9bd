"""Routes that programs knew from A1111's gradio 3, and that the gradio of today has not, or only with the page."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel

from webui import __version__
from webui.api.access import read_basic
from webui.app import App

# Of so many jobs that ended lately one tells how long the next will take.
JOBS_TO_JUDGE_BY = 20


class Token(BaseModel):
    """token: always null; sessions are known by a cookie that no script can read.   user: who asks, where there are users."""

    token: str | None = None
    user: str | None = None


class QueueStatus(BaseModel):
    """gradio 3's estimate.  avg_*: seconds that jobs took lately.   queue_eta: seconds until all that waits is done."""

    msg: str = "estimation"
    rank: int | None = None
    queue_size: int
    avg_event_process_time: float | None
    avg_event_concurrent_process_time: float | None
    rank_eta: float | None = None
    queue_eta: float


class GradioAliases:
    """The handlers."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under gradio's paths."""
        server.add_api_route("/token", token, methods=["GET"], tags=["state"])
        server.add_api_route("/queue/status", self.status, methods=["GET"], tags=["state"])

    def status(self) -> QueueStatus:
        """How many jobs wait, and for how long about."""
        jobs = self._app.queue.jobs()
        ended = [job.result.seconds for job in jobs if job.result and job.state == "finished"][:JOBS_TO_JUDGE_BY]
        waiting = sum(job.state == "queued" for job in jobs)
        average = sum(ended) / len(ended) if ended else None
        return QueueStatus(
            queue_size=waiting,
            avg_event_process_time=average,
            avg_event_concurrent_process_time=average,
            queue_eta=waiting * (average or 0.0),
        )


def token(request: Request) -> Token:
    """Who asks."""
    given = read_basic(request.headers.get("authorization"))
    return Token(user=given[0] if given else None)


def config_without_page(root: str) -> dict[str, Any]:
    """gradio's description of a page that has nothing on it.  root: where the server is mounted."""
    return {
        "version": __version__, "mode": "blocks", "title": "Stable Diffusion web UI", "dev_mode": False, "components": [],
        "dependencies": [], "layout": {"id": 0, "children": []}, "enable_queue": True, "root": root,
    }  # fmt: skip
