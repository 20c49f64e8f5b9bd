"""A change of a file is noticed, be it ever so quick."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from webui.core.file_stamps import SETTLED_NS, FileStamp


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that last changed a minute ago."""
    file = tmp_path / "a.txt"
    file.write_text("old")
    os.utime(file, ns=(0, time.time_ns() - 60_000_000_000))
    return file


def test_a_file_that_did_not_change_holds(path: Path) -> None:
    assert FileStamp.of(path).holds(path)


def test_a_file_that_changed_does_not(path: Path) -> None:
    stamp = FileStamp.of(path)
    path.write_text("new")
    assert not stamp.holds(path)


def test_a_file_that_went_or_came_does_not_hold(path: Path) -> None:
    there = FileStamp.of(path)
    path.unlink()
    gone = FileStamp.of(path)
    assert not there.holds(path)
    assert gone.holds(path)
    path.write_text("again")
    assert not gone.holds(path)


def test_a_recent_change_is_never_trusted_because_another_may_leave_the_same_time(path: Path) -> None:
    path.write_text("new")
    assert not FileStamp.of(path).holds(path)


def test_a_time_in_the_future_is_never_trusted(path: Path) -> None:
    os.utime(path, ns=(0, time.time_ns() + 100 * SETTLED_NS))
    assert not FileStamp.of(path).holds(path)


def test_a_folder_changes_with_what_is_in_it(path: Path) -> None:
    os.utime(path.parent, ns=(0, time.time_ns() - 60_000_000_000))
    stamp = FileStamp.of(path.parent)
    assert stamp.holds(path.parent)
    (path.parent / "b.txt").write_text("b")
    assert not stamp.holds(path.parent)
