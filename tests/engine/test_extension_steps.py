"""Steps that extensions, and the program itself, add to the Extras tab: when they work, what they get, and what they may give."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.plugins.folders import install
from webui.api.server import build_server
from webui.app import App, Job
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.events import Failed, Finished, Remark
from webui.core.extras import read_extras
from webui.core.images import encode_png, read_png_texts
from webui.core.paths import standard_paths
from webui.engine.warmup import EngineOptions
from webui.plugins.own.cropping import crop

STEPS = """
from PIL import Image, ImageOps
from webui.core.extension_points import NewPostprocessor
from webui.core.parameters import parameter

def edged(image, edge, colour):
    return ImageOps.expand(image, edge, colour)

def sized(image, name, tell):
    tell(f"{name} had {image.width}x{image.height}, {image.mode}")

def glass(image):
    image.putalpha(77)
    return image

@hookimpl
def register_postprocessors():
    controls = {
        "edge": parameter(2, title="Edge", help="Pixels.", minimum=1, maximum=8, step=1),
        "colour": parameter("red", title="Colour", help="Of it.", choices=("red", "blue")),
    }
    return [
        NewPostprocessor("Edge", edged, controls), NewPostprocessor("Early edge", edged, controls, order=500),
        NewPostprocessor("Size", sized, order=999), NewPostprocessor("Later size", sized, order=1000), NewPostprocessor("Glass", glass),
        NewPostprocessor("Bad", lambda: 3), NewPostprocessor("Broken", lambda image: 1 / 0),
        NewPostprocessor("Huge", lambda image: image.resize((30000, 1)), order=1),
    ]
"""
MARK = " @ steps"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    paths = standard_paths(tmp_path_factory.mktemp("data"))
    install(paths.extensions, "steps", STEPS)
    with closing(App(paths, engine_options=EngineOptions(device="cpu"), hashing=False)) as opened:
        opened.start()
        assert [extension.error for extension in opened.host.extensions()] == [None]
        yield opened


def submitted(app: App, image: Image.Image, *steps: dict[str, Any], **wishes: Any) -> Job:
    source = app.take_picture(encode_png(image, {}), name="cat.png")
    job = app.submit_extras(read_extras({"pictures": [source], "steps": steps, **wishes}))
    job.wait(120)
    return job


def made(app: App, image: Image.Image, *steps: dict[str, Any], **wishes: Any) -> Image.Image:
    job = submitted(app, image, *steps, **wishes)
    assert isinstance(job.log.latest(Finished), Finished), job.log.latest(Failed)
    with Image.open(job.pictures[0].path) as result:
        return result.copy()


def flat(width: int = 20, height: int = 10, colour: str | tuple[int, ...] = "#00ff00", mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def test_hook_register_postprocessors_adds_steps_with_controls(app: App) -> None:
    result = made(app, flat(), {"name": "edge @ steps", "values": {"edge": 3}})
    assert (result.size, result.getpixel((0, 0)), result.getpixel((5, 5))) == ((26, 16), (255, 0, 0), (0, 255, 0))


def test_steps_work_before_between_and_behind_the_programs_own_by_their_order(app: App) -> None:
    steps = [{"name": name + MARK} for name in ("Edge", "Early edge", "Later size", "Size")]
    job = submitted(app, flat(), *steps, upscaler_1="Nearest", scale=2)
    # The early edge is doubled with the picture, the other is not.
    with Image.open(job.pictures[0].path) as result:
        assert result.size == (52, 32)
    told = [event.text for event in job.log.all(Remark)]
    assert told == ["cat.png had 24x14, RGB", "cat.png had 48x28, RGB"]


def test_a_result_says_which_steps_made_it_in_the_order_of_their_work(app: App) -> None:
    steps = [{"name": "Edge" + MARK, "values": {"colour": "blue"}}, {"name": "Size" + MARK}]
    job = submitted(app, flat(), *steps, upscaler_1="Nearest")
    texts = read_png_texts(job.pictures[0].path.read_bytes())
    assert texts["postprocessing"].endswith('Postprocess steps: "Size @ steps; Edge @ steps (edge: 2, colour: blue)"')


def test_transparency_is_kept_and_fits_what_a_step_gives_and_a_steps_own_counts(app: App) -> None:
    half = flat(colour=(0, 255, 0, 128), mode="RGBA")
    kept = made(app, half, {"name": "Edge" + MARK})
    assert (kept.mode, kept.size, kept.getpixel((12, 7))) == ("RGBA", (24, 14), (0, 255, 0, 128))
    assert made(app, half, {"name": "Glass" + MARK}).getpixel((3, 3)) == (0, 255, 0, 77)
    assert made(app, flat(), {"name": "Glass" + MARK}).getpixel((3, 3)) == (0, 255, 0, 77)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Bad", "Bad @ steps returned a int; return a picture."),
        ("Broken", "Extension 'steps' failed in Broken @ steps: ZeroDivisionError: division by zero."),
        ("Huge", "cat.png would be 1920000x64; at most"),
    ],
)
def test_a_step_that_fails_fails_its_job_alone_and_is_named(app: App, name: str, says: str) -> None:
    job = submitted(app, flat(), {"name": name + MARK}, upscaler_1="Nearest", scale=64)
    failed = job.log.latest(Failed)
    assert failed is not None
    assert says in failed.message
    made(app, flat(), {"name": "Edge" + MARK})


def test_an_unknown_step_and_values_that_are_not_declared_are_refused(app: App) -> None:
    with pytest.raises(UnknownName, match=r"Unknown postprocessor 'Edges @ steps'. Did you mean 'Edge @ steps'"):
        submitted(app, flat(), {"name": "Edges" + MARK})
    with pytest.raises(InvalidRequest, match="Edge @ steps: edge: got 99"):
        submitted(app, flat(), {"name": "Edge" + MARK, "values": {"edge": 99}})
    with pytest.raises(InvalidRequest, match="Edge @ steps: width: got 3"):
        submitted(app, flat(), {"name": "Edge" + MARK, "values": {"width": 3}})


def test_the_api_lists_steps_and_takes_them(app: App) -> None:
    client = TestClient(build_server(app, api=True), base_url="http://127.0.0.1:7860")
    listed = {one["name"]: one for one in client.get("/api/v1/postprocessors").json()}
    assert list(listed)[:3] == ["Huge @ steps", "Early edge @ steps", "Size @ steps"]
    assert listed["Edge @ steps"]["args"]["edge"] == {
        "label": "Edge", "value": 2, "minimum": 1, "maximum": 8, "step": 1, "choices": None,
    }  # fmt: skip
    picture = base64.b64encode(encode_png(flat(), {})).decode()
    asked = {"image": picture, "postprocessors": [{"name": "Edge @ steps", "args": {"colour": "blue"}}]}
    answer = client.post("/sdapi/v1/extra-single-image", json=asked).json()
    assert Image.open(BytesIO(base64.b64decode(answer["image"]))).getpixel((0, 0)) == (0, 0, 255)
    assert "Edge @ steps (edge: 2, colour: blue)" in answer["html_info"]
    wrong = client.post("/sdapi/v1/extra-single-image", json={**asked, "postprocessors": [{"name": "Hedge @ steps"}]})
    assert (wrong.status_code, "Edge @ steps" in wrong.json()["errors"]) == (400, True)


def test_the_programs_own_crop_is_such_a_step(app: App) -> None:
    result = made(app, flat(900, 600), {"name": "auto-sized crop", "values": {"maxdim": 640}})
    assert result.size == (640, 448)
    assert "Auto-sized crop" in [one.name for one in app.host.postprocessors()]


LIMITS = {"name": "cat.png", "mindim": 64, "maxdim": 320, "minarea": 64 * 64, "maxarea": 320 * 320, "threshold": 0.1}


def test_the_crop_takes_the_largest_allowed_size_or_that_of_the_nearest_shape() -> None:
    # Of 64, 128, ..., 320 a side: 320x192 has 1.67, 192x128 has 1.5 exactly.
    told: list[str] = []
    largest = crop(flat(300, 200), objective="Maximize area", tell=told.append, **LIMITS)  # type: ignore[arg-type]
    nearest = crop(flat(300, 200), objective="Minimize error", tell=told.append, **LIMITS)  # type: ignore[arg-type]
    assert largest is not None
    assert nearest is not None
    assert (largest.size, nearest.size, told) == ((320, 192), (192, 128), [])


def test_the_crop_cuts_off_what_is_beyond_the_middle() -> None:
    halves = np.zeros((100, 300, 3), np.uint8)
    halves[:, 100:200] = 255
    limits = {**LIMITS, "mindim": 128, "maxdim": 128, "threshold": 0.9}
    result = crop(Image.fromarray(halves), objective="Maximize area", tell=print, **limits)  # type: ignore[arg-type]
    assert result is not None
    assert np.asarray(result)[:, 4:-4].min() > 250


def test_a_picture_that_fits_no_size_stays_as_it_is_and_is_named() -> None:
    told: list[str] = []
    assert crop(flat(1000, 10), objective="Maximize area", tell=told.append, **LIMITS) is None  # type: ignore[arg-type]
    assert told == ["cat.png of 1000x10 fits none of the 25 sizes of the crop, and stays as it is."]
