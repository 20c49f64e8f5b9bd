"""The queue's SQLite file: its tables, and how threads and processes share it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from webui.core.errors import StartupError
from webui.core.sqlite_files import use_wal

VERSION = 1
SECONDS_TO_WAIT_FOR_OTHERS = 30.0

# A picture has its row before its file: 'saving' until the file is whole under its final name, then 'saved'.
# Only one unfinished picture may lay claim to a name, so that after a crash a file has at most one owner.
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    owner TEXT,
    position INTEGER NOT NULL,
    cancel_wanted INTEGER NOT NULL DEFAULT 0,
    source TEXT NOT NULL,
    save INTEGER NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    seconds REAL NOT NULL DEFAULT 0,
    request TEXT NOT NULL,
    settings TEXT NOT NULL,
    remarks TEXT NOT NULL DEFAULT '[]',
    message TEXT NOT NULL DEFAULT '',
    kind TEXT NOT NULL DEFAULT ''
);
CREATE INDEX jobs_by_state ON jobs (state, position, number);
CREATE TABLE pictures (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    state TEXT NOT NULL,
    request TEXT NOT NULL,
    infotext TEXT NOT NULL,
    UNIQUE (job_id, position)
);
CREATE UNIQUE INDEX names_being_taken ON pictures (saved, path) WHERE state = 'saving';
CREATE INDEX pictures_by_path ON pictures (saved, path);
CREATE TABLE flags (name TEXT PRIMARY KEY);
"""


class Database:
    """One connection to the queue's file, for all threads of this process; other processes have their own.

    What is written outlives the process as soon as it is committed (WAL). A durable transaction has reached the disk too before it
    returns, and all before it; another may be lost when the machine loses power, never half of it and never out of order. Durable is
    what somebody was promised (a job is queued) and what must be on the disk before a file is (a picture's row before its name, if it
    is to be kept).
    The others only spare the next start some work: a claim or an end that is lost makes a job run again, which finds its pictures
    saved and draws none twice; a picture whose file has its name but whose row still says 'saving' is known by its hash.
    Raises StartupError when the file is damaged or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        # Making the tables, and the switch to WAL, which does not wait for others, are for one process at a time.
        with FileLock(path.with_name(f"{path.name}.opening.lock")):
            self._connection = _open(path)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is written inside, with no other writer in between."""
        with self._lock:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[Any] = (), *, durable: bool = True) -> int:
        """Do one statement; how many rows it changed."""
        with self.transaction(durable=durable) as connection:
            return connection.execute(sql, values).rowcount

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=SECONDS_TO_WAIT_FOR_OTHERS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        use_wal(connection, SECONDS_TO_WAIT_FOR_OTHERS)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StartupError(f"The queue's file {path} cannot be used ({error}). Move it away to start with an empty queue.") from None
    if version > VERSION:
        connection.close()
        raise StartupError(f"The queue's file {path} was made by a newer version of this program. Update, or move the file away.")
    return connection
