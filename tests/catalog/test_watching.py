"""The model folders are looked at again by themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalog.model_files import write_model
from webui.catalog import watching
from webui.catalog.watching import FolderWatch


@pytest.fixture(params=[False, True], ids=["events", "polling"])
def seen(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set when the folder was found to have changed."""
    if request.param:
        usual = FolderWatch._watch
        monkeypatch.setattr(watching, "POLL", 100)

        def fail_first(watch: FolderWatch, folders: list[Path], *, polls: bool) -> None:
            if not polls:
                raise OSError("no more watches")
            usual(watch, folders, polls=polls)

        monkeypatch.setattr(FolderWatch, "_watch", fail_first)
    seen = threading.Event()
    watch = FolderWatch([tmp_path, tmp_path / "absent"], seen.set)
    watch.start()
    threading.Event().wait(1.0)  # until the system watches
    yield seen
    watch.close()
    assert not watch._thread.is_alive()


def test_a_new_model_is_noticed(seen: threading.Event, tmp_path: Path) -> None:
    write_model(tmp_path / "sub" / "new.safetensors")
    assert seen.wait(30)


def test_what_is_no_models_affair_is_passed_over(seen: threading.Event, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / ".half.safetensors.part").write_bytes(b"x")
    assert not seen.wait(2)


def test_a_failing_look_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    twice = threading.Event()

    def changed() -> None:
        calls.append(1)
        if len(calls) > 1:
            twice.set()
        raise ValueError("once")

    watch = FolderWatch([tmp_path], changed)
    watch.start()
    threading.Event().wait(1.0)
    for name in ("a", "b"):
        write_model(tmp_path / f"{name}.safetensors")
        threading.Event().wait(2.0)
    assert twice.wait(30)
    watch.close()
    assert "could not be looked at again" in caplog.text
