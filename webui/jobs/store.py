"""The jobs as rows: what is queued, who runs it, how it ended. Each method is one transaction; none knows of engines or threads."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from webui.core.errors import InvalidRequest, NotFound, QueueFull
from webui.core.extras import ExtrasRequest, JobRequest, PictureRequest
from webui.core.model_jobs import DownloadRequest, MergeRequest
from webui.core.request import GenerationRequest, describe_validation
from webui.core.settings import Settings
from webui.jobs.database import Database
from webui.jobs.job import Job, JobState

# Of the jobs that take long and hardly use the device, one of each kind at a time: they shall not take all workers from those that draw.
NEXT = """
SELECT number FROM jobs
WHERE state = 'queued' AND (owner IS NULL OR owner = ?) AND NOT EXISTS (SELECT 1 FROM flags WHERE name = 'paused')
AND NOT (request LIKE '{"kind":"merge"%' AND EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND request LIKE '{"kind":"merge"%'))
AND NOT (request LIKE '{"kind":"download"%' AND EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND request LIKE '{"kind":"download"%'))
ORDER BY position, number LIMIT 1
"""
M = TypeVar("M", bound=BaseModel)
STATUSES = """
SELECT id, state, owner FROM jobs
ORDER BY CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END, coalesce(-ended_at, position), number
"""


@dataclass(frozen=True)
class JobRow:
    """One job as stored. request, settings and remarks are JSON; an older or newer program may have written them."""

    id: str
    state: JobState
    owner: str | None
    cancel_wanted: bool
    source: str
    save: bool
    created_at: float
    started_at: float | None
    seconds: float
    request: str
    settings: str
    remarks: str
    message: str
    kind: str

    def read_request(self) -> JobRequest:
        """The request.  Raises InvalidRequest when this program does not understand what is stored."""
        return _read(_kind_of_job(self.request), self.request, self.id)

    def read_settings(self) -> Settings:
        """The settings.  Raises InvalidRequest when this program does not understand what is stored."""
        return _read(Settings, self.settings, self.id)


@dataclass(frozen=True)
class JobStatus:
    """Where one job is."""

    id: str
    state: JobState
    owner: str | None


class JobStore:
    """The queue's rows, as one process sees them.

    owner: this process. A queued row with an owner waits for the process it was submitted to, where its readers are;
    a row without one may be claimed by any process. A running row belongs to the process that runs it.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    def add(self, job: Job, *, limit: int) -> int:
        """Queue a job; how many are before it.  Raises QueueFull, and InvalidRequest when the id is taken."""
        with self._database.transaction() as connection:
            known = "SELECT 1 FROM jobs WHERE id = ?1 UNION SELECT 1 FROM pictures WHERE job_id = ?1"
            if connection.execute(known, (job.id,)).fetchone():
                raise InvalidRequest(f"There is already a job {job.id!r}. Give each job an id of its own, or none.")
            counts = dict(connection.execute("SELECT state, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY state"))
            if counts.get("queued", 0) >= limit:
                raise QueueFull(f"{limit} jobs are waiting, which is as many as may. Try again when some are done, or cancel some.")
            connection.execute(
                "INSERT INTO jobs (id, state, owner, position, source, save, created_at, request, settings) "
                "SELECT ?, 'queued', ?, 1 + coalesce(max(position), 0), ?, ?, ?, ?, ? FROM jobs",
                (job.id, self._owner, job.source, job.save, job.created_at, job.request.model_dump_json(), job.settings.model_dump_json()),
            )
            return sum(counts.values())

    def mentions(self, text: str) -> bool:
        """Whether a job's request has this text in it."""
        with self._database.transaction() as connection:
            return connection.execute("SELECT 1 FROM jobs WHERE instr(request, ?) LIMIT 1", (text,)).fetchone() is not None

    def retire(self, job_id: str) -> bool:
        """Free the id of a job that has ended: the job is forgotten, its saved pictures stay. False if it has not ended.

        Reaches the disk with the job that takes the id.
        """
        with self._database.transaction(durable=False) as connection:
            unfinished = "SELECT 1 FROM jobs WHERE id = ? AND state IN ('queued', 'running')"
            if connection.execute(unfinished, (job_id,)).fetchone():
                return False
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            connection.execute("DELETE FROM pictures WHERE job_id = ? AND NOT saved", (job_id,))
            connection.execute("UPDATE pictures SET job_id = job_id || '#' || id WHERE job_id = ?", (job_id,))
            return True

    def claim(self) -> JobRow | None:
        """Take the next job that this process may run; nobody else gets it. None when there is none or the queue is paused."""
        if not self.has_claimable():
            return None  # seen by reading, so that idle workers keep nobody from writing
        with self._database.transaction(durable=False) as connection:
            found = connection.execute(NEXT, (self._owner,)).fetchone()
            if found is None:
                return None
            claimed = "UPDATE jobs SET state = 'running', owner = ?, started_at = ? WHERE number = ? AND state = 'queued' RETURNING *"
            return _job_row(connection.execute(claimed, (self._owner, time.time(), found["number"])).fetchall()[0])

    def has_claimable(self) -> bool:
        """Whether `claim` would find a job."""
        return bool(self._database.rows(NEXT, (self._owner,)))

    def end(self, job_id: str, state: JobState, *, seconds: float, remarks: Sequence[str] = (), message: str = "", kind: str = "") -> None:
        """Record how a job of this process ended."""
        self._database.write(
            "UPDATE jobs SET state = ?, owner = NULL, ended_at = ?, seconds = ?, remarks = ?, message = ?, kind = ? "
            "WHERE id = ? AND state = 'running' AND owner = ?",
            (state, time.time(), seconds, json.dumps(list(remarks)), message, kind, job_id, self._owner),
            durable=False,
        )

    def put_back(self, job_id: str) -> None:
        """Queue a running job of this process again, for any process, at its old place."""
        self._database.write(
            "UPDATE jobs SET state = 'queued', owner = NULL, started_at = NULL WHERE id = ? AND state = 'running' AND owner = ?",
            (job_id, self._owner),
        )

    def cancel(self, job_id: str) -> JobState:
        """Cancel a queued job at once, ask for the end of a running one; where the job was.  Raises NotFound."""
        with self._database.transaction() as connection:
            state = _state_of(connection, job_id)
            if state == "queued":
                connection.execute("UPDATE jobs SET state = 'cancelled', owner = NULL, ended_at = ? WHERE id = ?", (time.time(), job_id))
            elif state == "running":
                connection.execute("UPDATE jobs SET cancel_wanted = 1 WHERE id = ?", (job_id,))
        return state

    def wanted_cancels(self) -> list[str]:
        """Running jobs of this process that somebody, perhaps in another process, wants to end."""
        sql = "SELECT id FROM jobs WHERE state = 'running' AND owner = ? AND cancel_wanted"
        return [row["id"] for row in self._database.rows(sql, (self._owner,))]

    def move(self, job_id: str, position: int) -> None:
        """Give a queued job another place among the queued, 0 being the next.  Raises NotFound, InvalidRequest."""
        with self._database.transaction() as connection:
            state = _state_of(connection, job_id)
            if state != "queued":
                raise InvalidRequest(f"Job {job_id!r} is {state}; only queued jobs can be moved.")
            rows = connection.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY position, number")
            order = [row["id"] for row in rows if row["id"] != job_id]
            order.insert(position, job_id)
            # Behind the running jobs, so that those, if interrupted, come before all that were queued.
            first = 1 + connection.execute("SELECT coalesce(max(position), 0) FROM jobs WHERE state = 'running'").fetchone()[0]
            connection.executemany("UPDATE jobs SET position = ? WHERE id = ?", [(first + place, id) for place, id in enumerate(order)])

    def owners(self) -> set[str]:
        """The other processes that own jobs."""
        rows = self._database.rows("SELECT DISTINCT owner FROM jobs WHERE owner IS NOT NULL AND owner != ?", (self._owner,))
        return {row["owner"] for row in rows}

    def running_of(self, owner: str) -> list[str]:
        """The jobs that a process runs."""
        return [row["id"] for row in self._database.rows("SELECT id FROM jobs WHERE state = 'running' AND owner = ?", (owner,))]

    def release(self, owner: str) -> None:
        """Queue again what a dead process ran, and let any process run what it had queued."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE jobs SET state = 'queued', started_at = NULL WHERE state = 'running' AND owner = ?", (owner,))
            connection.execute("UPDATE jobs SET owner = NULL WHERE owner = ?", (owner,))

    def release_queued(self) -> None:
        """Let any process run what this one has queued."""
        self._database.write("UPDATE jobs SET owner = NULL WHERE state = 'queued' AND owner = ?", (self._owner,))

    def row(self, job_id: str) -> JobRow:
        """One job.  Raises NotFound."""
        rows = self._database.rows("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if not rows:
            raise _no_such_job(job_id)
        return _job_row(rows[0])

    def statuses(self) -> list[JobStatus]:
        """All jobs: running, then queued in order, then ended with the newest first."""
        return [JobStatus(row["id"], row["state"], row["owner"]) for row in self._database.rows(STATUSES)]

    def ended_beyond(self, keep: int) -> list[str]:
        """The ended jobs that are not among the newest so many."""
        sql = "SELECT id FROM jobs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, number DESC LIMIT -1 OFFSET ?"
        return [row["id"] for row in self._database.rows(sql, (keep,))]

    def unsaved_ended_before(self, moment: float) -> list[str]:
        """Jobs ended before a moment whose pictures were not to be kept."""
        sql = "SELECT id FROM jobs WHERE ended_at < ? AND NOT save"
        return [row["id"] for row in self._database.rows(sql, (moment,))]

    def delete(self, job_id: str) -> None:
        """Forget an ended job."""
        self._database.write("DELETE FROM jobs WHERE id = ? AND ended_at IS NOT NULL", (job_id,), durable=False)

    @property
    def paused(self) -> bool:
        """Whether nothing new may start, in any process."""
        return bool(self._database.rows("SELECT 1 FROM flags WHERE name = 'paused'"))

    def pause(self, wanted: bool) -> None:
        """Let nothing new start, or let it start again; remembered over restarts."""
        if wanted:
            self._database.write("INSERT OR IGNORE INTO flags VALUES ('paused')")
        else:
            self._database.write("DELETE FROM flags WHERE name = 'paused'")


def kind_of_request(stored: str) -> type[PictureRequest]:
    """Which kind of request a picture's stored text is: one that is none for drawing says so. What cannot be read counts as drawing."""
    return ExtrasRequest if _said_kind(stored) == "extras" else GenerationRequest


def _kind_of_job(stored: str) -> type[JobRequest]:
    """As `kind_of_request`, of a job, which may make a model file."""
    said = _said_kind(stored)
    return MergeRequest if said == "merge" else DownloadRequest if said == "download" else kind_of_request(stored)


def _said_kind(stored: str) -> object:
    try:
        content = json.loads(stored)
    except ValueError:
        return None
    return content.get("kind") if isinstance(content, dict) else None


def _read(model: type[M], stored: str, job_id: str) -> M:
    try:
        return model.model_validate_json(stored)
    except (ValidationError, InvalidRequest) as error:
        reason = describe_validation(error) if isinstance(error, ValidationError) else str(error)
        raise InvalidRequest(
            f"Job {job_id!r} was stored by another version of this program and cannot be read: {reason} Submit it again."
        ) from None


def _job_row(row: sqlite3.Row) -> JobRow:
    values = {name: row[name] for name in JobRow.__dataclass_fields__}
    flags = {name: bool(row[name]) for name in ("cancel_wanted", "save")}
    return JobRow(**{**values, **flags})


def _state_of(connection: sqlite3.Connection, job_id: str) -> JobState:
    row = connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise _no_such_job(job_id)
    state: JobState = row["state"]
    return state


def _no_such_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}. It may have ended so long ago that it was forgotten.")
