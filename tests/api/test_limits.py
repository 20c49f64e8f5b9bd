"""What one client may not do to the server and to others. The numbers are the lines of docs/api.md's table of attacks."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.api.wire import serving
from tests.fake_engine import FakeEngine
from webui.api.server import build_server
from webui.app import App
from webui.core.cost import cost_of
from webui.core.extras import ExtrasRequest
from webui.core.request import GenerationRequest

SMALL = {"steps": 2, "width": 64, "height": 64}
EDITS = "/v1/images/edits"


@pytest.fixture
def http(app: App) -> Iterator[httpx.Client]:
    with serving(app, max_body_bytes=2_000_000) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def png(side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_10_the_cost_of_a_job_counts_pixels_steps_pictures_and_both_passes() -> None:
    plain = GenerationRequest(width=1000, height=1000, steps=10, batch_count=2, batch_size=3)
    assert cost_of(plain) == 60
    assert cost_of(plain.changed(enable_hr=True, hr_scale=2.0, hr_second_pass_steps=5)) == 6 * (10 + 20)
    picture = {"image": "0" * 64, "width": 500, "height": 500}
    extras = ExtrasRequest(pictures=(picture, picture), scale=2.0, upscaler_1="a", upscaler_2="b", upscaler_2_visibility=0.5)
    assert cost_of(extras) == 2 * 2
    assert cost_of(plain, draws=100) == 1000


def test_10_a_job_beyond_the_budget_is_refused_in_every_tongue(client: TestClient, app: App) -> None:
    app.settings.change({"max_job_cost": 0.1})
    large = {"steps": 20, "width": 512, "height": 512}
    for path, body in (
        ("/sdapi/v1/txt2img", large), ("/sdapi/v1/txt2img", {**SMALL, "n_iter": 100}), ("/api/v1/jobs", {"request": large}),
        ("/sdapi/v1/txt2img", {**SMALL, "enable_hr": True, "hr_scale": 8}),
        ("/sdapi/v1/txt2img", {**SMALL, "script_name": "x/y/z plot", "script_args": {"x_type": "Seed", "x_values": "1-90"}}),
        ("/v1/images/generations", {"prompt": "x", "size": "512x512"}),
    ):  # fmt: skip
        response = client.post(path, json=body)
        assert (response.status_code, "megapixel-steps" in response.text) == (400, True), (path, response.text)
    assert client.post("/sdapi/v1/txt2img", json=SMALL).status_code == 200
    assert len(app.queue.jobs()) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"width": 10**9}, {"steps": 10**9}, {"n_iter": 10**9}, {"batch_size": 10**9}, {"enable_hr": True, "hr_scale": 1e9},
        {"enable_hr": True, "hr_resize_x": 10**9}, {"width": -64}, {"prompt": "x" * 5_000_000}, {"seed": 10**30},
        {"prompt": "(" * 200_000}, {"prompt": "{a|b}" * 50_000}, {"prompt": "__a__" * 50_000}, {"prompt": "a AND " * 20_000},
        {"script_name": "x/y/z plot", "script_args": {"x_type": "Seed", "x_values": "1-100000000"}},
        {"script_name": "prompt matrix", "prompt": "|".join("a" * 60)},
    ],
)  # fmt: skip
def test_10_what_would_never_end_is_refused_or_done_at_once(client: TestClient, values: dict[str, Any]) -> None:
    began = time.monotonic()
    response = client.post("/sdapi/v1/txt2img", json={**SMALL, **values})
    assert response.status_code < 500, response.text[:500]
    assert time.monotonic() - began < 60


def test_10_a_full_queue_is_told_and_nothing_is_lost(serve: Callable[..., TestClient], app: App) -> None:
    app.queue.pause()
    app.queue.limit = 3
    client = serve()
    answers = [client.post("/api/v1/jobs", json={"request": SMALL}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201] * 3 + [429] * 2
    assert answers[-1].headers["retry-after"]
    assert "3 jobs are waiting" in answers[-1].json()["errors"]


def test_10_a_client_has_its_share_of_the_queue_and_others_theirs(serve: Callable[..., TestClient], app: App) -> None:
    app.settings.change({"max_jobs_of_client": 2})
    app.queue.pause()
    client = serve(api_auth=[("one", "1"), ("two", "2")])

    def submit(name: str, password: str) -> int:
        return client.post("/api/v1/jobs", json={"request": SMALL}, auth=(name, password)).status_code

    assert [submit("one", "1") for _ in range(3)] == [201, 201, 429]
    assert submit("two", "2") == 201
    app.queue.cancel(app.queue.jobs()[0].id)
    assert submit("one", "1") == 201
    app.queue.resume()


def test_10_many_requests_at_once_do_not_pass_a_clients_share(serve: Callable[..., TestClient], app: App) -> None:
    app.settings.change({"max_jobs_of_client": 3})
    app.queue.pause()
    client = serve()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda seed: client.post("/api/v1/jobs", json={"request": {**SMALL, "seed": seed}}).status_code, range(24)))
    assert sorted(answers) == [201] * 3 + [429] * 21
    assert len(app.queue.jobs()) == 3


def test_one_key_sent_many_times_at_once_gives_one_job(client: TestClient, app: App) -> None:
    headers = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.post("/api/v1/jobs", json={"request": SMALL}, headers=headers), range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] * 23 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(app.queue.jobs()) == 1


def test_12_a_page_of_another_site_can_send_no_form(client: TestClient, app: App) -> None:
    files, data = {"image": png()}, {"prompt": "x"}
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post(EDITS, files=files, data=data, headers=headers).status_code == 403
    assert app.queue.jobs() == ()


def test_11_forms_have_few_parts_and_short_fields(http: httpx.Client) -> None:
    def post(files: Any = None, data: Any = None, **options: Any) -> int:
        return http.post(EDITS, files=files, data=data, **options).status_code

    assert post({"image": png()}, {"prompt": "x", "size": "64x64", "steps": "1"}) == 200
    good = {"prompt": "x", "size": "64x64", "steps": "1"}
    assert post([("image", png()), *(("other", png()) for _ in range(40))], good) == 400
    assert post({"image": png()}, {**good, **{f"f{number}": "x" for number in range(200)}}) == 400
    assert post({"image": png()}, {**good, "other": "x" * 1_000_000}) == 400
    assert post({"image": b"\0" * 3_000_000}, {"prompt": "x"}) == 413
    began = time.monotonic()
    for boundary in ("-" * 50_000, "", "a" * 300):
        body = b"--" + boundary.encode() + b"\r\n" * 100_000
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        assert http.post(EDITS, content=body, headers=kind).status_code in (400, 413, 431)
    assert time.monotonic() - began < 30


def test_11_a_form_is_read_by_no_other_route(client: TestClient, app: App) -> None:
    for path, methods in build_server(app, api=True).openapi()["paths"].items():
        if "post" in methods and path != EDITS:
            response = client.post(path.replace("{job_id}", "x"), files={"image": png()})
            assert response.status_code in (415, 422, 404), path


def test_9_a_picture_that_unpacks_to_more_than_it_may_is_refused_in_every_tongue(client: TestClient, http: httpx.Client) -> None:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = png().replace(png()[:29], header, 1)
    answer = http.post(EDITS, files={"image": bomb}, data={"prompt": "x"})
    assert (answer.status_code, "60000x60000" in answer.text or "cannot be read" in answer.text) == (400, True)


def test_15_every_route_asks_for_the_password(serve: Callable[..., TestClient], app: App) -> None:
    client = serve(api_auth=[("me", "secret")], ui_auth=[("page", "other")], stop=lambda: pytest.fail("ended without a password"))
    open_ones = {"/internal/ping"}
    walked = 0
    for path, methods in build_server(app, api=True, stop=print).openapi()["paths"].items():
        for method in methods:
            if path in open_ones:
                continue
            response = client.request(method.upper(), re.sub(r"\{[^}]*\}", "x", path), json={} if method == "post" else None)
            assert response.status_code == 401, (method, path)
            walked += 1
    assert walked > 70


def test_15_a_password_for_the_api_alone_covers_every_tongue(serve: Callable[..., TestClient], app: App) -> None:
    client = serve(api_auth=[("me", "secret")])
    tongues = ("/api/", "/sdapi/", "/v1/", "/controlnet/", "/internal/", "/sd_extra_networks/")
    for path, methods in build_server(app, api=True).openapi()["paths"].items():
        for method in methods:
            if path.startswith(tongues) and path != "/internal/ping":
                response = client.request(method.upper(), re.sub(r"\{[^}]*\}", "x", path), json={} if method == "post" else None)
                assert response.status_code == 401, (method, path)


def test_21_nothing_is_deleted_by_a_path(app: App) -> None:
    paths = build_server(app, api=True).openapi()["paths"]
    assert [path for path, methods in paths.items() if "delete" in methods] == ["/api/v1/jobs/{job_id}", "/api/v1/extensions/{folder}"]


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2foutputs", ".trash", ".staging", "%00", "C:%5c", "a" * 5000])
def test_21_an_extension_is_removed_by_its_name_alone(client: TestClient, app: App, name: str) -> None:
    kept = app.paths.extensions / "kept"
    kept.mkdir(parents=True)
    (kept / "extension.py").write_text("")
    before = sorted(path for path in app.paths.data.rglob("*") if "state" not in path.parts)
    assert client.delete(f"/api/v1/extensions/{name}").status_code in (400, 404, 405, 422)
    assert sorted(path for path in app.paths.data.rglob("*") if "state" not in path.parts) == before


@pytest.mark.parametrize("name", ["%0d%0aX-Evil: 1", "a\\r\\nX-Evil:1", "%00", "..%2f..%2fetc", "a" * 5000])
def test_23_no_name_in_a_path_gets_into_a_header(client: TestClient, name: str) -> None:
    for path in ("/inputs/", "/pictures/", "/api/v1/jobs/", "/v1/models/", "/file=", "/docs/"):
        response = client.get(path + name, follow_redirects=False)
        assert response.status_code in (400, 404, 405), path
        assert "x-evil" not in response.headers
        assert "location" not in response.headers


def test_30_names_of_jobs_and_pictures_cannot_be_guessed(client: TestClient, app: App) -> None:
    ids = [client.post("/api/v1/jobs", json={"request": SMALL}).json()["id"] for _ in range(20)]
    for job_id in ids:
        app.queue.job(job_id).wait(20)
    pictures = [app.queue.job(job_id).pictures[0].id for job_id in ids]
    for names in (ids, pictures):
        assert len(set(names)) == 20
        assert all(len(name) >= 16 for name in names)
        assert not any(name.isdigit() for name in names)
    keyed = [client.post("/api/v1/jobs", json={"request": SMALL}, headers={"Idempotency-Key": "1"}).json()["id"]]
    assert keyed[0] != "1"
    assert len(keyed[0]) > 30


def test_a_client_that_goes_away_from_sdapi_ends_its_job_when_it_has_said_so(http: httpx.Client, app: App, engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    body = {**SMALL, "steps": 1000}
    with pytest.raises(httpx.ReadTimeout):
        http.post("/sdapi/v1/txt2img", json=body, headers={"X-On-Disconnect": "cancel"}, timeout=0.5)
    [job] = app.queue.jobs()
    job.wait(10)
    assert job.state == "cancelled"
