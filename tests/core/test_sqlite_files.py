"""SQLite files can be opened by many at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from webui.core.sqlite_files import use_wal


class Locked:
    """A connection that is locked so many times."""

    def __init__(self, times: int, says: str = "database is locked") -> None:
        self.times = times
        self.says = says

    def execute(self, sql: str) -> None:
        assert sql == "PRAGMA journal_mode = WAL"
        self.times -= 1
        if self.times >= 0:
            raise sqlite3.OperationalError(self.says)


def test_a_lock_is_waited_for() -> None:
    connection = Locked(3)
    use_wal(connection, 10.0)  # type: ignore[arg-type]
    assert connection.times == -1


@pytest.mark.parametrize(("connection", "seconds"), [(Locked(10**9), 0.05), (Locked(1, "disk I/O error"), 10.0)])
def test_what_does_not_end_is_told(connection: Locked, seconds: float) -> None:
    with pytest.raises(sqlite3.OperationalError, match=connection.says):
        use_wal(connection, seconds)  # type: ignore[arg-type]


def test_many_may_begin_at_once(tmp_path: Path) -> None:
    modes: list[str] = []

    def begin() -> None:
        connection = sqlite3.connect(tmp_path / "x.sqlite")
        use_wal(connection, 20.0)
        modes.append(connection.execute("PRAGMA journal_mode").fetchone()[0])
        connection.close()

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert modes == ["wal"] * 8
