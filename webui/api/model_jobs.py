"""Making and fetching model files over HTTP: each call queues a job, which /api/v1/jobs tells of."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel

from webui.app import App, Job
from webui.core.errors import InvalidRequest
from webui.core.model_jobs import NO_INTERPOLATION, SETTLED, DownloadRequest, MergeRequest, ModelRequest, read_model_request

R = TypeVar("R", bound=ModelRequest)


class ModelJob(BaseModel):
    """A job that was queued.  id: its own.   result: the name of the file to be."""

    id: str
    result: str


class ModelJobs:
    """The handlers under /api/v1/models."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under their paths."""
        for name, handler in (("merge", self.merge), ("convert", self.convert), ("download", self.download)):
            server.add_api_route(f"/api/v1/models/{name}", handler, methods=["POST"], status_code=201, tags=["models"])

    def merge(self, wish: dict[str, Any]) -> ModelJob:
        """Queue a merge of two or three checkpoints. The fields are those of MergeRequest; what is left out is as declared there."""
        return _queued(self._app.submit_merge(_read(MergeRequest, wish)))

    def convert(self, wish: dict[str, Any]) -> ModelJob:
        """Queue the conversion of one checkpoint, `primary`: into safetensors, other numbers, without parts. Fields as of a merge."""
        if wish.get("method", NO_INTERPOLATION) != NO_INTERPOLATION:
            raise InvalidRequest(f"method: got {str(wish['method'])[:40]!r}; converting interpolates nothing. Use /api/v1/models/merge.")
        return _queued(self._app.submit_merge(_read(MergeRequest, {**wish, "method": NO_INTERPOLATION})))

    def download(self, wish: dict[str, Any]) -> ModelJob:
        """Queue a download. The fields are those of DownloadRequest."""
        return _queued(self._app.submit_download(_read(DownloadRequest, wish)))


def _read(kind: type[R], wish: dict[str, Any]) -> R:
    for name in SETTLED:
        if name in wish:
            raise InvalidRequest(f"{name}: this is settled by the program. Leave it out.")
    return read_model_request(kind, wish)


def _queued(job: Job) -> ModelJob:
    assert isinstance(job.request, ModelRequest)
    return ModelJob(id=job.id, result=job.request.result)
