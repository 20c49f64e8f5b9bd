import hashlib
import threading
from pathlib import Path

import pytest

from tests.catalog.model_files import LORA, write_model
from webui.catalog.hashes import BackgroundHashing, HashingStopped, addnet_hash_of, as_it_is_now, legacy_hash_of, sha256_of
from webui.catalog.scan import ModelFile


def file_of(size: int) -> ModelFile:
    return ModelFile(f"{size}.safetensors", Path(f"/models/{size}.safetensors"), size, 0)


@pytest.mark.parametrize("size", [0, 1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1])
def test_sha256_is_that_of_the_whole_file(tmp_path, size):
    content = bytes(size - 1) + b"x" if size else b""
    (tmp_path / "m").write_bytes(content)
    assert sha256_of(tmp_path / "m") == hashlib.sha256(content).hexdigest()


def test_kohyas_hash_is_that_of_the_data_behind_the_header(tmp_path):
    plain = write_model(tmp_path / "a", LORA, fill=b"x")
    noted = write_model(tmp_path / "b", LORA, {"note": "anything"}, fill=b"x")
    other = write_model(tmp_path / "c", LORA, fill=b"y")
    assert addnet_hash_of(plain) == addnet_hash_of(noted) == hashlib.sha256(b"x" * 16).hexdigest()
    assert addnet_hash_of(other) != addnet_hash_of(plain)
    assert sha256_of(noted) != sha256_of(plain)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 8, b"\xff" * 20])
def test_kohyas_hash_of_a_damaged_file_is_of_nothing(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    assert addnet_hash_of(tmp_path / "m") == hashlib.sha256(b"").hexdigest()


def test_hashing_stops_when_it_is_told_to(tmp_path):
    (tmp_path / "m").write_bytes(b"x")
    stop = threading.Event()
    stop.set()
    with pytest.raises(HashingStopped):
        sha256_of(tmp_path / "m", stop)


def test_legacy_hash_is_of_64_kb_at_1_mb(tmp_path):
    part = bytes(range(256)) * 256
    (tmp_path / "m").write_bytes(b"a" * 0x100000 + part + b"b" * 1000)
    assert legacy_hash_of(tmp_path / "m") == hashlib.sha256(part).hexdigest()[:8]


def test_short_files_have_no_legacy_hash_to_be_mistaken_by(tmp_path):
    (tmp_path / "m").write_bytes(b"a" * 0x100000)
    assert legacy_hash_of(tmp_path / "m") is None


def test_as_it_is_now_has_the_present_size(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"123")
    assert as_it_is_now(ModelFile("m", path, 1, 1)).size == 3


class Bench:
    """Files to hash, and what was done with them."""

    def __init__(self, *sizes: int) -> None:
        self.waiting = [file_of(size) for size in sizes]
        self.hashed: list[int] = []
        self.failed: list[int] = []
        self.fail = False
        self.change = threading.Condition()

    def pending(self) -> list[ModelFile]:
        return [file for file in self.waiting if file.size not in self.hashed]

    def hash_file(self, file: ModelFile, stop: threading.Event) -> None:
        with self.change:
            (self.failed if self.fail else self.hashed).append(file.size)
            self.change.notify_all()
            if self.fail:
                raise OSError("unreadable")

    def wait_for(self, *sizes: int) -> None:
        with self.change:
            assert self.change.wait_for(lambda: self.hashed == list(sizes), timeout=10), self.hashed


def test_the_largest_file_is_hashed_last():
    bench = Bench(300, 100, 200)
    background = BackgroundHashing(bench.pending, bench.hash_file)
    background.start()
    bench.wait_for(100, 200, 300)
    background.close()


def test_new_files_are_hashed_after_a_wake():
    bench = Bench(1)
    background = BackgroundHashing(bench.pending, bench.hash_file)
    background.start()
    bench.wait_for(1)
    bench.waiting = [file_of(2)]
    background.wake()
    bench.wait_for(1, 2)
    background.close()


def test_a_file_that_fails_is_tried_once(caplog):
    bench = Bench(1)
    bench.fail = True
    background = BackgroundHashing(bench.pending, bench.hash_file)
    background.start()
    with bench.change:
        assert bench.change.wait_for(lambda: bench.failed, timeout=10)
        bench.fail = False
        bench.waiting = [file_of(1), file_of(2)]
    background.wake()
    bench.wait_for(2)
    background.close()
    assert bench.failed == [1]
    assert "1.safetensors cannot be hashed: unreadable" in caplog.text


def test_closing_stops_in_the_middle_of_a_file():
    begun = threading.Event()

    def hash_file(file: ModelFile, stop: threading.Event) -> None:
        begun.set()
        assert stop.wait(10)
        raise HashingStopped("stopped")

    background = BackgroundHashing(lambda: [file_of(1)], hash_file)
    background.start()
    assert begun.wait(10)
    background.close()
    assert not background._thread.is_alive()


def test_closing_what_was_never_started_is_fine():
    background = BackgroundHashing(list, lambda file, stop: None)
    background.close()
    background.close()
