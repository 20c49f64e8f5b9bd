"""What has been found out about files, kept in SQLite so that it is found out once. A cache: losing it costs time only."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from webui.catalog.scan import ModelFile
from webui.core.sqlite_files import use_wal

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

SECONDS_TO_WAIT_FOR_OTHERS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (path, kind)
) WITHOUT ROWID
"""


class Index:
    """Facts about files, each valid for one size and modification time. Safe from several threads and processes.

    A damaged database is moved aside and begun anew; one that cannot be written at all is replaced by memory.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._closed = False
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open_or_rebuild()
        except (OSError, sqlite3.OperationalError) as error:
            log.warning("%s cannot be used (%s); what is found out about models is kept in memory only.", database, error)
            self._connection = _open(":memory:")

    def get(self, file: ModelFile, kind: str) -> str | None:
        """The fact of that kind, if it was noted for the file as it is now."""

        def ask(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT value FROM facts WHERE path = ? AND kind = ? AND size = ? AND mtime_ns = ?",
                (str(file.path), kind, file.size, file.mtime_ns),
            ).fetchone()
            return str(row[0]) if row else None

        return self._try(ask)

    def put(self, file: ModelFile, kind: str, value: str) -> None:
        """Note a fact about the file as it is now, in place of an older one."""

        def note(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(
                    "INSERT OR REPLACE INTO facts (path, kind, size, mtime_ns, value) VALUES (?, ?, ?, ?, ?)",
                    (str(file.path), kind, file.size, file.mtime_ns, value),
                )

        self._try(note)

    def close(self) -> None:
        """Close the database. Idempotent; afterwards nothing is known."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def _try(self, action: Callable[[sqlite3.Connection], Answer | None]) -> Answer | None:
        """Do it; once more after mending a damaged database; nothing when the database cannot be used just now."""
        with self._lock:
            if self._closed:
                return None
            try:
                return action(self._connection)
            except sqlite3.OperationalError as error:
                log.warning("%s cannot be used just now: %s", self._database, error)
                return None
            except sqlite3.DatabaseError as error:
                log.warning("%s is damaged (%s)", self._database, error)
            try:
                self._connection.close()
                self._connection = self._open_or_rebuild()
                return action(self._connection)
            except (OSError, sqlite3.DatabaseError) as error:
                log.warning("%s cannot be used just now: %s", self._database, error)
                return None

    def _open_or_rebuild(self) -> sqlite3.Connection:
        # Opening again first: another process may have mended the file in the meantime.
        try:
            return _open(str(self._database))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._move_aside()
            return _open(str(self._database))

    def _move_aside(self) -> None:
        aside = self._database.with_name(f"{self._database.name}.damaged-{time.time_ns()}")
        self._database.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._database.with_name(self._database.name + suffix).unlink(missing_ok=True)
        log.warning("%s was damaged; it is now %s, and a new one is begun.", self._database, aside.name)


def _open(database: str) -> sqlite3.Connection:
    """A connection to a sound database.  Raises sqlite3.DatabaseError for a damaged one."""
    connection = sqlite3.connect(database, timeout=SECONDS_TO_WAIT_FOR_OTHERS, check_same_thread=False)
    try:
        use_wal(connection, SECONDS_TO_WAIT_FOR_OTHERS)
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the quick check found faults")
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
