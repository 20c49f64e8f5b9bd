"""Who may have how much: each client's share of the queue, and jobs that a client may ask for twice without having them twice."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path

from fastapi import Request

from webui.api.access import read_basic, read_bearer, session_key
from webui.app import App, Job
from webui.core.errors import InvalidRequest, NotFound, QueueFull, WebuiError

KEYS_KEPT = 10_000
LOCKS = 64
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class Conflict(WebuiError):
    """The same idempotency key was used for something else before."""


def client_of(request: Request) -> str:
    """Who asks: the user's name where there are users, else the address. The gate has compared the password."""
    header = request.headers.get("authorization")
    given = read_basic(header) or read_bearer(header)
    return f"user {given[0]}" if given else f"address {request.client.host if request.client else ''}"


class Admission:
    """Lets clients put jobs into the queue, each its share; counts what came through this process. For any thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._jobs: dict[str, list[Job]] = {}
        self._being_submitted: Counter[str] = Counter()

    def submit(self, client: str, submit: Callable[[], Job]) -> Job:
        """Submit one more job of a client.  Raises QueueFull when that client has as many as it may, and what `submit` raises."""
        limit = self._app.settings.snapshot().max_jobs_of_client
        with self._lock:
            used = len(self._unfinished(client)) + self._being_submitted[client]
            if limit and used >= limit:
                raise QueueFull(f"{used} of your jobs wait or run, and {limit} may. Try again when some are done, or cancel some.")
            self._being_submitted[client] += 1
        try:
            job = submit()
        except BaseException:
            self._has_submitted(client, None)
            raise
        self._has_submitted(client, job)
        return job

    def _has_submitted(self, client: str, job: Job | None) -> None:
        with self._lock:
            self._being_submitted[client] -= 1
            if not self._being_submitted[client]:
                del self._being_submitted[client]
            unfinished = [*self._unfinished(client), *([job] if job else [])]
            if unfinished:
                self._jobs[client] = unfinished
            else:
                self._jobs.pop(client, None)

    def _unfinished(self, client: str) -> list[Job]:
        return [job for job in self._jobs.get(client, ()) if not job.log.ended]


class Idempotency:
    """Jobs by the key that a client gave them, so that what is sent twice, because an answer was lost, is drawn once.

    The key makes the job's id, so that it holds over a restart; ids of others cannot be computed without the server's secret.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._key_file: Path = app.paths.state / "session.key"
        self._lock = threading.Lock()
        # One for each of so many groups of keys: two requests with one key wait for each other, others seldom.
        self._locks = tuple(threading.Lock() for _ in range(LOCKS))
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def job_id(self, client: str, key: str) -> str:
        """The id of the job with this key.  Raises InvalidRequest."""
        if not _KEY.fullmatch(key):
            raise InvalidRequest("Idempotency-Key: give 1 to 200 letters, digits and signs, without spaces; a UUID is best.")
        digest = hmac.new(session_key(self._key_file), f"{client}\n{key}".encode(), hashlib.sha256)
        return f"key-{digest.hexdigest()[:32]}"

    def submit(self, job_id: str, body: bytes, submit: Callable[[str], Job]) -> tuple[Job, bool]:
        """The job, and whether it is a new one.  Raises Conflict when the key came with another body before."""
        digest = hashlib.sha256(body).digest()
        with self._locks[zlib.crc32(job_id.encode()) % LOCKS]:
            try:
                job = self._app.queue.job(job_id)
            except NotFound:
                job = submit(job_id)
                self._remember(job_id, digest)
                return job, True
            with self._lock:
                known = self._bodies.get(job_id)
            if known not in (None, digest):
                raise Conflict("Idempotency-Key: this key was sent with another request before. Give each request a key of its own.")
            self._remember(job_id, digest)
            return job, False

    def _remember(self, job_id: str, digest: bytes) -> None:
        with self._lock:
            self._bodies[job_id] = digest
            self._bodies.move_to_end(job_id)
            while len(self._bodies) > KEYS_KEPT:
                self._bodies.popitem(last=False)
