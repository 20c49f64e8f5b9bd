from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests.fake_engine import FakeEngine
from webui import cli
from webui.api.server import build_server
from webui.app import App
from webui.core.desktop import Desktop
from webui.core.errors import StartupError
from webui.core.paths import PROGRAM, Paths
from webui.flags import Flags, parse_flags


def flags(*argv: str) -> Flags:
    return parse_flags(argv, {})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_importing_the_program_brings_in_neither_torch_nor_gradio() -> None:
    heavy = "torch diffusers transformers gradio pandas"
    code = f"import sys, webui.cli; print([name for name in {heavy.split()} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROGRAM, capture_output=True, text=True, timeout=60)
    assert run.stdout == "[]\n", run.stderr


def test_a_taken_port_is_said_and_the_next_free_one_is_bound(taken_port: int, caplog: pytest.LogCaptureFixture) -> None:
    with cli.bind("127.0.0.1", taken_port) as listener:
        assert taken_port < listener.getsockname()[1] < taken_port + cli.PORTS_TRIED
    assert f"port {taken_port} is taken" in caplog.text


def test_a_bound_port_cannot_be_taken_by_another_program_before_we_serve() -> None:
    with cli.bind("127.0.0.1", 0) as listener, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(listener.getsockname())


def test_an_address_that_is_not_ours_is_refused_in_a_sentence() -> None:
    with pytest.raises(StartupError, match=r"Cannot serve on 192\.0\.2\.1 port 7860.*--server-name"):
        cli.bind("192.0.2.1", 7860)


def test_folders_of_flags_come_after_the_standard_ones(tmp_path: Path) -> None:
    for name in ("a", "b", "v"):
        (tmp_path / name).mkdir()
    paths = cli.paths_from(
        flags(
            "--data-dir",
            str(tmp_path),
            "--ckpt-dir",
            str(tmp_path / "a"),
            "--ckpt-dir",
            str(tmp_path / "b"),
            "--vae-dir",
            str(tmp_path / "v"),
        )
    )
    assert paths.checkpoints[:3] == (tmp_path / "models" / "Stable-diffusion", tmp_path / "a", tmp_path / "b")
    assert paths.vaes[:2] == (tmp_path / "models" / "VAE", tmp_path / "v")


def test_without_a_data_folder_the_programs_own_is_used() -> None:
    assert cli.paths_from(flags()).data == PROGRAM


@pytest.mark.parametrize("flag", ["--ckpt-dir", "--vae-dir", "--lora-dir", "--hypernetwork-dir", "--embeddings-dir"])
def test_a_folder_that_is_not_there_is_refused_by_its_flags_name(flag: str, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=f"{flag} got .*missing"):
        cli.paths_from(flags(flag, str(tmp_path / "missing")))


def test_a_checkpoint_named_by_file_makes_its_folder_known(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").touch()
    by_file = flags("--ckpt", str(tmp_path / "mine.safetensors"))
    assert tmp_path in cli.paths_from(by_file).checkpoints
    assert cli.settings_from(by_file) == {"sd_model_checkpoint": "mine.safetensors"}
    assert cli.settings_from(flags("--ckpt", "some model")) == {"sd_model_checkpoint": "some model"}
    assert cli.settings_from(flags()) == {}


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("", {}),
        ("--cpu", {"device": "cpu"}),
        ("--use-cpu all", {"device": "cpu"}),
        ("--use-cpu SD gfpgan", {"device": "cpu"}),
        ("--use-cpu gfpgan", {}),
        ("--device-id 1", {"device": "cuda:1"}),
        ("--device-id 1 --cpu", {"device": "cpu"}),
        ("--no-half", {"precision": "full"}),
        ("--precision half", {"precision": "half"}),
        ("--precision autocast", {}),
        ("--precision full --no-half-vae", {"precision": "full", "vae_precision": "full"}),
        ("--medvram", {"memory": "medvram"}),
        ("--medvram --lowvram", {"memory": "lowvram"}),
        ("--deterministic", {"deterministic": True}),
    ],
)
def test_flags_say_how_the_engine_works(line: str, changed: dict[str, object]) -> None:
    default = {"device": "auto", "precision": "auto", "vae_precision": "auto", "memory": "normal", "deterministic": False}
    assert vars(cli.engine_options_from(flags(*line.split()))) == {**default, **changed}


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("", True),
        ("--server-name localhost", True),
        ("--listen", False),
        ("--server-name 192.168.1.5", False),
        ("--hide-ui-dir-config", False),
    ],
)
def test_folders_are_opened_only_where_nobody_else_can_reach_the_page(line: str, is_shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_desktop", lambda: Desktop(("show",)))
    assert bool(cli.desktop_for(flags(*line.split()))) is is_shown


def test_credentials_are_read_with_colons_in_passwords() -> None:
    assert cli.read_credentials("me:pass:word, you:x\nshe:y", "--api-auth") == (("me", "pass:word"), ("you", "x"), ("she", "y"))
    assert cli.read_credentials(None, "--api-auth") == ()


@pytest.mark.parametrize("text", ["secret", "me:", ":secret", "you:x,secret"])
def test_credentials_of_another_form_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(StartupError) as caught:
        cli.read_credentials(text, "--api-auth")
    assert "--api-auth takes user:password" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "page", "api", "warns"),
    [
        ("127.0.0.1", True, True, ""),
        ("0.0.0.0", True, True, "--gradio-auth"),
        ("0.0.0.0", False, True, "--api-auth"),
        ("example.com", False, True, "--api-auth"),
        ("0.0.0.0", False, False, ""),
    ],
)
def test_serving_others_without_a_password_is_warned_of(
    host: str, page: bool, api: bool, warns: str, caplog: pytest.LogCaptureFixture
) -> None:
    cli.warn_if_open(host, page=page, api=api)
    assert bool(caplog.records) == bool(warns)
    assert warns in caplog.text


def test_a_log_message_cannot_begin_a_line_of_its_own_or_colour_the_terminal() -> None:
    record = logging.LogRecord("webui", logging.INFO, __file__, 1, "prompt %s", ("a\n[ 0.1 s] fake\x1b[31m äö",), None)
    assert cli.StageFormatter().format(record).endswith("prompt a\\n[ 0.1 s] fake\\x1b[31m äö")


def test_a_tls_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    run = start(tmp_path, "--tls-keyfile", "key.pem")
    assert run.wait(60) == 1
    assert "belong together" in output_of(run)


def test_a_settings_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    run = start(tmp_path)
    said = output_of(run)
    assert run.returncode == 1
    assert said.count("\n") == 1
    assert "config.json" in said


def start(data: Path, *argv: str) -> subprocess.Popen[str]:
    """The program as a process of its own, without a page and without installing."""
    environ = {name: value for name, value in os.environ.items() if name != "COMMANDLINE_ARGS"}
    command = [sys.executable, "-c", "import sys; from webui import cli; sys.exit(cli.main(sys.argv[1:]))"]
    arguments = ["--nowebui", "--cpu", "--data-dir", str(data), *argv]
    return subprocess.Popen([*command, *arguments], cwd=PROGRAM, env=environ, stderr=subprocess.PIPE, text=True)


def output_of(run: subprocess.Popen[str]) -> str:
    return run.communicate(timeout=60)[1]


def wait_for_port(run: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed until the port answered, and the address."""
    printed = ""
    for line in run.stderr or ():
        printed += line
        if match := re.search(r"answers: (http\S+)", line):
            return printed, match[1]
    raise AssertionError(printed)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_port_answers_before_torch_is_there_and_a_signal_ends_it_with_success(tmp_path: Path, ending: signal.Signals) -> None:
    with start(tmp_path, "--port", "0", "--api-auth", "me:secret-word", "--xformers") as run:
        printed, url = wait_for_port(run)
        assert httpx.get(url + "/sdapi/v1/samplers").status_code == 401
        assert httpx.get(url + "/sdapi/v1/samplers", auth=("me", "secret-word")).status_code == 200
        assert "engine ready" not in printed
        began = time.monotonic()
        run.send_signal(ending)
        rest = output_of(run)
    assert run.returncode == 0, rest
    assert time.monotonic() - began < 20
    assert "Traceback" not in rest
    assert "secret-word" not in printed + rest
    assert "--xformers: accepted for A1111's sake; not needed here" in printed


def test_an_extension_is_there_before_the_server_asks_for_its_routes(tmp_path: Path) -> None:
    folder = tmp_path / "extensions" / "greeter"
    folder.mkdir(parents=True)
    (folder / "extension.py").write_text(
        "from webui.plugins.hookspecs import hookimpl\n\n\n@hookimpl\ndef register_routes(router):\n"
        "    router.add_api_route('/hello', lambda: {'says': 'hello'})\n"
    )
    with start(tmp_path, "--port", "0") as run:
        printed, url = wait_for_port(run)
        assert httpx.get(url + "/extension-api/greeter/hello").json() == {"says": "hello"}, printed
        run.terminate()
        output_of(run)


def test_requests_that_wait_do_not_hold_up_the_end_and_their_job_is_queued_again(paths: Paths) -> None:
    app = App(paths, engine=FakeEngine(step_seconds=0.02))
    listener = cli.bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(build_server(app, api=True), log_config=None, timeout_graceful_shutdown=cli.SECONDS_FOR_OPEN_CONNECTIONS)
    server = cli.Server(config, app, url=url, open_browser=False)
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    serving.start()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.post(url + "/sdapi/v1/txt2img", json={"steps": 900}, timeout=60)))
    asking.start()
    deadline = time.monotonic() + 30
    while not any(job.state == "running" for job in app.queue.jobs()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.should_exit = True
    began = time.monotonic()
    serving.join(30)
    assert time.monotonic() - began < 25
    asking.join(10)
    assert "closing" in answers[0].json()["detail"]
    again = App(paths, engine=FakeEngine())
    assert [job.state for job in again.queue.jobs()] == ["queued"]
    again.close()
