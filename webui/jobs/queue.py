"""The job queue: takes jobs, runs them on an engine, survives being killed. Several processes may share one data folder."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from webui.catalog.catalog import Catalog
from webui.core.errors import Closing, InvalidRequest, NotFound
from webui.core.events import Cancelled, Failed, Finished, Progress, Queued, Remark
from webui.core.extras import JobRequest
from webui.core.hook_ports import Hooks
from webui.core.ports import Engine
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.core.styles import StyleStore
from webui.core.web import Web
from webui.jobs.database import Database
from webui.jobs.inputs import InputPictures
from webui.jobs.job import Job, JobState
from webui.jobs.outputs import Outputs
from webui.jobs.owners import Ownership
from webui.jobs.restore import bring_up_to_date, rebuild, why_unreadable
from webui.jobs.run import Run, Surroundings
from webui.jobs.script_run import ScriptDesk, run_of
from webui.jobs.store import JobRow, JobStore

log = logging.getLogger(__name__)

MAX_ID = 200
ENDED_JOBS_KEPT = 200
SECONDS_UNSAVED_ARE_KEPT = 24 * 3600.0
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_STOP = 2.0


class JobQueue:
    """Jobs in order. Every method may be called from any thread.

    workers: how many jobs are handed to the engine at once, for it to draw together.   limit: how many may wait.
    web: what downloads may reach.
    A job is run by the process it was submitted to; when that dies, by any other with the same data folder.
    """

    def __init__(
        self,
        database: Path,
        engine: Engine,
        outputs: Outputs,
        catalog: Catalog,
        hooks: Hooks,
        styles: StyleStore,
        *,
        workers: int = 8,
        limit: int = 1000,
        web: Web | None = None,
    ) -> None:
        self.inputs = InputPictures(database.parent / "inputs")
        self._around = Surroundings(engine, outputs, catalog, hooks, self.inputs, styles, web or Web())
        self._outputs = outputs
        self.limit = limit
        self._owners = Ownership(database.parent / "owners")
        self._database = Database(database)
        self._store = JobStore(self._database, self._owners.id)
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._runs: dict[str, Run] = {}
        self._change = threading.Condition()
        self._changes = 0
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"job worker {number + 1}", daemon=True) for number in range(workers)]
        self._threads.append(threading.Thread(target=self._look_after, name="job queue", daemon=True))

    def start(self) -> None:
        """Take up what an earlier process left, and begin to run jobs."""
        self._release_dead(self._owners.others() | self._store.owners())
        self._outputs.recover_interrupted()
        for job_id in self._store.unsaved_ended_before(time.time() - SECONDS_UNSAVED_ARE_KEPT):
            self._outputs.forget_unsaved(job_id)
        self._outputs.sweep_unsaved()
        self.inputs.sweep(self._store.mentions)
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        request: JobRequest,
        settings: Settings,
        *,
        job_id: str | None = None,
        source: str = "api",
        save: bool = True,
        remarks: Sequence[str] = (),
    ) -> Job:
        """Queue a job.

        job_id: the caller's own name for it, up to 200 characters. A job that has ended gives its id to the next one.
        save: keep the pictures in outputs/.   remarks: what the user should know of the request.
        Raises QueueFull, and InvalidRequest for an id that is unusable or belongs to a job that has not ended.
        """
        if self._closing.is_set():
            raise Closing("The program is closing and takes no more jobs. Start it again.")
        name = _checked_id(job_id)
        if job_id:
            self._retire(name)
        job = Job(name, request, settings, source, save, created_at=time.time())
        with self._lock:  # so that no worker meets the row before the job that its readers hold
            ahead = self._store.add(job, limit=self.limit)
            job.log.append(Queued(ahead))
            for remark in remarks:
                job.log.append(Remark(remark))
            self._jobs[job.id] = job
        self._notify(1)
        return job

    def desk(self, settings: Settings) -> ScriptDesk:
        """What a script may ask of the program, for planning a job with these settings."""
        return ScriptDesk(self._around, settings)

    def job(self, job_id: str) -> Job:
        """The job of that id, also one that ended before the last start.  Raises NotFound."""
        with self._lock:
            return self._known(job_id)

    def jobs(self) -> tuple[Job, ...]:
        """Running jobs, then the queued in order, then those that ended recently, newest first."""
        jobs = []
        for status in self._store.statuses():
            try:
                jobs.append(self.job(status.id))
            except NotFound:
                continue  # forgotten since the list was read
        return tuple(jobs)

    def cancel(self, job_id: str) -> None:
        """End a job: a queued one at once, a running one within a step. An ended one is left as it is.  Raises NotFound."""
        job = self.job(job_id)
        state = self._store.cancel(job_id)
        job.cancel_wanted = state in ("queued", "running")
        with self._lock:
            run = self._runs.get(job_id)
        if run:
            run.cancel()
        elif state == "queued":
            self._tell_end(job, Cancelled(), 0.0)
            self._trim()

    def cancel_all(self) -> None:
        """End every job, running or queued. The queued go first, or one would start in the place of each that ends."""
        unfinished = [status.id for status in self._store.statuses() if status.state in ("queued", "running")]
        for job_id in reversed(unfinished):
            self.cancel(job_id)

    def skip(self, job_id: str) -> None:
        """End only the batch being drawn; a job that is not running is left as it is.  Raises NotFound."""
        job = self.job(job_id)
        progress = job.log.latest(Progress)
        job.skipped_batch = progress.batch if progress else 0
        self._around.engine.skip(job_id)

    def move(self, job_id: str, position: int) -> None:
        """Give a queued job another place, 0 being the next to run.  Raises NotFound, InvalidRequest when it is not queued."""
        if position < 0:
            raise InvalidRequest(f"Position {position} is before the queue's beginning; 0 is the next to run.")
        self._store.move(job_id, position)

    def pause(self) -> None:
        """Let running jobs finish and start no other, until `resume`, also after a restart."""
        self._store.pause(True)

    def resume(self) -> None:
        """Start jobs again."""
        self._store.pause(False)
        self._notify()

    @property
    def paused(self) -> bool:
        """Whether no job may start."""
        return self._store.paused

    def close(self) -> None:
        """Stop, within a second or two; running jobs go back to the queue with what they have saved. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._notify()
        with self._lock:
            runs, jobs = list(self._runs.values()), list(self._jobs.values())
        for run in runs:
            run.interrupt()
        deadline = time.monotonic() + SECONDS_TO_STOP
        started = [thread for thread in self._threads if thread.ident is not None and thread is not threading.current_thread()]
        for thread in started:
            thread.join(max(0.0, deadline - time.monotonic()))
        for job in jobs:
            job.log.close()
        self._store.release_queued()
        if any(thread.is_alive() for thread in started):
            # They still own their jobs, so the lock is kept until the process ends; the next start takes the jobs up.
            log.warning("A job did not stop in %g s; it stays in the queue and goes on at the next start.", SECONDS_TO_STOP)
            return
        self._owners.release()
        self._database.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            seen = self._changes
            try:
                row = self._store.claim()
                if row:
                    self._run(row)
            except Exception:  # the border of the job worker: a full disk must not end it
                log.exception("A job worker failed; it goes on")
                self._closing.wait(SECONDS_BETWEEN_LOOKS)
                continue
            if row is None:
                with self._change:
                    self._change.wait_for(partial(self._has_changed_since, seen))

    def _run(self, row: JobRow) -> None:
        with self._lock:
            job = self._known(row.id)
            run = run_of(job, self._around, wants_cancel=row.cancel_wanted)
            self._runs[row.id] = run
        job.started_at = row.started_at
        if self._closing.is_set():
            run.is_interrupted = True  # claimed while `close` was collecting the runs
        try:
            self._settle(run, why_unreadable(row) or run.execute())
        finally:
            with self._lock:
                self._runs.pop(row.id, None)
        self._trim()

    def _settle(self, run: Run, end: Finished | Cancelled | Failed) -> None:
        job = run.job
        if run.is_interrupted and not run.wants_cancel and not isinstance(end, Finished):
            self._store.put_back(job.id)
            job.started_at = None
            return
        state: JobState = "failed" if isinstance(end, Failed) else "cancelled" if isinstance(end, Cancelled) else "finished"
        message, kind = (end.message, end.kind) if isinstance(end, Failed) else ("", "")
        remarks = job.result_after(run.seconds).remarks
        try:
            self._store.end(job.id, state, seconds=run.seconds, remarks=remarks, message=message, kind=kind)
            if job.save and isinstance(job.request, GenerationRequest) and job.request.script:
                self._outputs.forget_unsaved(job.id)  # what its script had drawn only to go on from
        finally:
            self._tell_end(job, end, run.seconds)  # also when the disk is full: somebody waits for it

    def _tell_end(self, job: Job, end: Finished | Cancelled | Failed, seconds: float) -> None:
        if isinstance(end, Failed):
            job.log.append(end)
            return
        result = job.result_after(seconds)
        job.log.append(type(end)(result))
        try:
            self._around.hooks.job_finished(job.id, result)
        except Exception:  # the border to extensions: the job is done, whatever they make of it
            log.exception("An extension failed after job %r had ended", job.id)

    def _look_after(self) -> None:
        """What other processes do is seen by looking, once a second."""
        while not self._closing.wait(SECONDS_BETWEEN_LOOKS):
            try:
                self._release_dead(self._store.owners())
                self._hear_from_others()
                if self._store.has_claimable():
                    self._notify()
            except (sqlite3.Error, OSError):
                log.exception("The queue's file cannot be used; trying again")

    def _release_dead(self, owners: set[str]) -> None:
        """Queue again what processes that have died were running."""
        for owner in owners:
            with self._owners.inherit(owner) as is_dead:
                if is_dead:
                    running = self._store.running_of(owner)
                    for job_id in running:
                        self._outputs.recover(job_id)
                    self._store.release(owner)
                    if running:
                        log.warning("%d jobs of a process that ended without warning are queued again.", len(running))

    def _hear_from_others(self) -> None:
        """Cancel what others want cancelled; tell the readers here of jobs that others run or have ended."""
        statuses = {status.id: status for status in self._store.statuses()}
        with self._lock:
            runs = dict(self._runs)
            idle = [job for job in self._jobs.values() if job.id not in runs]
        for job_id in self._store.wanted_cancels():
            if job_id in runs:
                runs[job_id].cancel()
        for job in idle:
            status = statuses.get(job.id)
            if status and not job.log.ended and status.owner != self._owners.id:
                self._catch_up(job)
            elif status is None and job.log.ended:
                with self._lock:
                    self._jobs.pop(job.id, None)

    def _catch_up(self, job: Job) -> None:
        try:
            row = self._store.row(job.id)
        except NotFound:
            return
        if row.owner != self._owners.id:  # else a worker here has just taken it
            bring_up_to_date(job, row, self._outputs.pictures_of(job.id))

    def _known(self, job_id: str) -> Job:
        """The job as its readers here hold it, else rebuilt. The caller has the lock."""
        job = self._jobs.get(job_id)
        if job is None:
            job = rebuild(self._store.row(job_id), self._outputs.pictures_of(job_id))
            self._jobs[job_id] = job
        return job

    def _retire(self, job_id: str) -> None:
        """Clients of A1111 may send the same task id each time, so an ended job does not keep its id."""
        with self._lock:
            if self._store.retire(job_id):
                self._jobs.pop(job_id, None)
                self._outputs.forget_unsaved(job_id)

    def _trim(self) -> None:
        """Forget jobs that ended long ago, and those of their pictures that were not to be kept."""
        for job_id in self._store.ended_beyond(ENDED_JOBS_KEPT):
            self._outputs.forget_unsaved(job_id)
            self._store.delete(job_id)
            with self._lock:
                self._jobs.pop(job_id, None)

    def _has_changed_since(self, seen: int) -> bool:
        return self._changes != seen or self._closing.is_set()

    def _notify(self, workers: int | None = None) -> None:
        """Wake so many workers, None for all: there may be as many jobs to claim. All at once would only wait for each other's claims."""
        with self._change:
            self._changes += 1
            self._change.notify(len(self._threads) if workers is None else workers)


def _checked_id(job_id: str | None) -> str:
    if job_id is None:
        return secrets.token_urlsafe(12)
    if not 0 < len(job_id) <= MAX_ID:
        raise InvalidRequest(f"A job's id has 1 to {MAX_ID} characters; this one has {len(job_id)}. Give another, or none.")
    try:
        job_id.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"The job's id {job_id!r} is not valid Unicode text. Give another, or none.") from None
    return job_id
