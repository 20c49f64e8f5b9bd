import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from webui.catalog.index import Index
from webui.catalog.scan import ModelFile

FILE = ModelFile("a.safetensors", Path("/models/a.safetensors"), 10, 1000)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "state" / "catalog.sqlite"


def test_a_fact_is_kept_for_the_next_start(database):
    first = Index(database)
    first.put(FILE, "sha256", "abc")
    first.close()
    second = Index(database)
    assert second.get(FILE, "sha256") == "abc"
    assert second.get(FILE, "legacy") is None
    second.close()


@pytest.mark.parametrize("changed", [{"size": 11}, {"mtime_ns": 1001}, {"path": Path("/models/b.safetensors")}])
def test_a_fact_about_another_version_of_the_file_is_not_believed(database, changed):
    index = Index(database)
    index.put(FILE, "sha256", "abc")
    assert index.get(ModelFile(**{**vars(FILE), **changed}), "sha256") is None
    index.close()


def test_the_name_does_not_matter(database):
    index = Index(database)
    index.put(FILE, "sha256", "abc")
    assert index.get(ModelFile("other/name.safetensors", FILE.path, FILE.size, FILE.mtime_ns), "sha256") == "abc"
    index.close()


def test_it_is_kept_in_wal_mode(database):
    index = Index(database)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    index.close()


def test_a_file_that_is_no_database_is_moved_aside_and_begun_anew(database, caplog):
    database.parent.mkdir()
    database.write_bytes(b"this is no database " * 1000)
    index = Index(database)
    index.put(FILE, "sha256", "abc")
    assert index.get(FILE, "sha256") == "abc"
    index.close()
    (aside,) = database.parent.glob("catalog.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert "damaged" in caplog.text


def test_a_database_with_damaged_pages_is_begun_anew(database):
    index = Index(database)
    for number in range(2000):
        index.put(ModelFile("", Path(f"/{number}"), number, number), "identity", "x" * 200)
    index.close()
    content = bytearray(database.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    database.write_bytes(content)
    index = Index(database)
    index.put(FILE, "sha256", "abc")
    assert index.get(FILE, "sha256") == "abc"
    index.close()


def test_damage_while_it_is_open_is_mended(database):
    index = Index(database)
    index.put(FILE, "sha256", "abc")
    for path in database.parent.iterdir():
        path.write_bytes(b"\x55" * 40_000)
    index._connection.close()
    index._connection = sqlite3.connect(database, check_same_thread=False)
    assert index.get(FILE, "sha256") is None
    index.put(FILE, "sha256", "def")
    assert index.get(FILE, "sha256") == "def"
    index.close()


def test_without_a_place_to_write_facts_are_kept_in_memory(tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the folder should be")
    index = Index(tmp_path / "state" / "catalog.sqlite")
    index.put(FILE, "sha256", "abc")
    assert index.get(FILE, "sha256") == "abc"
    assert "in memory" in caplog.text
    index.close()


def test_after_closing_nothing_is_known_and_nothing_fails(database):
    index = Index(database)
    index.put(FILE, "sha256", "abc")
    index.close()
    index.close()
    assert index.get(FILE, "sha256") is None
    index.put(FILE, "sha256", "abc")


def test_threads_may_write_at_the_same_time(database):
    index = Index(database)

    def write(thread: int) -> None:
        for number in range(50):
            index.put(ModelFile("", Path(f"/{thread}/{number}"), 1, 1), "sha256", f"{thread}-{number}")

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {index.get(ModelFile("", Path(f"/{thread}/{number}"), 1, 1), "sha256") for thread in range(4) for number in range(50)}
    assert found == {f"{thread}-{number}" for thread in range(4) for number in range(50)}
    index.close()


WRITER = """
import sys
from pathlib import Path
from webui.catalog.index import Index
from webui.catalog.scan import ModelFile
index = Index(Path(sys.argv[1]))
for number in range(100):
    index.put(ModelFile("", Path(f"/{sys.argv[2]}/{number}"), 1, 1), "sha256", "x")
index.close()
"""


def test_processes_may_begin_and_write_at_the_same_time(database):
    root = Path(__file__).parents[2]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(database), name], cwd=root) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    index = Index(database)
    known = [index.get(ModelFile("", Path(f"/{name}/{number}"), 1, 1), "sha256") for name in "abc" for number in range(100)]
    index.close()
    assert known == ["x"] * 300
    assert not list(database.parent.glob("*.damaged-*"))
