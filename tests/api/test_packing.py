from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from webui.api.packing import PicturePacking, PlainForNeighbours, pack, picture_answer, repeats_nothing

PICTURES = {"images": [base64.b64encode(random.Random(1).randbytes(200_000)).decode()], "info": "told"}
NAMES = [{"title": f"model {number}", "filename": f"/models/model {number}.safetensors"} for number in range(2000)]


def pieces() -> Iterator[bytes]:
    body = json.dumps(PICTURES).encode()
    yield from (body[place : place + 50_000] for place in range(0, len(body), 50_000))


ANSWERS = {
    "pictures": lambda: JSONResponse(PICTURES), "names": lambda: JSONResponse(NAMES), "small": lambda: JSONResponse({"a": 1}),
    "text": lambda: PlainTextResponse(json.dumps(PICTURES)), "streamed": lambda: StreamingResponse(pieces(), media_type="application/json"),
    "empty": lambda: Response(status_code=204), "packed": lambda: Response(
        gzip.compress(json.dumps(PICTURES).encode()), media_type="application/json", headers={"Content-Encoding": "gzip"}
    ),
}  # fmt: skip


@pytest.fixture
def client() -> Iterator[TestClient]:
    server = Starlette(routes=[Route(f"/{name}", lambda _, make=make: make()) for name, make in ANSWERS.items()])
    server.add_middleware(PicturePacking)
    server.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
    with TestClient(server) as opened:
        yield opened


def test_pictures_are_packed_smaller_than_by_the_usual_way_and_come_back_whole(client: TestClient) -> None:
    answer = client.get("/pictures")
    assert answer.json() == PICTURES
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    body = json.dumps(PICTURES, separators=(",", ":")).encode()
    assert int(answer.headers["content-length"]) == len(pack(body)) < len(gzip.compress(body, 1))


def test_who_cannot_read_it_gets_it_plain(client: TestClient) -> None:
    answer = client.get("/pictures", headers={"Accept-Encoding": "identity"})
    assert answer.json() == PICTURES
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("name", "content"), [("names", NAMES), ("small", {"a": 1}), ("text", PICTURES), ("streamed", PICTURES), ("packed", PICTURES)]
)
def test_all_else_is_left_to_the_usual_way(client: TestClient, name: str, content: Any) -> None:
    answer = client.get(f"/{name}")
    assert json.loads(answer.text) == content
    if name == "names":
        assert int(answer.headers["content-length"]) < len(pack(answer.content)) / 2


def test_an_answer_without_a_body_passes(client: TestClient) -> None:
    assert client.get("/empty").status_code == 204


def test_what_repeats_itself_is_told_from_what_does_not() -> None:
    assert repeats_nothing(json.dumps(PICTURES).encode())
    assert not repeats_nothing(json.dumps(NAMES).encode())
    # A picture in one half of an answer does not decide for the other.
    assert not repeats_nothing(json.dumps([PICTURES["images"][0][:60_000], NAMES]).encode())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_with_pictures_is_what_a_json_writer_would_have_written(count: int) -> None:
    images, rest = PICTURES["images"] * count, {"parameters": {"prompt": 'a "red" apple, 猫', "seed": 2**70}, "info": "{}"}
    answer = picture_answer(images, rest)
    assert bytes(answer.body) == JSONResponse({"images": images, **rest}).body
    assert answer.headers["content-type"] == JSONResponse({}).headers["content-type"]


@pytest.mark.parametrize(
    ("client", "method", "path", "packed"),
    [
        ("127.0.0.1", "POST", "/sdapi/v1/txt2img", False), ("::1", "POST", "/v1/images/generations", False),
        ("127.0.0.1", "GET", "/sdapi/v1/txt2img", True), ("127.0.0.1", "POST", "/internal/x", True),
        ("192.168.1.7", "POST", "/sdapi/v1/txt2img", True), ("a name", "POST", "/sdapi/v1/txt2img", True),
    ],
)  # fmt: skip
def test_a_program_on_the_same_machine_gets_what_it_posts_for_unpacked(client: str, method: str, path: str, packed: bool) -> None:
    async def answer(request: Request) -> Response:
        return picture_answer(PICTURES["images"], {"info": "told"})

    server = Starlette(routes=[Route("/{rest:path}", answer, methods=["GET", "POST"])])
    server.add_middleware(PicturePacking)
    server.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
    server.add_middleware(PlainForNeighbours)
    with TestClient(server, client=(client, 5000)) as opened:
        told = opened.request(method, path)
    assert ("content-encoding" in told.headers) == packed
    assert told.json() == PICTURES
