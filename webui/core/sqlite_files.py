"""SQLite files that several threads and processes open at once."""

from __future__ import annotations

import sqlite3
import time

PAUSE = 0.02


def use_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Let readers and a writer work side by side, also after a crash.

    Changing to that mode is the one thing for which SQLite does not wait while another process does the same, so it is tried
    again here.  seconds: for how long.  Raises sqlite3.OperationalError thereafter.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
