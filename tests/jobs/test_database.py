"""The queue's SQLite file: shared by threads and programs, refused when it cannot be used."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from webui.core.errors import StartupError
from webui.jobs.database import Database


def test_what_is_written_by_one_connection_is_read_by_another(tmp_path: Path) -> None:
    first, second = Database(tmp_path / "state" / "queue.sqlite"), Database(tmp_path / "state" / "queue.sqlite")
    first.write("INSERT INTO flags VALUES ('x')")
    assert [row["name"] for row in second.rows("SELECT name FROM flags")] == ["x"]
    assert second.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert second.rows("PRAGMA synchronous")[0][0] == 2


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "queue.sqlite")

    def write_and_fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO flags VALUES ('x')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert database.rows("SELECT * FROM flags") == []
    assert database.write("INSERT INTO flags VALUES ('x')") == 1


def test_many_threads_open_a_new_file_at_once_and_write_into_it(tmp_path: Path) -> None:
    def write(number: int) -> None:
        database = Database(tmp_path / "queue.sqlite")
        for step in range(10):
            database.write("INSERT INTO flags VALUES (?)", (f"{number} {step}",))
        database.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Database(tmp_path / "queue.sqlite").rows("SELECT count(*) FROM flags")[0][0] == 80


def test_a_damaged_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_bytes(b"this is not a database, however long it is" * 100)
    with pytest.raises(StartupError, match=r"cannot be used \(file is not a database\)\. Move it away"):
        Database(tmp_path / "queue.sqlite")


def test_a_newer_versions_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    Database(tmp_path / "queue.sqlite").close()
    connection = sqlite3.connect(tmp_path / "queue.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StartupError, match="newer version"):
        Database(tmp_path / "queue.sqlite")


def test_only_what_must_be_on_the_disk_waits_for_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "queue.sqlite")
    waits = []
    for durable in (True, False, True):
        with database.transaction(durable=durable) as connection:
            waits.append(connection.execute("PRAGMA synchronous").fetchone()[0])
    assert waits == [2, 1, 2]  # FULL, NORMAL, FULL
