"""The gate in front of a whole server: our own routes, a mounted application standing for the UI, and a socket."""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from tests.api.conftest import ADDRESS
from webui.api.gate import SECURITY_HEADERS, Area, area_of
from webui.api.server import build_server
from webui.app import App
from webui.ui.mount import mount_ui

API_USER, PAGE_USER = ("robot", "r2d2"), ("anna", "geheim")
FOREIGN = {"Origin": "http://evil.example"}
OWN = {"Origin": ADDRESS}
PAGE = {"Accept": "text/html"}
Build = Callable[..., TestClient]


def basic(user: tuple[str, str]) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(":".join(user).encode()).decode()}


def mounted_ui() -> Starlette:
    """Stands for gradio: pages, a route that changes something, and a socket."""

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse("<p>the page</p>")

    async def join(request: Request) -> JSONResponse:
        return JSONResponse({"read": len(await request.body())})

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    return Starlette(routes=[Route("/", page), Route("/queue/join", join, methods=["GET", "POST"]), WebSocketRoute("/ws", talk)])


@pytest.fixture
def build(app: App) -> Build:
    """Build a client of a server with the stand-in mounted."""
    return lambda **options: client_of(app, lambda server: server.mount("/", mounted_ui()), **options)


@pytest.fixture(params=["stand-in", "gradio"])
def build_walked(request: pytest.FixtureRequest, app: App) -> Build:
    """The same, and once with the real page instead."""
    mount = (lambda server: mount_ui(server, app)) if request.param == "gradio" else (lambda server: server.mount("/", mounted_ui()))
    return lambda **options: client_of(app, mount, **options)


def client_of(app: App, mount: Callable[[FastAPI], None], **options: Any) -> TestClient:
    server = build_server(app, **{"api": True, **options})
    mount(server)
    return TestClient(server, base_url=ADDRESS, raise_server_exceptions=False, follow_redirects=False)


def walk(router: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of everything that can be asked for, below mounts and included routers too."""
    for route in router.routes:
        path = prefix + re.sub(r"{[^}]*}", "x", getattr(route, "path", ""))
        if isinstance(route, Mount):
            yield from walk(route.app, path)
        elif isinstance(route, WebSocketRoute):
            yield "WEBSOCKET", path
        elif hasattr(route, "original_router"):
            yield from walk(route.original_router, path)
        else:
            assert route.methods, f"What kind of route is {route}?"
            yield from ((method, path) for method in route.methods)


def ask(client: TestClient, method: str, path: str, **headers: str) -> int:
    """The status of the answer; 101 for a socket that opens."""
    if method != "WEBSOCKET":
        return client.request(method, path, headers=headers).status_code
    try:
        # TestClient gives sockets a Host of their own.
        with client.websocket_connect(path, headers={"Host": "127.0.0.1:7860", **headers}):
            return 101
    except WebSocketDenialResponse as refused:
        return refused.status_code


def test_the_walk_meets_routes_of_every_kind(build_walked: Build) -> None:
    found = set(walk(build_walked().app))
    assert {("POST", "/sdapi/v1/txt2img"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/pictures/x"), ("GET", "/")} <= found
    assert found & {("WEBSOCKET", "/ws"), ("POST", "/gradio_api/queue/join")}


def test_no_route_is_outside_the_host_check(build_walked: Build) -> None:
    client = build_walked()
    assert [found for found in walk(client.app) if ask(client, *found, Host="evil.example") != 421] == []


def test_no_route_is_outside_the_origin_check(build_walked: Build) -> None:
    client = build_walked()
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        assert [found for found in walk(client.app) if ask(client, *found, Origin=origin) != 403] == []


def test_no_route_that_changes_something_is_open_to_cross_site_requests(build_walked: Build) -> None:
    client = build_walked()
    changing = [found for found in walk(client.app) if found[0] not in ("GET", "HEAD", "OPTIONS")]
    assert len(changing) > 5
    for site in ("cross-site", "same-site"):
        assert [found for found in changing if ask(client, *found, **{"Sec-Fetch-Site": site}) != 403] == []


def test_no_route_but_the_ping_is_open_without_a_password(build_walked: Build) -> None:
    client = build_walked(api_auth=[API_USER], ui_auth=[PAGE_USER])
    assert [found for found in walk(client.app) if ask(client, *found) != 401] == [("GET", "/internal/ping")]


def test_every_route_of_ours_is_named_by_the_gate(app: App) -> None:
    server = build_server(app, api=True)
    assert [path for _, path in walk(server) if area_of(path) is Area.PAGES] == []


@pytest.mark.parametrize("path", ["/sdapi", "/sdapi/v1/x", "/docs", "/docs/x.js", "/openapi.json"])
def test_the_api_is_for_the_users_of_the_api(path: str) -> None:
    assert area_of(path) is Area.API


@pytest.mark.parametrize("path", ["/sdapix", "//sdapi/v1/options", "/SDAPI/v1/options", "", "sdapi", "/internal/ping/", "/pingx"])
def test_what_only_looks_like_another_area_is_not_open(path: str) -> None:
    assert area_of(path) is not Area.OPEN


def test_the_servers_own_page_may_use_it(build: Build) -> None:
    client = build()
    assert client.post("/sdapi/v1/skip", headers={**OWN, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert ask(client, "WEBSOCKET", "/ws", **OWN) == 101


@pytest.mark.parametrize(
    "name", ["file=https://evil.example/x", "file=HTTP:/x", "file/http://x", "file=%68ttp://x", "proxy=http://x", "dev/reload", "vibe-edit"]
)
def test_what_gradio_offers_and_nobody_needs_is_closed(build: Build, name: str) -> None:
    client = build()
    assert client.get(f"/gradio_api/{name}").json()["error"] == "HTTPException"
    assert client.get("/gradio_api/file=C:/outputs/a.png").text == "Not Found"


def test_a_link_on_another_site_may_open_the_page(build: Build) -> None:
    assert build().get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_refusals_have_the_headers_of_every_answer(build: Build) -> None:
    for response in (build().get("/", headers={"Host": "evil.example"}), build().get("/"), build().get("/sdapi/v1/options")):
        assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert re.fullmatch(r"\d+\.\d{4}", response.headers["x-process-time"])


def test_without_allowed_origins_nothing_is_shared_across_origins(build: Build) -> None:
    client = build()
    preflight = {**FOREIGN, "Access-Control-Request-Method": "POST"}
    for response in (client.options("/sdapi/v1/txt2img", headers=preflight), client.get("/", headers=OWN)):
        assert "access-control-allow-origin" not in response.headers


def test_an_allowed_origin_is_answered_with_its_name_and_no_other(build: Build) -> None:
    client = build(cors_origins=["https://art.example"], api_auth=[API_USER])
    origin = {"Origin": "https://art.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = client.options("/sdapi/v1/skip", headers={**origin, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://art.example"
    response = client.post("/sdapi/v1/skip", headers={**origin, **basic(API_USER), "Sec-Fetch-Site": "cross-site"})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "https://art.example")
    assert client.post("/sdapi/v1/skip", headers={**FOREIGN, **basic(API_USER)}).status_code == 403


def test_a_preflight_opens_nothing_by_itself(build: Build) -> None:
    client = build(api_auth=[API_USER], ui_auth=[PAGE_USER])
    preflight = {**OWN, "Access-Control-Request-Method": "POST"}
    response = client.options("/sdapi/v1/txt2img", headers=preflight)
    assert response.text in ("OK", "Disallowed CORS origin")
    assert client.options("/", headers=preflight).text in ("OK", "Disallowed CORS origin")
    for method in ("GET", "POST"):
        assert client.request(method, "/sdapi/v1/options", headers=preflight).status_code == 401


def test_basic_authentication_opens_the_api(build: Build) -> None:
    client = build(api_auth=[API_USER])
    for headers in ({}, basic(("robot", "wrong")), basic(("anna", "r2d2"))):
        response = client.get("/sdapi/v1/options", headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Basic ")
        assert set(response.json()) == {"error", "detail", "body", "errors"}
    assert client.get("/sdapi/v1/options", headers=basic(API_USER)).status_code == 200


def test_the_users_of_the_pages_also_protect_an_api_without_users(build: Build) -> None:
    client = build(ui_auth=[PAGE_USER])
    assert client.get("/sdapi/v1/options").status_code == 401
    assert client.get("/sdapi/v1/options", headers=basic(PAGE_USER)).status_code == 200


def test_the_two_kinds_of_users_do_not_open_each_others_doors(build: Build) -> None:
    client = build(api_auth=[API_USER], ui_auth=[PAGE_USER])
    assert client.get("/sdapi/v1/options", headers=basic(PAGE_USER)).status_code == 401
    assert client.get("/", headers=basic(API_USER)).status_code == 401
    client.post("/login", data={"username": "anna", "password": "geheim"})
    assert client.get("/").status_code == 200
    assert client.get("/sdapi/v1/options").status_code == 401


def log_in(client: TestClient, user: tuple[str, str] = PAGE_USER, **headers: str) -> Any:
    return client.post("/login", data={"username": user[0], "password": user[1]}, headers=headers)


def test_a_login_opens_pages_sockets_and_pictures(build: Build) -> None:
    client = build(ui_auth=[PAGE_USER])
    assert client.get("/", headers=PAGE).status_code == 401
    assert 'action="/login"' in client.get("/", headers=PAGE).text
    assert ask(client, "WEBSOCKET", "/ws") == 401
    response = log_in(client, **PAGE)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert client.get("/").text == "<p>the page</p>"
    assert client.get("/pictures/none").status_code == 404
    assert client.get("/sdapi/v1/options").status_code == 200
    assert ask(client, "WEBSOCKET", "/ws", Cookie=cookie.partition(";")[0]) == 101


def test_programs_that_log_in_get_json(build: Build) -> None:
    assert log_in(build(ui_auth=[PAGE_USER])).json() == {"success": True}


@pytest.mark.parametrize(
    "form", ["", "username=anna", "username=anna&password=", "username=anna&username=x&password=geheim", "%ff=%ff", "a=1&" * 2000]
)
def test_a_malformed_login_is_a_wrong_one(build: Build, form: str) -> None:
    client = build(ui_auth=[PAGE_USER])
    assert client.post("/login", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code == 401


def test_another_site_cannot_log_a_visitor_in(build: Build) -> None:
    assert log_in(build(ui_auth=[PAGE_USER]), **FOREIGN).status_code == 403


def test_only_a_post_logs_in(build: Build) -> None:
    client = build(ui_auth=[PAGE_USER])
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.request("GET", "/login", content="username=anna&password=geheim", headers=form)
    assert (response.status_code, "set-cookie" in response.headers) == (401, False)


def test_what_was_typed_at_a_login_is_not_sent_back(build: Build) -> None:
    response = log_in(build(ui_auth=[PAGE_USER]), ("<script>", "secret"), **PAGE)
    assert response.status_code == 401
    assert "<script>" not in response.text
    assert "secret" not in response.text


def test_the_login_asks_for_the_subpath_it_is_served_under(app: App) -> None:
    client = TestClient(build_server(app, api=False, ui_auth=[PAGE_USER]), base_url=ADDRESS, root_path="/sd", follow_redirects=False)
    assert 'action="/sd/login"' in client.get("/sd/", headers=PAGE).text
    response = client.post("/sd/login", data={"username": "anna", "password": "geheim"}, headers=PAGE)
    assert response.headers["location"] == "/sd/"
    assert "Path=/sd;" in response.headers["set-cookie"]


def test_a_subpath_does_not_open_the_api(app: App) -> None:
    client = TestClient(build_server(app, api=True, api_auth=[API_USER]), base_url=ADDRESS, root_path="/sd")
    for path in ("/sd/sdapi/v1/options", "/sdapi/v1/options"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=basic(API_USER)).status_code == 200


def test_where_only_the_api_has_a_password_a_visitor_of_the_page_sees_its_pictures(build: Build) -> None:
    client = build(api_auth=[API_USER])
    assert client.get("/pictures/none").status_code == 401
    assert client.get("/").status_code == 200
    assert client.get("/pictures/none").status_code == 404
    assert client.get("/sdapi/v1/options").status_code == 401


def test_without_a_ui_the_start_page_gives_no_way_to_the_pictures(serve: Build) -> None:
    client = serve(api_auth=[API_USER])
    assert client.get("/").status_code == 200
    assert client.get("/pictures/none").status_code == 401
    assert client.get("/pictures/none", headers=basic(API_USER)).status_code == 404


def test_after_five_wrong_passwords_even_the_right_one_must_wait(build: Build) -> None:
    client = build(api_auth=[API_USER])
    assert [client.get("/sdapi/v1/options", headers=basic(("robot", "x"))).status_code for _ in range(6)] == [401] * 5 + [429]
    response = client.get("/sdapi/v1/options", headers=basic(API_USER))
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 61


def test_the_login_page_has_the_same_limit(build: Build) -> None:
    client = build(ui_auth=[PAGE_USER])
    assert [log_in(client, ("anna", "x")).status_code for _ in range(6)] == [401] * 5 + [429]
    assert log_in(client).status_code == 429


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"]
)
def test_the_api_refuses_bodies_that_any_page_could_post(build: Build, kind: str) -> None:
    response = build().post("/sdapi/v1/txt2img", content=b'{"prompt": "a"}', headers={"Content-Type": kind})
    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]


def test_a_body_of_unknown_length_is_a_body(build: Build) -> None:
    assert build().post("/sdapi/v1/skip", content=iter([b"x=1"]), headers={"Content-Type": "text/plain"}).status_code == 415


def in_parts(size: int, parts: list[int]) -> Iterator[bytes]:
    for _ in range(1000):
        parts.append(size)
        yield b" " * size


@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/queue/join"])
def test_a_body_that_is_too_long_is_refused(build: Build, path: str) -> None:
    client = build(max_body_bytes=10_000)
    headers = {"Content-Type": "application/json"}
    assert client.post(path, content=b" " * 10_001, headers=headers).status_code == 413
    streamed = client.post(path, content=in_parts(1000, []), headers=headers)
    assert "content-length" not in streamed.request.headers
    assert streamed.status_code == 413
    assert client.post("/queue/join", content=b" " * 10_000).json() == {"read": 10_000}


@pytest.mark.parametrize(
    "body", ["[" * 200_000, '{"override_settings":' * 3000 + "1" + "}" * 3000, '{"seed": ' + "9" * 5000 + "}", '{"cfg_scale": NaN}']
)
def test_hostile_json_is_answered_with_400(build: Build, body: str) -> None:
    response = build().post("/sdapi/v1/txt2img", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert set(response.json()) == {"error", "detail", "body", "errors"}


def test_a_huge_multipart_boundary_costs_nothing(build: Build) -> None:
    client = build()
    boundary = "-" * 10_000_000
    started = time.perf_counter()
    response = client.post("/queue/join", content=b"x", headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert response.status_code == 431
    assert time.perf_counter() - started < 10


def test_too_many_headers_are_refused(build: Build) -> None:
    assert build().get("/", headers={f"x-{number}": "1" for number in range(300)}).status_code == 431


def test_the_api_log_has_one_line_for_a_request_and_nothing_can_forge_one(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    client = build(api_log=True)
    with caplog.at_level(logging.INFO, logger="webui.api.gate"):
        client.get("/sdapi/v1/samplers")
        client.get("/sdapi/v1/%0a%1b[31mAPI 200 forged")
        client.get("/")
    lines = [record.getMessage() for record in caplog.records if record.name == "webui.api.gate"]
    assert len(lines) == 2
    assert re.fullmatch(r"API 200 HTTP/1.1 /sdapi/v1/samplers GET testclient \d+\.\d{4}", lines[0])
    assert lines[1].isprintable()


def test_no_password_reaches_an_answer_or_the_log(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    client = build(api_auth=[API_USER], ui_auth=[PAGE_USER], api_log=True, flags={"api_auth": "robot:r2d2", "gradio_auth": "anna:geheim"})
    with caplog.at_level(logging.DEBUG):
        texts = [client.get(path, headers=basic(API_USER)).text for path in ("/sdapi/v1/cmd-flags", "/sdapi/v1/options", "/openapi.json")]
        texts += [log_in(client, ("anna", "geheim2"), **PAGE).text, log_in(client).text]
    assert "***" in texts[0]
    for secret in ("r2d2", "geheim"):
        assert secret not in "".join(texts) + caplog.text


def test_an_open_page_goes_on_after_a_restart_but_not_after_a_new_password(serve: Callable[..., TestClient]) -> None:
    first = serve(ui_auth=[("a", "b")])
    first.post("/login", data={"username": "a", "password": "b"}, headers={"Accept": "text/html"})
    page = {"Cookie": "; ".join(f"{name}={value}" for name, value in first.cookies.items())}
    assert page["Cookie"]
    assert serve(ui_auth=[("a", "b")]).get("/pictures/x", headers=page).status_code == 404
    assert serve(ui_auth=[("a", "c")]).get("/pictures/x", headers=page).status_code == 401


def test_unknown_api_paths_answer_in_a1111s_shape_whatever_page_is_mounted(client: TestClient) -> None:
    for method, path in (("POST", "/sdapi/v1/nothing"), ("GET", "/sdapi/v1/nothing")):
        answer = client.request(method, path, json={})
        assert (answer.status_code, answer.json()["error"], answer.json()["detail"]) == (404, "HTTPException", "Not Found")
