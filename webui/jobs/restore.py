"""Jobs from their rows: those of an earlier start, and those that another process runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from webui.core.errors import InvalidRequest
from webui.core.events import Cancelled, Failed, Finished, ImageReady, Queued, Remark
from webui.core.extras import JobRequest
from webui.core.request import GenerationRequest
from webui.core.result import Picture
from webui.core.settings import Settings
from webui.jobs.job import Job
from webui.jobs.store import JobRow

log = logging.getLogger(__name__)


def rebuild(row: JobRow, pictures: Iterable[Picture]) -> Job:
    """A job as its row tells it. One whose row cannot be read is shown with an empty request."""
    request: JobRequest
    try:
        request, settings = row.read_request(), row.read_settings()
    except InvalidRequest:
        request, settings = GenerationRequest(), Settings()
    job = Job(row.id, request, settings, row.source, row.save, row.created_at)
    job.log.append(Queued())
    bring_up_to_date(job, row, pictures)
    return job


def bring_up_to_date(job: Job, row: JobRow, pictures: Iterable[Picture]) -> None:
    """Tell a job's readers what happened to it elsewhere since they last heard."""
    job.started_at = row.started_at
    told = {picture.id for picture in job.pictures}
    for picture in pictures:
        if picture.id not in told:
            job.log.append(ImageReady(picture))
    if row.state not in ("queued", "running"):
        for text in json.loads(row.remarks):
            job.log.append(Remark(text))
        job.log.append(_end(job, row))


def why_unreadable(row: JobRow) -> Failed | None:
    """The end of a job whose request or settings this program does not understand; None where it does."""
    try:
        row.read_request()
        row.read_settings()
    except InvalidRequest as error:
        log.warning("%s", error)
        return Failed(str(error), type(error).__name__)
    return None


def _end(job: Job, row: JobRow) -> Finished | Cancelled | Failed:
    if row.state == "failed":
        return Failed(row.message, row.kind)
    result = job.result_after(row.seconds)
    return Finished(result) if row.state == "finished" else Cancelled(result)
