"""The index of pictures: by id, by job, and which of them are still being saved. Rows only; the files are Outputs' own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from webui.jobs.database import Database


@dataclass(frozen=True)
class Entry:
    """One picture's row.

    saved: whether it lies in outputs/ (else among the unsaved).   path: relative to that folder, with "/".
    sha256: of the file's bytes.   is_complete: False while the file is being written.   request: JSON.
    """

    id: str
    job_id: str
    position: int
    saved: bool
    path: str
    sha256: str
    request: str
    infotext: str
    is_complete: bool = False


class Gallery:
    """Rows of pictures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_name(self, entry: Entry, candidates: Iterable[str]) -> str:
        """Write an unfinished picture's row with the first of these paths that no other unfinished picture has; that path.

        The row of one that is not to be kept may be lost with the power: its job's end is lost then too, so that the job runs again.
        """
        taken = "SELECT 1 FROM pictures WHERE saved = ? AND path = ? AND state = 'saving' AND id != ?"
        with self._database.transaction(durable=entry.saved) as connection:
            path = next(path for path in candidates if not connection.execute(taken, (entry.saved, path, entry.id)).fetchone())
            connection.execute(
                "INSERT INTO pictures (id, job_id, position, saved, path, sha256, state, request, infotext) "
                "VALUES (?, ?, ?, ?, ?, ?, 'saving', ?, ?) ON CONFLICT (id) DO UPDATE SET path = excluded.path",
                (entry.id, entry.job_id, entry.position, entry.saved, path, entry.sha256, entry.request, entry.infotext),
            )
        return path

    def complete(self, picture_id: str) -> None:
        """The picture's file is whole and has its final name."""
        self._database.write("UPDATE pictures SET state = 'saved' WHERE id = ?", (picture_id,), durable=False)

    def delete(self, picture_id: str) -> None:
        """Forget a picture."""
        self._database.write("DELETE FROM pictures WHERE id = ?", (picture_id,))

    def delete_unsaved_of(self, job_id: str) -> None:
        """Forget the pictures of a job that were not to be kept."""
        self._database.write("DELETE FROM pictures WHERE job_id = ? AND NOT saved", (job_id,), durable=False)

    def find(self, picture_id: str) -> Entry | None:
        """The picture of that id, if it is complete."""
        rows = self._database.rows("SELECT * FROM pictures WHERE id = ? AND state = 'saved'", (picture_id,))
        return _entry(rows[0]) if rows else None

    def of_job(self, job_id: str) -> list[Entry]:
        """All pictures of a job by index, the unfinished too."""
        rows = self._database.rows("SELECT * FROM pictures WHERE job_id = ? ORDER BY position", (job_id,))
        return [_entry(row) for row in rows]

    def interrupted(self) -> list[str]:
        """Jobs that nobody runs but that have unfinished pictures."""
        sql = (
            "SELECT DISTINCT job_id FROM pictures WHERE state = 'saving' "
            "AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_id AND jobs.state = 'running')"
        )
        return [row["job_id"] for row in self._database.rows(sql)]

    def jobs(self) -> list[str]:
        """All jobs that the queue still knows."""
        return [row["id"] for row in self._database.rows("SELECT id FROM jobs")]

    def has_other_at(self, entry: Entry) -> bool:
        """Whether another, complete picture has the same path."""
        sql = "SELECT 1 FROM pictures WHERE saved = ? AND path = ? AND state = 'saved' AND id != ?"
        return bool(self._database.rows(sql, (entry.saved, entry.path, entry.id)))


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        id=row["id"],
        job_id=row["job_id"],
        position=row["position"],
        saved=bool(row["saved"]),
        path=row["path"],
        sha256=row["sha256"],
        request=row["request"],
        infotext=row["infotext"],
        is_complete=row["state"] == "saved",
    )
