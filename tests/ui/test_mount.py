"""The page on a server: what its document holds and refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from webui.app import App
from webui.core.errors import StartupError
from webui.ui.mount import mount_ui
from webui.ui.theme import head


def client(app: App, **options: str | None) -> TestClient:
    server = FastAPI()

    @server.get("/sdapi/v1/mine")
    def mine() -> str:
        return "mine"

    mount_ui(server, app, **options)
    return TestClient(server)


def test_the_document_names_no_other_machine_to_load_from(fake_app: App) -> None:
    document = client(fake_app).get("/").text
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=[\"']https?://[^\"']+", document)
    assert "fonts.googleapis" not in client(fake_app).get("/theme.css").text


def test_gradios_own_links_and_history_are_off(fake_app: App) -> None:
    config = client(fake_app).get("/config").json()
    assert (config["footer_links"], config["run_history"]) == ([], False)
    assert config["connect_heartbeat"] is False  # or each tab would hold one of a browser's six connections for ever


def test_routes_taken_before_stay(fake_app: App) -> None:
    assert client(fake_app).get("/sdapi/v1/mine").json() == "mine"


def test_no_handler_is_offered_as_an_api(fake_app: App) -> None:
    assert client(fake_app).get("/gradio_api/info").json()["named_endpoints"] == {}


def test_analytics_are_off_however_the_program_was_started(fake_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    client(fake_app)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_an_unknown_theme_is_refused(fake_app: App) -> None:
    with pytest.raises(StartupError, match="pink"):
        client(fake_app, theme="pink")


@pytest.mark.parametrize("scheme", ["light", "dark", None])
def test_the_scheme_reaches_the_page(scheme: str | None) -> None:
    assert f'"scheme": {"null" if scheme is None else chr(34) + scheme + chr(34)}' in head(scheme)


def test_nothing_in_the_facts_can_end_the_script() -> None:
    assert head(None).count("</script>") == 1


def test_a_file_beyond_what_is_read_is_refused_before_it_is_whole(fake_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.ui.mount.MAX_PICTURE_BYTES", 1000)
    answers = [
        client(fake_app).post("/gradio_api/component_server/", data={"fn_name": "inspect"}, files={"picture": ("a.png", bytes(size))})
        for size in (1001, 5_000_000)
    ]
    assert [answer.status_code for answer in answers] == [413, 413]


def test_gradios_scripts_and_styles_come_packed_once_and_are_kept_by_the_browser(fake_app: App) -> None:
    served = client(fake_app)
    folder = Path(gr.routes.BUILD_PATH_LIB)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".js", ".css", ".woff2", ".svg"))
    for path in (files[0], *(next(file for file in files if file.suffix == kind) for kind in (".css", ".svg", ".woff2"))):
        for encoding in ("gzip, br", "identity"):
            answer = served.get(f"/assets/{path.name}", headers={"Accept-Encoding": encoding})
            assert answer.content == path.read_bytes(), path.name
            assert answer.headers.get("content-encoding") == ("gzip" if "gzip" in encoding else None)
            assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize("name", ["no-such-file-abcdefgh.js", "..%2Findex.html", "theme.css"])
def test_nothing_but_the_frontends_own_files_is_among_its_assets(fake_app: App, name: str) -> None:
    answer = client(fake_app).get(f"/assets/{name}")
    assert answer.status_code in (403, 404)
    assert "<html" not in answer.text
