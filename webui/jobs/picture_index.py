"""The index of outputs/: every picture there, whoever drew it, found by what its infotext says.

It is a cache in a SQLite file of its own and can be made anew from the files; only favourites live nowhere else.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock
from PIL import Image

from webui.core.errors import Closing, InvalidRequest, NotFound, WebuiError
from webui.core.gallery import IndexedPicture, PictureQuery
from webui.core.images import MAX_PIXELS
from webui.core.metadata import read as read_metadata
from webui.core.sqlite_files import use_wal

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif")
TRASH = ".trash"
MAX_FOUND = 500
MAX_QUERY = 500
SECONDS_TO_WAIT_FOR_OTHERS = 10.0
# A folder that changed so shortly before it was listed may have changed again within the same tick of its clock.
TICK_NS = 2 * 10**9
VERSION = 1

_SCHEMA = """
CREATE TABLE pictures (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL,
    mtime_ns INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX pictures_by_time ON pictures (mtime_ns DESC, number DESC);
CREATE INDEX pictures_by_folder ON pictures (folder);
CREATE TABLE folders (path TEXT PRIMARY KEY, parent TEXT NOT NULL, mtime_ns INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (infotext, path, content = 'pictures', content_rowid = 'number');
CREATE TRIGGER picture_added AFTER INSERT ON pictures BEGIN
    INSERT INTO words (rowid, infotext, path) VALUES (new.number, new.infotext, new.path);
END;
CREATE TRIGGER picture_removed AFTER DELETE ON pictures BEGIN
    INSERT INTO words (words, rowid, infotext, path) VALUES ('delete', old.number, old.infotext, old.path);
END;
"""


class PictureIndex:
    """Owner of the index. Every method may be called from any thread."""

    def __init__(self, outputs: Path, database: Path) -> None:
        self._outputs = outputs
        self._database = database
        self._lock = threading.RLock()
        self._scanning = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    def find(self, query: PictureQuery) -> tuple[list[IndexedPicture], int]:
        """The pictures that a query means, the newest first, and how many there are in all.  Raises InvalidRequest."""
        conditions, values = ["1"], []
        if words := _match(query.text):
            conditions.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(words)
        if query.favourites:
            conditions.append("favourite")
        where, order = " AND ".join(conditions), "ASC" if query.oldest_first else "DESC"
        first, count = max(0, query.first), min(max(0, query.count), MAX_FOUND)
        with self._open() as connection:
            total = connection.execute(f"SELECT count(*) FROM pictures WHERE {where}", values).fetchone()[0]  # noqa: S608  only ours
            rows = connection.execute(
                f"SELECT * FROM pictures WHERE {where} ORDER BY mtime_ns {order}, number {order} LIMIT ? OFFSET ?",  # noqa: S608
                (*values, count, first),
            ).fetchall()
        return [_picture(row) for row in rows], int(total)

    def picture(self, picture_id: str) -> IndexedPicture:
        """The picture of that id.  Raises NotFound."""
        with self._open() as connection:
            row = connection.execute("SELECT * FROM pictures WHERE id = ?", (picture_id,)).fetchone()
        if row is None:
            raise NotFound(f"There is no picture {picture_id[:80]!r} (any more).")
        return _picture(row)

    def picture_at(self, path: Path) -> IndexedPicture:
        """The picture of that file, which may have come a moment ago.  Raises NotFound."""
        self.refresh()
        name = path.relative_to(self._outputs).as_posix() if path.is_relative_to(self._outputs) else ""
        with self._open() as connection:
            row = connection.execute("SELECT * FROM pictures WHERE path = ?", (name,)).fetchone()
        if row is None:
            raise NotFound(f"{path.name} is not in outputs/ (any more).")
        return _picture(row)

    def file(self, picture: IndexedPicture) -> Path:
        """Where it lies.  Raises NotFound when it is gone, or a link leads out of outputs/."""
        path = self._outputs / picture.path
        if not path.is_file() or not path.resolve().is_relative_to(self._outputs.resolve()):
            raise NotFound(f"{picture.path} is not there (any more).")
        return path

    def set_favourite(self, ids: Sequence[str], *, on: bool) -> int:
        """Mark pictures, or take the mark away; how many. Unknown ids are ignored."""
        with self._open() as connection:
            return connection.executemany("UPDATE pictures SET favourite = ? WHERE id = ?", [(on, one) for one in ids]).rowcount

    def throw_away(self, ids: Sequence[str]) -> int:
        """Move pictures into the hidden folder .trash of outputs/, each under its own path there; how many.  Raises WebuiError."""
        moved = 0
        for picture_id in ids:
            picture = self.picture(picture_id)
            target = self._outputs / TRASH / picture.path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                while target.exists():
                    target = target.with_name(f"{target.stem}-{secrets.token_hex(3)}{target.suffix}")
                shutil.move(self.file(picture), target)
            except OSError as error:
                raise WebuiError(f"{picture.path} cannot be moved into the trash: {error.strerror or error}.") from None
            with self._open() as connection:
                connection.execute("DELETE FROM pictures WHERE id = ?", (picture_id,))
            moved += 1
        return moved

    def refresh(self, *, anew: bool = False) -> int:
        """Take in what has come and let go of what has gone; how many changed. A second call waits for the first.

        anew: look into every folder, also those that seem unchanged, and read every file again; favourites stay.
        """
        with self._scanning:
            return _Scan(self._outputs, self._open, anew=anew).run()

    def close(self) -> None:
        """Close the file. Idempotent; whoever looks through the folder just now is told that the program is ending."""
        with self._lock:
            self._is_closed = True
            if self._connection:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, one thread at a time; what is done inside is one transaction. A damaged file is begun anew.

        Raises WebuiError when the file cannot be read or written just now, Closing.
        """
        with self._lock:
            if self._is_closed:
                raise Closing("The program is ending.")
            try:
                if self._connection is None:
                    self._connection = _connect(self._database)
                with self._connection:
                    yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise WebuiError(f"The gallery's index {self._database.name} cannot be used ({error}). Is the disk full?") from None


class _Scan:
    """One look through outputs/."""

    def __init__(self, outputs: Path, open_index: Callable[[], AbstractContextManager[sqlite3.Connection]], *, anew: bool) -> None:
        self._outputs = outputs
        self._open = open_index
        self._anew = anew
        self._changed = 0

    def run(self) -> int:
        """Begin at the top."""
        self._visit("")
        return self._changed

    def _visit(self, folder: str) -> None:
        path = self._outputs / folder
        try:
            mtime = path.stat().st_mtime_ns
        except OSError:
            self._forget(folder)
            return
        with self._open() as index:
            known = index.execute("SELECT mtime_ns FROM folders WHERE path = ?", (folder,)).fetchone()
            below = [row["path"] for row in index.execute("SELECT path FROM folders WHERE parent = ? AND path != ''", (folder,))]
        if self._anew or known is None or known["mtime_ns"] != mtime:
            below = self._list(folder, path, mtime, below)
        for one in below:
            self._visit(one)

    def _list(self, folder: str, path: Path, mtime: int, known_below: Sequence[str]) -> list[str]:
        """Take in one folder's files; the folders in it."""
        files: dict[str, int] = {}
        below: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    below.append(name)
                elif entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file():
                    files[name] = entry.stat().st_mtime_ns
        with self._open() as index:
            rows = index.execute("SELECT path, mtime_ns FROM pictures WHERE folder = ?", (folder,)).fetchall()
        known = {row["path"]: row["mtime_ns"] for row in rows}
        new = {name: time_ns for name, time_ns in files.items() if self._anew or known.get(name) != time_ns}
        read = [(name, time_ns, *_read(self._outputs / name)) for name, time_ns in new.items()]
        gone = [name for name in known if name not in files]
        settled = mtime if time.time_ns() - mtime > TICK_NS else 0
        with self._open() as index:
            for name, time_ns, width, height, infotext in read:
                _put(index, folder, name, time_ns, width, height, infotext)
            index.executemany("DELETE FROM pictures WHERE path = ?", [(name,) for name in gone])
            index.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?)", (folder, folder.rpartition("/")[0], settled))
        self._changed += len(new) + len(gone)
        for one in set(known_below) - set(below):
            self._forget(one)
        return below

    def _forget(self, folder: str) -> None:
        """A folder that is gone, with all below it."""
        with self._open() as index:
            inside = (folder, folder + "/", folder + "0")  # "0" is what comes after "/"
            self._changed += index.execute("DELETE FROM pictures WHERE folder = ? OR (folder > ? AND folder < ?)", inside).rowcount
            index.execute("DELETE FROM folders WHERE path = ? OR (path > ? AND path < ?)", inside)


def _put(index: sqlite3.Connection, folder: str, name: str, mtime_ns: int, width: int, height: int, infotext: str) -> None:
    """A picture's row as it is now; id and favourite of an older one stay."""
    old = index.execute("SELECT id, favourite FROM pictures WHERE path = ?", (name,)).fetchone()
    index.execute("DELETE FROM pictures WHERE path = ?", (name,))
    index.execute(
        "INSERT INTO pictures (id, path, folder, mtime_ns, width, height, infotext, favourite) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (old["id"] if old else secrets.token_urlsafe(12), name, folder, mtime_ns, width, height, infotext, old["favourite"] if old else 0),
    )


def _read(path: Path) -> tuple[int, int, str]:
    """Width, height and infotext of a file; of one that cannot be read, nothing."""
    try:
        with Image.open(path) as image:
            width, height = image.size
        infotext = read_metadata(path.read_bytes()).infotext
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, WebuiError):
        return 0, 0, ""
    return (width, height, infotext) if width * height <= MAX_PIXELS else (0, 0, "")


def _match(text: str) -> str:
    """What SQLite's full-text search is asked.  Raises InvalidRequest."""
    if len(text) > MAX_QUERY:
        raise InvalidRequest(f"Search: got {len(text)} characters; at most {MAX_QUERY} are looked for.")
    parts = re.findall(r'"([^"]*)"|(\S+)', text)
    asked = []
    for quoted, single in parts:
        words = re.findall(r"\w+", quoted or single)
        if words:
            phrase = " ".join(words)
            asked.append(f'"{phrase}"' if quoted else f'"{phrase}"*')
    return " ".join(asked)


def _picture(row: sqlite3.Row) -> IndexedPicture:
    return IndexedPicture(
        row["id"], row["path"], row["mtime_ns"] / 1e9, row["width"], row["height"], row["infotext"], bool(row["favourite"])
    )


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Making the tables, and moving a damaged file aside, are for one process at a time.
    with FileLock(path.with_name(f"{path.name}.opening.lock")):
        try:
            return _made(path)
        except sqlite3.OperationalError:
            raise  # locked, or nowhere to write: that says nothing against the file
        except sqlite3.DatabaseError:
            # A cache: what is damaged, or of another version, is moved aside and made anew from the pictures.
            path.replace(path.with_name(f"{path.name}.damaged"))
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            return _made(path)


def _made(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=SECONDS_TO_WAIT_FOR_OTHERS, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        use_wal(connection, SECONDS_TO_WAIT_FOR_OTHERS)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError("another version")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
