"""Pictures by URL: off by default, and when on no way into our own network (line 7 of the attacks this program survives)."""

from __future__ import annotations

import base64
import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from webui.api import picture_urls
from webui.api.picture_urls import SCHEMES, fetch_picture
from webui.app import App
from webui.core.errors import InvalidRequest
from webui.core.settings import Settings
from webui.core.web import MAX_HOPS, Web

ON = Settings(api_enable_requests=True)
LOCAL = Settings(api_enable_requests=True, api_forbid_local_requests=False, api_useragent="webui test")


class Site(HTTPServer):
    """A web site on this machine that remembers who came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.seen: list[tuple[str, str | None]] = []
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
        self.picture = buffer.getvalue()

    def address(self, path: str = "/a.png", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"


class Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["User-Agent"]))
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        kind = "text/html" if self.path == "/page" else "image/png"
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        try:
            for _ in range(100_000 if self.path == "/endless" else 1):
                self.wfile.write(self.server.picture if self.path != "/endless" else b"\0" * 65536)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


def test_by_default_no_url_is_fetched_by_any_route(client: TestClient, site: Site) -> None:
    url = site.address()
    asked = [
        ("/sdapi/v1/img2img", {"init_images": [url]}), ("/sdapi/v1/img2img", {"init_images": ["A" * 80], "mask": url}),
        ("/sdapi/v1/extra-single-image", {"image": url}), ("/sdapi/v1/extra-batch-images", {"imageList": [{"data": url}]}),
        ("/sdapi/v1/png-info", {"image": url}), ("/sdapi/v1/interrogate", {"image": url + "?" + "x" * 80}),
        ("/sdapi/v1/txt2img", {"alwayson_scripts": {"controlnet": {"args": [{"image": url, "module": "canny"}]}}}),
        ("/api/v1/inputs", {"image": url}), ("/controlnet/detect", {"controlnet_input_images": [url], "controlnet_module": "canny"}),
    ]  # fmt: skip
    for path, body in asked:
        response = client.post(path, json=body)
        assert response.status_code == 400, (path, response.text)
        assert "Requests not allowed" in response.text, (path, response.text)
    assert site.seen == []


def test_where_they_are_allowed_a_picture_comes_by_its_url(client: TestClient, app: App, site: Site) -> None:
    app.settings.change({"api_enable_requests": True, "api_forbid_local_requests": False})
    values = {"steps": 1, "width": 64, "height": 64}
    assert client.post("/sdapi/v1/img2img", json={"init_images": [site.address()], **values}).status_code == 200
    request: Any = app.queue.jobs()[0].request
    assert app.queue.inputs.open(request.init_images[0]).getpixel((0, 0)) == (255, 0, 0)
    assert client.post("/sdapi/v1/extra-single-image", json={"image": site.address(), "upscaler_1": "Lanczos"}).status_code == 200
    assert client.post("/sdapi/v1/png-info", json={"image": site.address()}).json()["info"] == ""


def test_the_api_cannot_allow_itself_urls(client: TestClient, app: App) -> None:
    for changes in ({"api_enable_requests": True}, {"api_forbid_local_requests": False}, {"max_job_cost": 1.0}):
        assert client.post("/sdapi/v1/options", json=changes).status_code == 400
    whole = client.get("/sdapi/v1/options").json()
    assert client.post("/sdapi/v1/options", json=whole).status_code == 200
    override = {"override_settings": {"api_enable_requests": True}}
    assert client.post("/sdapi/v1/txt2img", json=override).status_code == 400


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1",
        "localhost.", "127.0.0.1%2f", "user@127.0.0.1", "example.com@127.0.0.1", "127.0.0.1%00", "[fe80::1%25lo]", "[fd00::1]",
    ],
)  # fmt: skip
def test_no_way_of_writing_a_local_address_gets_there(site: Site, host: str) -> None:
    for url in (site.address(host=host), f"http://{host}/a.png", f"https://{host}/a.png"):
        with pytest.raises(InvalidRequest, match=r"local resource|Invalid image url"):
            fetch_picture(url, ON)
    assert site.seen == []


def test_a_name_that_means_another_address_when_it_is_connected_to_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*_: Any, **__: Any) -> socket.socket:
        connection = socket.socket()
        connection.connect(("127.0.0.1", site.server_port))
        return connection

    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
    monkeypatch.setattr(socket, "create_connection", elsewhere)
    with pytest.raises(InvalidRequest, match="local resource"):
        fetch_picture("http://rebinding.example/a.png", ON)
    assert site.seen == []


def test_of_several_addresses_of_a_name_all_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InvalidRequest, match="local resource"):
        fetch_picture("http://both.example/a.png", ON)


def test_a_redirect_is_judged_as_the_first_address_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    near = Web(schemes=SCHEMES, ports=frozenset({80, 443, site.server_port}), allows=lambda address: address == "127.0.0.1")
    monkeypatch.setattr(picture_urls, "web_for", lambda settings: near)
    assert fetch_picture(site.address("/to?/a.png"), ON)
    for away in ("http://127.0.0.2/a.png", "http://[::1]/a.png", "file:///etc/passwd", "gopher://127.0.0.1/", "http://user:x@127.0.0.1/"):
        with pytest.raises(InvalidRequest):
            fetch_picture(site.address(f"/to?{away}"), ON)
    seen = len(site.seen)
    with pytest.raises(InvalidRequest, match="leads on more than"):
        fetch_picture(site.address("/to?" * MAX_HOPS + "/a.png"), ON)
    assert len(site.seen) - seen == MAX_HOPS


def test_what_is_no_picture_or_has_no_end_is_refused(site: Site) -> None:
    assert base64.b64decode(fetch_picture(site.address(), LOCAL)) == site.picture
    assert site.seen == [("/a.png", "webui test")]
    for path, words in (("/page", "text/html"), ("/gone", "404"), ("/endless", "bytes")):
        with pytest.raises(InvalidRequest, match=words):
            fetch_picture(site.address(path), LOCAL)


def test_no_proxy_of_the_environment_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.address("/"))
    with pytest.raises(InvalidRequest):
        fetch_picture("http://10.0.0.1/a.png", ON)
    assert site.seen == []


@pytest.mark.parametrize(
    "url", ["http://exa mple.com/", "http://a/\r\nX: y", "http://a\\@b/", "http:///x", "http://[::1", "http://é.com/", "http://a:99999/"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="Invalid image url"):
        fetch_picture(url, ON)


@pytest.mark.parametrize("agent", ["a\r\nX: y", "é", "a\x00"])
def test_a_user_agent_is_one_line(agent: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        Settings(api_useragent=agent)
