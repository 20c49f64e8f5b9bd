from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin

from starlette.testclient import TestClient

from tests.api.conftest import ADDRESS


def links_of(page: str) -> list[str]:
    return re.findall(r"(?:src|href)=\"([^\"]+)\"", page) + re.findall(r"url: '([^']+)'", page)


def test_the_docs_page_needs_nothing_from_the_network(client: TestClient) -> None:
    page = client.get("/docs").text
    links = links_of(page)
    assert len(links) == 4
    for link in links:
        assert urljoin(ADDRESS, link).startswith(ADDRESS)
        response = client.get(link)
        assert response.status_code == 200
        assert len(response.content) > 500
    assert "://" not in re.sub(r"https?://www\.w3\.org/\S+", "", page)


def test_the_docs_page_works_below_a_subpath(serve: Callable[..., TestClient]) -> None:
    client = serve()
    client = TestClient(client.app, base_url=ADDRESS, root_path="/sd")
    for link in links_of(client.get("/sd/docs").text):
        assert link.startswith("/sd/")
        assert client.get(link).status_code == 200


def test_only_the_pages_own_files_are_served(client: TestClient) -> None:
    for name in ("__init__.py", "..%2fmain.py", "x"):
        assert client.get(f"/docs/{name}").status_code == 404


def test_openapi_describes_each_route_once(client: TestClient, recwarn: object) -> None:
    schema = client.get("/openapi.json").json()
    assert len(schema["paths"]) > 60
    txt2img = schema["components"]["schemas"]["Txt2ImgRequest"]["properties"]
    assert (txt2img["steps"]["default"], txt2img["steps"]["type"]) == (50, "integer")
    ids = [operation["operationId"] for path in schema["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
