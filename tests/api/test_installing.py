"""Extensions over HTTP, from a real git server and zip files; nothing without consent, and nothing where it is not allowed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from tests.jobs.file_server import serving
from tests.plugins.extension_sources import GitServer, Repository, extension_files, write_files, write_zip
from webui.api.server import build_server
from webui.app import App
from webui.core.errors import Forbidden
from webui.core.paths import Paths

URL = "/api/v1/extensions"
ADDRESS = "http://127.0.0.1:7860"


@pytest.fixture
def app(paths: Paths, git_server: GitServer) -> Iterator[App]:
    with closing(App(paths, engine=FakeEngine(), hashing=False, web=git_server.web)) as app:
        app.start()
        yield app


def zipped(tmp_path: Path, **files: str) -> str:
    return base64.b64encode(write_zip(tmp_path / "x.zip", extension_files(**files)).read_bytes()).decode()


def test_an_extensions_life(client: TestClient, paths: Paths, repository: Repository, git_server: GitServer) -> None:
    assert client.get(URL).json() == []
    sheet = client.post(f"{URL}/prepare", json={"source": f"{git_server.address}/adding@trunk"}).json()
    assert (sheet["commit"], sheet["hooks"], sheet["python_files"]) == (
        repository.git("rev-parse", "HEAD"),
        ["change_request"],
        ["extension.py"],
    )
    assert client.get(URL).json() == []
    one = client.post(f"{URL}/confirm", json={"digest": sheet["digest"]}).json()
    assert (one["folder"], one["version"], one["enabled"], one["running"], one["restart_needed"]) == ("adding", "1.0", True, False, True)
    assert client.get(URL).json() == [one]
    commit = repository.commit(extension_files(version="2.0"))
    assert client.post(f"{URL}/check").json()[0]["update"] == commit
    newer = client.post(f"{URL}/adding/update").json()
    assert (newer["version"], newer["replaces"]) == ("2.0", "1.0")
    assert client.post(f"{URL}/confirm", json={"digest": newer["digest"]}).json()["version"] == "2.0"
    assert client.post(f"{URL}/adding/disable").json()["enabled"] is False
    assert client.get("/sdapi/v1/options").json()["disabled_extensions"] == ["adding"]
    assert client.post(f"{URL}/adding/enable").json()["enabled"] is True
    assert client.delete(f"{URL}/adding").json() == {"where": "extensions/.trash/adding"}
    assert client.delete(f"{URL}/adding").status_code == 404


def test_an_extension_comes_as_a_zip_file(client: TestClient, paths: Paths, tmp_path: Path) -> None:
    wish = {"source": "mine.zip", "zip": zipped(tmp_path)}
    sheet = client.post(f"{URL}/prepare", json=wish).json()
    assert client.post(f"{URL}/confirm", json={"digest": sheet["digest"]}).json()["folder"] == "mine"
    assert client.post(f"{URL}/prepare", json=wish).status_code == 400
    assert client.post(f"{URL}/prepare", json={**wish, "replaces": True}).json()["replaces"] == "1.0"
    for wrong in ({"zip": "no base64!"}, {"zip": ""}, {"zip": base64.b64encode(b"no zip").decode()}, {"ref": "dev"}, {"folder": "../x"}):
        assert client.post(f"{URL}/prepare", json={**wish, **wrong}).status_code == 400, wrong
    assert [path.name for path in (paths.state).glob("tmp*")] == []


@pytest.mark.parametrize(
    "source", ["file:///etc", "ext::sh -c x", "--upload-pack=x", "/etc", ".", "git@example.com:x", "http://local.example/x", ""]
)
def test_what_may_not_be_fetched_is_refused(client: TestClient, git_server: GitServer, source: str) -> None:
    answer = client.post(f"{URL}/prepare", json={"source": source})
    assert answer.status_code == 400, answer.text
    assert git_server.asked == []


@pytest.mark.parametrize("folder", ["..", "%2e%2e", "..%2f..", ".staging", "none"])
def test_no_name_leads_out_of_the_folder(client: TestClient, paths: Paths, folder: str) -> None:
    write_files(paths.data / "none", {"x": ""})
    for method, path in (("DELETE", folder), ("POST", f"{folder}/enable"), ("POST", f"{folder}/update")):
        assert client.request(method, f"{URL}/{folder if method == 'DELETE' else path}").status_code in (400, 404, 405)
    assert (paths.data / "none" / "x").exists()


def test_a1111s_list_has_the_facts_of_git(
    client: TestClient, paths: Paths, repository: Repository, git_server: GitServer, tmp_path: Path
) -> None:
    sheet = client.post(f"{URL}/prepare", json={"source": f"{git_server.address}/adding"}).json()
    client.post(f"{URL}/confirm", json={"digest": sheet["digest"]})
    write_files(paths.extensions / "by-hand", {"extension.py": ""})
    commit = repository.git("rev-parse", "HEAD")
    assert client.get("/sdapi/v1/extensions").json() == [
        {
            "name": "adding",
            "remote": f"{git_server.address}/adding",
            "branch": "trunk",
            "commit_hash": commit,
            "version": commit[:8],
            "commit_date": repository.git("log", "-1", "--format=%ct"),
            "enabled": True,
        },
        {"name": "by-hand", "remote": "", "branch": "", "commit_hash": "", "version": "", "commit_date": "", "enabled": True},
    ]


CHANGES = (
    ("POST", "/prepare", {"source": "https://example.com/x"}),
    ("POST", "/confirm", {"digest": "0" * 64}),
    ("POST", "/check", None),
    ("POST", "/one/update", None),
    ("POST", "/one/enable", None),
    ("POST", "/one/disable", None),
    ("DELETE", "/one", None),
)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_beyond_loopback_nothing_is_changed_without_the_flag(
    paths: Paths, git_server: GitServer, method: str, path: str, body: dict[str, str] | None
) -> None:
    write_files(paths.extensions / "one", {"extension.py": ""})
    with closing(App(paths, engine=FakeEngine(), hashing=False, web=git_server.web, extension_access=False)) as app:
        client = TestClient(build_server(app, api=True), base_url=ADDRESS)
        answer = client.request(method, URL + path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
        assert "--enable-insecure-extension-access" in answer.json()["detail"]
        assert client.get(URL).json()[0]["folder"] == "one"
        assert client.get("/sdapi/v1/extensions").status_code == 200
    assert (paths.extensions / "one" / "extension.py").exists()


def test_settings_are_no_way_around_that(paths: Paths) -> None:
    with closing(App(paths, engine=FakeEngine(), hashing=False, extension_access=False)) as app:
        for change in ({"disabled_extensions": ["one"]}, {"extensions_index": "https://evil.example/index.json"}):
            with pytest.raises(Forbidden):
                app.change_settings(change)
        app.change_settings({"disabled_extensions": [], "extensions_index": "", "samples_save": False})
        assert app.settings.snapshot().samples_save is False


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_pages_of_other_sites_change_nothing(client: TestClient, method: str, path: str, body: dict[str, str] | None) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.request(method, URL + path, json=body, headers=headers).status_code == 403
    if body:
        form = {"Content-Type": "text/plain"}
        assert client.request(method, URL + path, content=json.dumps(body), headers=form).status_code == 415


def test_the_index_is_read_when_asked(app: App, client: TestClient, paths: Paths, git_server: GitServer, repository: Repository) -> None:
    assert client.post(f"{URL}/available").status_code == 400
    listed = [
        {
            "name": "Adding",
            "url": f"{git_server.address}/adding.git",
            "description": "<b>Adds</b> a\u001b word",
            "tags": ["tab", 3],
            "stars": 5,
        },
        {"name": "Evil", "url": "file:///etc"},
        {"name": "", "url": "https://example.com/x"},
        {"url": "https://example.com/x"},
        "no object",
        {"name": "Other", "url": "pypi:other", "tags": "none", "stars": "many", "added": "2026-11-01"},
    ]
    (paths.data / "index.json").write_text(json.dumps({"tags": {}, "extensions": listed}))
    app.change_settings({"extensions_index": "index.json"})
    entries = client.post(f"{URL}/available").json()
    assert [(one["name"], one["description"], one["tags"], one["stars"], one["folder"]) for one in entries] == [
        ("Adding", "Adds a word", ["tab"], 5, ""),
        ("Other", "", [], 0, ""),
    ]
    sheet = client.post(f"{URL}/prepare", json={"source": f"{git_server.address}/adding"}).json()
    client.post(f"{URL}/confirm", json={"digest": sheet["digest"]})
    entry = client.post(f"{URL}/available").json()[0]
    assert (entry["folder"], entry["update"]) == ("adding", "")
    commit = repository.commit(extension_files(version="2.0"))
    # Nobody has asked yet whether there is something newer.
    assert client.post(f"{URL}/available").json()[0]["update"] == ""
    client.post(f"{URL}/check")
    assert [one["update"] for one in client.post(f"{URL}/available").json()] == [commit, ""]


@pytest.mark.parametrize(
    "place", ["../secret.json", "/etc/passwd", "config.txt", "none.json", "broken.json", "list.json", "file:///etc/x.json", "link.json"]
)
def test_an_index_that_is_none_is_refused_with_its_reason(app: App, client: TestClient, paths: Paths, place: str) -> None:
    (paths.data.parent / "secret.json").write_text('{"extensions": []}')
    (paths.data / "broken.json").write_text("{")
    (paths.data / "list.json").write_text("[]")
    (paths.data / "link.json").symlink_to(paths.data.parent / "secret.json")
    app.change_settings({"extensions_index": place})
    answer = client.post(f"{URL}/available")
    assert answer.status_code == 400
    assert "index" in answer.text or "JSON" in answer.text or "https" in answer.text


def test_an_index_of_the_web_is_fetched_only_when_asked_and_never_from_our_own_network(paths: Paths) -> None:
    listed = json.dumps({"extensions": [{"name": "Other", "url": "pypi:other"}]}).encode()
    with serving(listed) as served, closing(App(paths, engine=FakeEngine(), hashing=False, web=served.web)) as app:
        app.change_settings({"extensions_index": f"{served.address}/index.json"})
        client = TestClient(build_server(app, api=True), base_url=ADDRESS)
        client.get(URL)
        assert served.asked == []
        assert [one["name"] for one in client.post(f"{URL}/available").json()] == ["Other"]
        served.statuses.append(404)
        assert "answered 404" in client.post(f"{URL}/available").text
    with closing(App(paths, engine=FakeEngine(), hashing=False)) as app:
        app.change_settings({"extensions_index": "https://127.0.0.1/index.json"})
        answer = TestClient(build_server(app, api=True), base_url=ADDRESS).post(f"{URL}/available")
        assert answer.status_code == 400
        assert "own network" in answer.text
