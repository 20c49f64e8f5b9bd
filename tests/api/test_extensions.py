"""Extensions over HTTP: scripts, settings, routes and files, and what a failing one answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from tests.plugins.folders import install
from webui.api.server import build_server
from webui.app import App
from webui.core.paths import Paths

ADDRESS = "http://127.0.0.1:7860"
SMALL = {"prompt": "a cat", "seed": 7, "steps": 2, "width": 64, "height": 64}

FRAME = """
from PIL import ImageOps
from webui.core.parameters import parameter
from webui.plugins.script import AlwaysVisible, Script

class Frame(Script):
    def title(self):
        return "Frame"

    def show(self, is_img2img):
        return AlwaysVisible

    def ui(self, is_img2img):
        return {
            "width": parameter(0, title="Frame width", help="Pixels.", minimum=0, maximum=16, step=1),
            "word": parameter("", title="Word", help="Behind the prompt.", max_length=20),
            "side": parameter("in", title="Side", help="", choices=("in", "out")),
        }

    def process(self, p, word):
        if word:
            p.prompt = f"{p.prompt}, {word}"
            p.extra_generation_params["Frame word"] = word

    def postprocess_image(self, p, pp, width):
        if width:
            pp.image = ImageOps.expand(pp.image.crop((width, width, pp.image.width - width, pp.image.height - width)), width, "#ff0000")

@hookimpl
def register_scripts():
    return [Frame()]
"""


@contextmanager
def program(paths: Paths, **options: Any) -> Iterator[tuple[App, TestClient]]:
    with closing(App(paths, engine=FakeEngine(), hashing=False, **options)) as app:
        app.start()
        yield app, TestClient(build_server(app, api=True), base_url=ADDRESS, raise_server_exceptions=False)


Program = Callable[..., Any]


def picture(answer: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).convert("RGB")


def test_an_always_on_script_is_asked_by_name_and_changes_picture_and_text(paths: Paths) -> None:
    install(paths.extensions, "frames", FRAME)
    with program(paths) as (_, client):
        plain = client.post("/sdapi/v1/txt2img", json=SMALL).json()
        asked = {"alwayson_scripts": {"frame": {"args": {"width": 4, "word": "oil"}}}}
        framed = client.post("/sdapi/v1/txt2img", json={**SMALL, **asked}).json()
    assert picture(plain).getpixel((1, 1)) != (255, 0, 0)
    assert picture(framed).getpixel((1, 1)) == (255, 0, 0)
    assert picture(framed).getpixel((30, 30)) == picture(plain).getpixel((30, 30))
    infotext = picture_text(framed)
    assert infotext.startswith("a cat, oil\n")
    assert "Frame word: oil" in infotext
    assert "Frame" not in picture_text(plain)


def picture_text(answer: dict[str, Any]) -> str:
    return str(Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).text["parameters"])  # type: ignore[attr-defined]


def test_its_arguments_may_come_in_the_order_of_script_info_with_choices_by_number(paths: Paths) -> None:
    install(paths.extensions, "frames", FRAME)
    with program(paths) as (_, client):
        infos = [info for info in client.get("/sdapi/v1/script-info").json() if info["name"] == "frame"]
        assert [(info["is_alwayson"], info["is_img2img"]) for info in infos] == [(True, False), (True, True)]
        assert [argument["label"] for argument in infos[0]["args"]] == ["Frame width", "Word", "Side"]
        assert "frame" in client.get("/sdapi/v1/scripts").json()["txt2img"]
        asked = {"alwayson_scripts": {"Frame": {"args": [3, "oil", 1]}}}
        framed = client.post("/sdapi/v1/txt2img", json={**SMALL, **asked}).json()
        assert picture(framed).getpixel((2, 2)) == (255, 0, 0)
        refused = client.post("/sdapi/v1/txt2img", json={**SMALL, "alwayson_scripts": {"Frame": {"args": [99]}}})
    assert refused.status_code == 400
    assert refused.json()["errors"].startswith("Frame: width: got 99;")


def test_a_picture_drawn_again_from_its_own_record_is_not_changed_twice(paths: Paths) -> None:
    install(paths.extensions, "frames", FRAME)
    install(paths.extensions, "more", "@hookimpl\ndef change_request(request):\n    return request.changed(steps=request.steps + 1)\n")
    with program(paths) as (app, client):
        asked = {"alwayson_scripts": {"frame": {"args": {"width": 4, "word": "oil"}}}}
        answer = client.post("/sdapi/v1/txt2img", json={**SMALL, **asked}).json()
        job = app.verify(base64.b64decode(answer["images"][0]))
        job.wait(20)
    assert job.result is not None
    again = job.result.pictures[0]
    assert (again.request.prompt, again.request.steps) == ("a cat, oil", 3)
    assert Image.open(again.path).convert("RGB").tobytes() == picture(answer).tobytes()


SELECTABLE = """
from webui.core.parameters import parameter
from webui.core.scripts import Draw, Give, Plan
from webui.plugins.script import Script

class Twice(Script):
    def title(self):
        return "Twice"

    def show(self, is_img2img):
        return True

    def ui(self, is_img2img):
        return {"word": parameter("night", title="Word", help="", max_length=20)}

    def plan(self):
        return Plan(2, 2, 2)

    def run(self, p, word):
        yield Draw(p.request)
        p.prompt = f"{p.prompt} at {word}"
        yield Draw(p.request)

@hookimpl
def register_scripts():
    return [Twice()]
"""


def test_a_selectable_script_draws_what_it_yields(paths: Paths) -> None:
    install(paths.extensions, "twice", SELECTABLE)
    with program(paths) as (_, client):
        answer = client.post("/sdapi/v1/txt2img", json={**SMALL, "script_name": "twice", "script_args": ["noon"]}).json()
        info = next(info for info in client.get("/sdapi/v1/script-info").json() if info["name"] == "twice")
    assert not info["is_alwayson"]
    assert len(answer["images"]) == 2
    assert '"a cat at noon"' in answer["info"]


def test_a_selectable_script_that_fails_fails_its_job_with_the_extensions_name(paths: Paths) -> None:
    install(
        paths.extensions, "twice", SELECTABLE.replace("yield Draw(p.request)\n        p.prompt", "1 / 0\n        yield\n        p.prompt")
    )
    with program(paths) as (_, client):
        answer = client.post("/sdapi/v1/txt2img", json={**SMALL, "script_name": "twice"})
        assert answer.status_code == 500
        assert "Extension 'twice' failed in the script Twice: ZeroDivisionError" in answer.json()["errors"]
        assert "Traceback" not in answer.text
        assert client.post("/sdapi/v1/txt2img", json=SMALL).status_code == 200


@pytest.mark.parametrize("method", ["setup", "before_process", "process", "postprocess_batch", "postprocess_image"])
def test_a_method_that_fails_fails_only_that_job_and_names_the_extension(paths: Paths, method: str) -> None:
    code = f"""
from webui.plugins.script import Script
class Bad(Script):
    def title(self): return "Bad"
    def {method}(self, p):
        if "bad" in p.prompt: raise RuntimeError("no luck")
@hookimpl
def register_scripts(): return [Bad()]
"""
    install(paths.extensions, "broken", code)
    with program(paths) as (_, client):
        failed = client.post("/sdapi/v1/txt2img", json={**SMALL, "prompt": "bad"})
        assert failed.status_code == 500
        assert f"Extension 'broken' failed in {method}: RuntimeError: no luck." in failed.json()["errors"]
        assert client.post("/sdapi/v1/txt2img", json=SMALL).status_code == 200


def test_postprocess_batch_sees_a_whole_batch_and_may_put_other_pictures_in_its_place(paths: Paths) -> None:
    code = """
from PIL import Image
from webui.plugins.script import Script
class Flip(Script):
    def title(self): return "Flip"
    def postprocess_batch(self, p, pp):
        pp.images[:] = [Image.new("RGB", one.size, (len(pp.images), pp.batch_number, number)) for number, one in enumerate(pp.images)]
@hookimpl
def register_scripts(): return [Flip()]
"""
    install(paths.extensions, "flip", code)
    with program(paths) as (_, client):
        answer = client.post("/sdapi/v1/txt2img", json={**SMALL, "batch_size": 2, "n_iter": 2}).json()
    colours = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB").getpixel((0, 0)) for one in answer["images"]]
    assert colours[-4:] == [(2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1)]


def test_hook_register_settings_adds_options_that_are_validated_and_kept(paths: Paths) -> None:
    code = """
from webui.core.parameters import parameter
@hookimpl
def register_settings():
    return {"frames_colour": parameter("red", title="Colour", help="", choices=("red", "blue")),
            "frames_width": parameter(3, title="Width", help="", minimum=0, maximum=9)}
"""
    install(paths.extensions, "frames", code)
    with program(paths) as (_, client):
        assert client.get("/sdapi/v1/options").json()["frames_width"] == 3
        assert client.post("/sdapi/v1/options", json={"frames_width": 5}).status_code == 200
        wrong = client.post("/sdapi/v1/options", json={"frames_width": 99})
        assert (wrong.status_code, "frames_width: got 99" in wrong.json()["errors"]) == (400, True)
        assert client.post("/sdapi/v1/options", json={"extension_settings": {"frames_width": 99}}).status_code == 400
        every = client.get("/sdapi/v1/options").json()
        assert client.post("/sdapi/v1/options", json=every).status_code == 200
        job = client.post("/sdapi/v1/txt2img", json={**SMALL, "override_settings": {"frames_width": 99}})
        assert job.status_code == 400
    with program(paths) as (app, client):
        assert client.get("/sdapi/v1/options").json()["frames_width"] == 5
        assert app.settings.snapshot().extension_settings == {"frames_colour": "red", "frames_width": 5}


def test_which_extensions_run_is_not_the_apis_to_change(paths: Paths) -> None:
    install(paths.extensions, "frames", FRAME)
    with program(paths) as (_, client):
        refused = client.post("/sdapi/v1/options", json={"disabled_extensions": ["frames"]})
        assert refused.status_code == 400
        assert "cannot be changed over the API" in refused.json()["errors"]
        assert client.post("/sdapi/v1/options", json={"disable_all_extensions": "all"}).status_code == 400


@pytest.mark.parametrize(
    "settings", [{"disabled_extensions": ("frames",)}, {"disable_all_extensions": "all"}, {"disable_all_extensions": "extra"}]
)
def test_a_disabled_extension_is_listed_and_does_nothing(paths: Paths, settings: dict[str, Any]) -> None:
    install(paths.extensions, "frames", FRAME, style_dot_css="a {}")
    with program(paths, command_line_settings=settings) as (app, client):
        (extension,) = app.host.extensions()
        assert (extension.enabled, extension.is_disabled, extension.error) == (False, True, "disabled in the settings")
        assert "frame" not in client.get("/sdapi/v1/scripts").json()["txt2img"]
        assert client.get("/extension-files/frames/style.css").status_code == 404


ROUTES = """
from pydantic import BaseModel

class Wish(BaseModel):
    number: int

@hookimpl
def register_routes(router, app):
    @router.get("/hello")
    def hello():
        return {"queue": len(app.queue.jobs())}

    @router.post("/double")
    def double(wish: Wish):
        return wish.number * 2

    @router.get("/broken")
    def broken():
        return 1 / 0
"""


def test_hook_register_routes_serves_routes_below_the_extensions_own_path(paths: Paths) -> None:
    install(paths.extensions, "frames", ROUTES)
    with program(paths) as (_, client):
        assert client.get("/extension-api/frames/hello").json() == {"queue": 0}
        assert client.post("/extension-api/frames/double", json={"number": 4}).json() == 8
        assert client.post("/extension-api/frames/double", json={"number": "x"}).status_code == 422
        broken = client.get("/extension-api/frames/broken")
    assert broken.status_code == 500
    assert "Extension 'frames' failed in its route /broken: ZeroDivisionError" in broken.json()["errors"]
    assert "Traceback" not in broken.text


def test_routes_and_files_of_extensions_stand_behind_the_passwords(paths: Paths) -> None:
    install(paths.extensions, "frames", ROUTES, style_dot_css="a {}")
    with closing(App(paths, engine=FakeEngine(), hashing=False)) as app:
        app.start()
        server = build_server(app, api=True, api_auth=[("me", "secret")], ui_auth=[("you", "hidden")])
        client = TestClient(server, base_url=ADDRESS, raise_server_exceptions=False)
        for path in ("/extension-api/frames/hello", "/extension-files/frames/style.css"):
            assert client.get(path).status_code == 401
            assert client.get(path, auth=("me", "secret")).status_code == 200
        other = client.post(
            "/extension-api/frames/double", json={"number": 1}, auth=("me", "secret"), headers={"Origin": "http://evil.example"}
        )
    assert other.status_code == 403


def test_routes_that_fail_to_register_are_left_out_and_named(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    install(paths.extensions, "frames", "@hookimpl\ndef register_routes(router):\n    raise RuntimeError('oh')\n")
    with program(paths) as (_, client):
        assert client.get("/sdapi/v1/options").status_code == 200
    assert "Extension 'frames' failed in register_routes" in caplog.text


def test_only_files_of_the_page_are_served_and_nothing_outside_the_folder(paths: Paths) -> None:
    folder = install(
        paths.extensions, "frames", "", javascript__frames_dot_js="let a;", javascript___dot_hidden_dot_js="secret",
        style_dot_css="a {}", localizations__de_dot_json="{}", secret_dot_txt="secret", javascript__page_dot_html="<script>",
    )  # fmt: skip
    outside = paths.extensions.parent / "outside.js"
    outside.write_text("secret")
    (folder / "javascript" / "link.js").symlink_to(outside)
    with program(paths) as (_, client):
        for path, kind in {
            "javascript/frames.js": "text/javascript",
            "style.css": "text/css",
            "localizations/de.json": "application/json",
        }.items():
            answer = client.get(f"/extension-files/frames/{path}")
            assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        hostile = [
            "extension.py", "secret.txt", "javascript/.hidden.js", "javascript/link.js", "javascript/page.html", "javascript", "",
            "javascript/../extension.py", "javascript/%2e%2e/extension.py", "javascript/..%2f..%2f..%2foutside.js", "/etc/passwd",
            "javascript/..\\extension.py", "javascript/%00.js",
        ]  # fmt: skip
        for path in hostile:
            answer = client.get(f"/extension-files/frames/{path}")
            assert (answer.status_code, "secret" in answer.text) == (404, False), path
        for name in ("..", "nobody", "%2e%2e"):
            assert client.get(f"/extension-files/{name}/outside.js").status_code == 404
