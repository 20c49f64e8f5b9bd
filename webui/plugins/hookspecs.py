"""The hooks an extension may implement: functions marked @hookimpl that take any subset of a hook's named arguments."""

from __future__ import annotations

from pluggy import HookimplMarker, HookspecMarker

from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture

PROJECT = "webui"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def change_request(request: GenerationRequest) -> GenerationRequest | None:
    """Called once for each submitted job, before it is queued. Return a changed copy, or None to leave it as it is.

    Extensions are asked one after another, each with the last one's answer. Raising refuses the job.
    """


@hookspec
def picture_saved(picture: Picture) -> None:
    """Called after a picture is on disk. Raising is logged and disturbs nobody."""


@hookspec
def job_finished(job_id: str, result: GenerationResult) -> None:
    """Called when a job has ended with a result, also a cancelled one's. Raising is logged and disturbs nobody."""
