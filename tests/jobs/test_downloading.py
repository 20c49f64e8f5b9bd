"""Downloads as jobs of the program, from a real server: nothing gets its name before it is known to be what was asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.model_files import LORA, SD1, VAE, write_model
from tests.fake_engine import FakeEngine
from tests.jobs.file_server import Served, serving
from tests.jobs.stand_ins import wait_until
from webui.app import App, Job
from webui.core.errors import InvalidRequest
from webui.core.events import Cancelled, Failed, Finished, Progress, Remark
from webui.core.model_jobs import DownloadRequest, read_model_request
from webui.core.paths import Paths
from webui.core.request import GenerationRequest

ALLOWED = {"model_download_enable": True, "model_download_hosts": "models.example, other.example"}


@pytest.fixture
def lora(tmp_path: Path) -> bytes:
    return write_model(tmp_path / "made" / "lora.safetensors", LORA).read_bytes()


@pytest.fixture
def served(lora: bytes) -> Iterator[Served]:
    with serving(lora) as server:
        yield server


def open_app(paths: Paths, served: Served, **settings: Any) -> App:
    app = App(paths, engine=FakeEngine(), hashing=False, web=served.web, command_line_settings={**ALLOWED, **settings})
    app.start()
    return app


@pytest.fixture
def app(paths: Paths, served: Served) -> Iterator[App]:
    with closing(open_app(paths, served)) as opened:
        yield opened


def wish(served: Served, path: str = "/files/cat.safetensors?token=secret", **values: Any) -> DownloadRequest:
    return read_model_request(DownloadRequest, {"source": served.address + path, "model_kind": "LoRA", **values})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def failure(job: Job) -> str:
    end = job.wait(20)
    assert isinstance(end, Failed), end
    return end.message


def test_a_model_lands_in_its_folder_and_in_the_catalog(app: App, served: Served, paths: Paths, lora: bytes) -> None:
    job = app.submit_download(wish(served, sha256=hashlib.sha256(lora).hexdigest().upper()))
    assert isinstance(job.wait(20), Finished), job.log.latest(Failed)
    assert app.catalog.find_lora("cat").path.read_bytes() == lora
    assert files(paths.loras[0]) == ["cat.safetensors"]
    assert [remark.text for remark in job.log.all(Remark)] == ["Saved as cat.safetensors (0.00 GB)."]
    progress = job.log.latest(Progress)
    assert progress is not None
    assert progress.fraction == 1
    assert served.asked == [("/files/cat.safetensors?token=secret", None)]
    assert isinstance(job.request, DownloadRequest)
    assert "secret" not in job.request.title + job.request.details


@pytest.mark.parametrize(
    ("kind", "shapes", "folder"),
    [
        ("Checkpoint", SD1, "models/Stable-diffusion"),
        ("VAE", VAE, "models/VAE"),
        ("LoRA", LORA, "models/Lora"),
        ("Embedding", {"emb_params": (2, 4)}, "embeddings"),
        ("Upscaler", {"conv_first.weight": (2, 3, 3, 3)}, "models/ESRGAN"),
        ("ControlNet", {"control_model.input_hint_block.0.weight": (2, 3, 3, 3)}, "models/ControlNet"),
    ],
)
def test_each_kind_has_its_folder(
    app: App, served: Served, paths: Paths, tmp_path: Path, kind: str, shapes: dict[str, tuple[int, ...]], folder: str
) -> None:
    served.content = write_model(tmp_path / "made" / "x.safetensors", shapes).read_bytes()
    assert isinstance(app.submit_download(wish(served, model_kind=kind, name="new.safetensors")).wait(20), Finished)
    assert (paths.data / folder / "new.safetensors").read_bytes() == served.content


def test_what_is_no_model_of_the_kind_is_thrown_away(app: App, served: Served, paths: Paths, tmp_path: Path) -> None:
    for content, words in (
        (b"<html>Please log in</html>", "is not a safetensors file|is a web page"),
        (b"", "is empty|is not"),
        (
            write_model(tmp_path / "made" / "x.safetensors", SD1).read_bytes(),
            "is an SD 1.x checkpoint; put it into models/Stable-diffusion",
        ),
        (served.content[:-3], "is cut short"),
        (b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.", "is a pickle file"),
    ):
        served.content, served.tag = content, ""
        message = failure(app.submit_download(wish(served)))
        assert any(word in message for word in words.split("|")), message
        assert "thrown away" in message
        assert files(paths.loras[0]) == []


def test_a_wrong_checksum_throws_the_file_away(app: App, served: Served, paths: Paths) -> None:
    message = failure(app.submit_download(wish(served, sha256="0" * 64)))
    assert hashlib.sha256(served.content).hexdigest() in message
    assert files(paths.loras[0]) == []


def test_the_name_that_a_server_suggests_is_not_heeded(app: App, served: Served, paths: Paths) -> None:
    served.headers = {"Content-Disposition": 'attachment; filename="../../evil.safetensors"'}
    assert isinstance(app.submit_download(wish(served)).wait(20), Finished)
    assert files(paths.loras[0]) == ["cat.safetensors"]


@pytest.mark.parametrize(
    ("path", "values", "words"),
    [
        ("/x/..%2f..%2fevil.safetensors", {}, r"got '\.\./\.\./evil"),
        ("/a%5cb.safetensors", {}, "no / "),
        ("/.hidden.safetensors", {}, "no / "),
        ("/api/download/models/123", {}, "ends in .ckpt, .pt, .safetensors"),
        ("/evil.py", {}, "ends in"),
        ("/x.safetensors", {"name": "a.exe"}, "ends in"),
        ("/x.safetensors", {"name": "../x.safetensors"}, "name: got"),
        ("/x.safetensors", {"model_kind": "Virus"}, "Unknown value for model_kind"),
        ("/x.safetensors", {"sha256": "abc"}, "64 hexadecimal digits"),
        ("/x.pth", {"model_kind": "LoRA"}, "ends in"),
    ],
)
def test_names_and_kinds_that_cannot_be_are_refused_before_anything_is_asked(
    app: App, served: Served, path: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        app.submit_download(wish(served, path, **values))
    assert served.asked == []


def test_downloads_are_off_until_they_are_turned_on(paths: Paths, served: Served) -> None:
    with closing(open_app(paths, served, model_download_enable=False)) as app, pytest.raises(InvalidRequest, match="turned off"):
        app.submit_download(wish(served))
    assert App(paths, engine=FakeEngine(), hashing=False).settings.snapshot().model_download_enable is False


def test_only_hosts_of_the_settings_are_asked(app: App, served: Served) -> None:
    for host in ("evil.example", "notmodels.example", "models.example.evil"):
        request = wish(served).model_copy(update={"source": f"http://{host}/x.safetensors"})
        with pytest.raises(InvalidRequest, match="not one of the hosts"):
            app.submit_download(request)
    assert served.asked == []


def test_a_hub_id_is_looked_for_on_the_hub(paths: Paths, served: Served) -> None:
    with closing(open_app(paths, served, model_download_hub=served.address)) as app:
        request = DownloadRequest(source="some-one/my.model/sub folder/cat v1.safetensors", model_kind="LoRA")
        assert isinstance(app.submit_download(request).wait(20), Finished)
        assert served.asked[0][0] == "/some-one/my.model/resolve/main/sub%20folder/cat%20v1.safetensors"
        assert app.catalog.find_lora("cat v1")
        for wrong in (
            "one/two",
            "../two/three.safetensors",
            "one/../x.safetensors",
            "one/two/../x.safetensors",
            "/etc/passwd",
            "C:\\x",
            "",
        ):
            with pytest.raises(InvalidRequest, match="source: got"):
                app.submit_download(DownloadRequest(source=wrong, model_kind="LoRA"))


def test_a_redirect_to_our_own_network_fails_the_job(app: App, served: Served, paths: Paths) -> None:
    served.redirects = {"/cat.safetensors": "http://169.254.169.254/latest/meta-data/x.safetensors"}
    object.__setattr__(app._web, "resolve", lambda host, _: ["169.254.169.254"] if host[0].isdigit() else ["127.0.0.1"])
    assert "own network" in failure(app.submit_download(wish(served, "/cat.safetensors")))
    assert files(paths.loras[0]) == []


def test_a_name_that_is_taken_is_refused_and_replaced_when_asked(app: App, served: Served, paths: Paths, lora: bytes) -> None:
    mine = write_model(paths.loras[0] / "cat.safetensors", LORA, fill=b"\1")
    with pytest.raises(InvalidRequest, match=r"already a cat\.safetensors"):
        app.submit_download(wish(served))
    assert isinstance(app.submit_download(wish(served, overwrite=True)).wait(20), Finished)
    assert mine.read_bytes() == lora


def test_a_name_that_is_taken_meanwhile_is_not_replaced(app: App, served: Served, paths: Paths) -> None:
    served.waits_after = 10
    job = app.submit_download(wish(served))
    wait_until(lambda: any(name.endswith(".part.safetensors") for name in files(paths.loras[0])))
    (paths.loras[0] / "cat.safetensors").write_text("mine")
    served.gate.set()
    assert "by now" in failure(job)
    assert (paths.loras[0] / "cat.safetensors").read_text() == "mine"


def test_a_cancelled_download_is_ended_at_once_and_leaves_nothing(app: App, served: Served, paths: Paths) -> None:
    served.waits_after = 10
    job = app.submit_download(wish(served))
    wait_until(lambda: any(name.endswith(".part.safetensors") for name in files(paths.loras[0])))
    app.queue.cancel(job.id)
    assert isinstance(job.wait(10), Cancelled)
    assert files(paths.loras[0]) == []


def test_a_download_that_a_restart_interrupts_goes_on_from_what_had_come(paths: Paths, served: Served, lora: bytes) -> None:
    served.waits_after = 40
    with closing(open_app(paths, served)) as app:
        job = app.submit_download(wish(served), job_id="long")
        wait_until(lambda: job.log.latest(Progress) is not None)
    served.waits_after = None
    served.gate.set()
    with closing(open_app(paths, served)) as again:
        job = again.queue.job("long")
        assert isinstance(job.request, DownloadRequest)
        assert isinstance(job.wait(20), Finished)
    assert served.asked[-1][1] == "bytes=40-"
    assert (paths.loras[0] / "cat.safetensors").read_bytes() == lora
    assert files(paths.loras[0]) == ["cat.safetensors"]


def test_one_download_runs_at_a_time_and_drawing_goes_on(app: App, served: Served) -> None:
    served.waits_after = 10
    jobs = [app.submit_download(wish(served, name=f"m{number}.safetensors")) for number in range(10)]
    wait_until(lambda: jobs[0].state == "running")
    drawn = app.submit(GenerationRequest(prompt="a cat", steps=1, width=64, height=64), save=False)
    assert isinstance(drawn.wait(20), Finished)
    assert [job.state for job in jobs] == ["running"] + ["queued"] * 9
    served.gate.set()
    for job in jobs:
        assert isinstance(job.wait(20), Finished)


def test_what_a_crash_left_is_swept_after_two_weeks_and_nothing_else(app: App, served: Served, paths: Paths) -> None:
    left, fresh, theirs = (paths.loras[0] / name for name in (f".{'a' * 16}.part.safetensors", f".{'b' * 16}.part.json", ".my.part.txt"))
    for path in (left, fresh, theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for path in (left, theirs):
        os.utime(path, (1, 1))
    assert isinstance(app.submit_download(wish(served)).wait(20), Finished)
    assert files(paths.loras[0]) == sorted([fresh.name, theirs.name, "cat.safetensors"])


def test_a_file_larger_than_the_settings_allow_fails_the_job(paths: Paths, served: Served) -> None:
    with closing(open_app(paths, served, model_download_limit_gb=1e-8)) as app:
        assert "model_download_limit_gb" in failure(app.submit_download(wish(served)))


def test_the_request_is_stored_with_its_kind_first(app: App, served: Served) -> None:
    assert json.loads(wish(served).model_dump_json())["kind"] == "download"
    assert wish(served).model_dump_json().startswith('{"kind":"download"')
