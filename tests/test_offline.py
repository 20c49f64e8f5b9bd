"""The promise that nothing is asked of the network: the whole program runs in a process where every address but loopback is refused."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from webui.core.images import read_png_texts
from webui.core.paths import PROGRAM

# Python reports every use of its sockets to audit hooks, whichever library it comes from; what a hook raises, the caller gets.
GUARD = """
import os, sys

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::")
REFUSED = os.environ["REFUSED_LOG"]

def refuse_all_but_loopback(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[-1]
        target = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        target = arguments[0]
    else:
        return
    if isinstance(target, bytes):
        target = target.decode()
    if target is None or str(target).startswith(LOOPBACK) or target == "":
        return
    with open(REFUSED, "a") as file:
        file.write(f"{event} {arguments!r}\\n")
    raise OSError(f"refused by the test: {event} {target}")

sys.addaudithook(refuse_all_but_loopback)
open(REFUSED, "a").close()
"""


def guarded(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment whose Python processes are guarded, and the file that lists what was refused."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    log = tmp_path / "refused.txt"
    # What tests set for themselves must not help: the program has to see to it alone.
    helps = ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "COMMANDLINE_ARGS")
    environ = {name: value for name, value in os.environ.items() if name not in helps}
    return {**environ, "PYTHONPATH": str(tmp_path / "guard"), "REFUSED_LOG": str(log)}, log


def test_the_guard_refuses_and_records_what_is_not_loopback(tmp_path: Path) -> None:
    environ, log = guarded(tmp_path)
    attempt = "try: socket.create_connection(('{}', 80), 5)\nexcept OSError as error: print(error)\n"
    code = "import socket\n" + attempt.format("example.com") + attempt.format("192.0.2.1")
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert run.stdout.count("refused by the test") == 2
    assert log.read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.slow
def test_the_program_starts_serves_its_page_and_draws_without_asking_the_network(tmp_path: Path) -> None:
    environ, log = guarded(tmp_path)
    command = [
        sys.executable,
        "launch.py",
        "--skip-install",
        "--no-venv",
        "--api",
        "--cpu",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
    ]
    with subprocess.Popen(command, cwd=PROGRAM, env=environ, stderr=subprocess.PIPE, text=True) as program:
        try:
            url = ""
            printed = ""
            while not url and (line := program.stderr.readline()):
                printed += line
                found = re.search(r"answers: (http\S+)", line)
                url = found[1] if found else ""
            assert url, printed
            page = httpx.get(url + "/", timeout=60)
            assert page.status_code == 200
            assert "gradio" in page.text
            wish = {"prompt": "a red apple", "steps": 8, "width": 128, "height": 128, "seed": 1}
            answer = httpx.post(url + "/sdapi/v1/txt2img", json=wish, timeout=240)
            assert answer.status_code == 200, answer.text[:500]
        finally:
            program.terminate()
            printed += program.communicate(timeout=60)[1]
    assert program.returncode == 0, printed
    picture = base64.b64decode(answer.json()["images"][0])
    assert read_png_texts(picture)["parameters"].startswith("a red apple\nSteps: 8,")
    assert log.read_text(encoding="utf-8") == ""
