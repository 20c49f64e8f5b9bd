"""The server behind a real HTTP connection: what only shows on the wire."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.fake_engine import FakeEngine
from tests.listening import listening
from webui.api.server import build_server
from webui.app import App

SMALL = {"prompt": "a red apple", "steps": 2, "width": 64, "height": 64}
JSON = {"Content-Type": "application/json"}
POST = "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture
def port(app: App) -> Iterator[int]:
    with listening(build_server(app, api=True, max_body_bytes=100_000)) as number:
        yield number


def speak(port: int, request: bytes) -> bytes:
    """The whole answer to these bytes, until the server ends the connection or says nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        answer = b""
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionError, TimeoutError):
            pass
        return answer


def test_txt2img_over_http_gives_a_png(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/sdapi/v1/txt2img", json.dumps(SMALL), JSON)
    response = connection.getresponse()
    assert response.status == 200
    assert base64.b64decode(json.load(response)["images"][0]).startswith(b"\x89PNG")


def test_a_client_that_goes_away_does_not_stop_its_job(port: int, app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    body = json.dumps({**SMALL, "steps": 20, "force_task_id": "task(left)"}).encode()
    head = POST + f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        while not engine_runs(app):
            time.sleep(0.01)
    job = app.queue.job("task(left)")
    job.wait(20)
    assert job.state == "finished"
    assert job.result
    assert len(job.result.pictures) == 1


def engine_runs(app: App) -> bool:
    return any(job.state == "running" for job in app.queue.jobs())


@pytest.mark.parametrize("host", ["", "Host: evil.example\r\n", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", "Host: 127.0.0.1:99999999\r\n"])
def test_requests_without_one_known_host_are_refused(port: int, host: str) -> None:
    for version in ("1.0", "1.1"):
        status = speak(port, f"GET /internal/ping HTTP/{version}\r\n{host}Connection: close\r\n\r\n".encode()).split(b" ", 2)[1]
        assert status in (b"400", b"421")


def test_a_chunked_body_that_never_ends_is_cut_off(port: int) -> None:
    head = (
        f"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head.encode() + chunk * 11)
        assert b" 413 " in connection.recv(65536).split(b"\r\n", 1)[0]


def test_a_boundary_of_ten_megabytes_is_refused_at_once(port: int) -> None:
    started = time.perf_counter()
    kind = "multipart/form-data; boundary=" + "-" * 10_000_000
    answer = speak(port, f"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n\r\n".encode())
    assert not answer or answer.split(b" ", 2)[1] in (b"400", b"431")
    assert time.perf_counter() - started < 20
    assert b"200 OK" in speak(port, b"GET /internal/ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")


def test_the_server_answers_while_a_job_runs(port: int, app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.05
    running = threading.Thread(target=test_txt2img_over_http_gives_a_png, args=(port,))
    running.start()
    while not engine_runs(app):
        time.sleep(0.005)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/sdapi/v1/progress")
    assert json.load(connection.getresponse())["state"]["job"] == "txt2img"
    running.join(20)


@pytest.mark.browser
def test_the_docs_page_shows_the_api_in_a_browser_without_network(port: int, chromium: Path) -> None:
    address = f"http://127.0.0.1:{port}/"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser:
        page = browser.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith((address, "data:")) else troubles.append(request.url))
        page.goto(address + "docs")
        page.get_by_text("/sdapi/v1/txt2img").wait_for(timeout=60_000)
        assert troubles == []
