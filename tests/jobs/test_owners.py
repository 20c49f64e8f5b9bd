"""Who owns jobs, and who is dead."""

from __future__ import annotations

import threading
from pathlib import Path

from webui.jobs.owners import Ownership


def test_a_living_owner_is_not_inherited(tmp_path: Path) -> None:
    mine, theirs = Ownership(tmp_path), Ownership(tmp_path)
    assert mine.id != theirs.id
    assert mine.others() == {theirs.id}
    with mine.inherit(theirs.id) as is_dead:
        assert not is_dead
    assert mine.others() == {theirs.id}


def test_a_dead_owner_is_inherited_by_one_only_and_leaves_no_file(tmp_path: Path) -> None:
    first, second = Ownership(tmp_path), Ownership(tmp_path)
    (tmp_path / "gone.lock").touch()
    with first.inherit("gone") as is_dead, second.inherit("gone") as is_dead_too:
        assert is_dead
        assert not is_dead_too
    assert first.others() == {second.id}


def test_an_owner_without_a_file_is_dead(tmp_path: Path) -> None:
    with Ownership(tmp_path).inherit("never was") as is_dead:
        assert is_dead
    assert not (tmp_path / "never was.lock").exists()


def test_an_inheritance_that_fails_is_left_to_the_next(tmp_path: Path) -> None:
    mine = Ownership(tmp_path)
    (tmp_path / "gone.lock").touch()
    try:
        with mine.inherit("gone"):
            raise RuntimeError
    except RuntimeError:
        pass
    assert mine.others() == {"gone"}
    with mine.inherit("gone") as is_dead:
        assert is_dead


def test_released_in_another_thread_it_is_dead_to_others(tmp_path: Path) -> None:
    mine, theirs = Ownership(tmp_path), Ownership(tmp_path)
    thread = threading.Thread(target=theirs.release)
    thread.start()
    thread.join(5)
    assert mine.others() == set()
    with mine.inherit(theirs.id) as is_dead:
        assert is_dead
