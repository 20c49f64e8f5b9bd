"""Settings of extensions that change pictures: in the text and the record beside a picture, when it is pasted, and when it is verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from tests.plugins.folders import install
from webui.app import App, Job
from webui.core.events import Failed, Finished
from webui.core.images import decode_image, encode_png, read_png_texts
from webui.core.metadata import read
from webui.core.paths import Paths
from webui.core.request import GenerationRequest
from webui.core.verdict import Difference
from webui.ui.paste import preview

SMALL = {"prompt": "a cat", "seed": 7, "steps": 2, "width": 64, "height": 64}
TINTING = """
from PIL import Image
from webui.core.parameters import parameter

@hookimpl
def register_settings():
    return {
        "tint": parameter("none", title="Tint", help="Of it.", choices=("none", "red", "blue"), infotext="Tint"),
        "tint_places": parameter((), title="Places", help="Where.", infotext="Tint places"),
        "tint_key": parameter("", title="Key", help="A secret.", max_length=40),
    }

@hookimpl
def after_image(image, settings):
    tint = settings.extension_settings["tint"]
    return None if tint == "none" else Image.new("RGB", image.size, tint)
"""


@pytest.fixture
def app(paths: Paths) -> Iterator[App]:
    install(paths.extensions, "tinting", TINTING)
    with closing(App(paths, engine=FakeEngine(), hashing=False)) as app:
        app.start()
        assert [extension.error for extension in app.host.extensions()] == [None]
        yield app


def drawn(app: App, **settings: Any) -> bytes:
    """A picture's file."""
    job = app.submit(GenerationRequest(**SMALL), overrides=settings)
    return ended(job).pictures[0].path.read_bytes()


def ended(job: Job) -> Job:
    assert isinstance(job.wait(20), Finished), job.log.latest(Failed)
    return job


def record(data: bytes) -> dict[str, Any]:
    texts = read_png_texts(data)
    (said,) = (json.loads(text) for key, text in texts.items() if key != "parameters")
    return dict(said)


def test_a_setting_with_an_infotext_key_is_recorded_and_no_other(app: App) -> None:
    data = drawn(app, tint="red", tint_places=["a", "b"], tint_key="secret")
    assert record(data)["extension_settings"] == {"tint": "red", "tint_places": ["a", "b"]}
    assert 'Tint: red, Tint places: "[\\"a\\", \\"b\\"]"' in read_png_texts(data)["parameters"]
    assert b"secret" not in data
    plain = drawn(app)
    assert record(plain)["extension_settings"] == {"tint": "none", "tint_places": []}
    assert "Tint" not in read_png_texts(plain)["parameters"]


def test_verifying_draws_again_with_the_setting_as_it_was(app: App) -> None:
    data = drawn(app, tint="red")
    app.change_settings({"tint": "blue"})
    verdict = app.verdict(ended(app.verify(data)).id)
    assert verdict is not None
    assert (verdict.identical, verdict.differences) == (True, ())


def test_verifying_without_the_extension_says_which_setting_differs(app: App, paths: Paths) -> None:
    data = drawn(app, tint="red")
    app.close()
    with closing(App(paths, engine=FakeEngine(), hashing=False, safe_mode=True)) as bare:
        bare.start()
        job = ended(bare.verify(data))
        verdict = bare.verdict(job.id)
        assert verdict is not None
        assert not verdict.identical
        assert verdict.differences == (Difference("Tint", "red", ""),)
        assert any("setting 'tint' of an extension is left out" in remark for remark in bare.read_paste(read(data)).remarks)


def test_a_pasted_text_sets_what_it_names_and_a_wrong_value_is_told(app: App) -> None:
    plain = "a cat\nSteps: 5, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"
    assert app.read_paste(f"{plain}, Tint: blue").settings_changes["tint"] == "blue"
    wrong = app.read_paste(f"{plain}, Tint: green")
    assert "tint" not in wrong.settings_changes
    assert any("setting 'tint'" in remark for remark in wrong.remarks)
    assert "Tint" not in wrong.unknown


def test_a_picture_cannot_set_what_is_not_said_to_change_pictures(app: App) -> None:
    data = drawn(app, tint="red")
    said = record(data)
    said["extension_settings"]["tint_key"] = "stolen"
    texts = read_png_texts(data)
    key = next(key for key in texts if key != "parameters")
    forged = encode_png(decode_image(data), {**texts, key: json.dumps(said)})
    pasted = app.read_paste(read(forged))
    assert pasted.settings_changes["tint"] == "red"
    assert "tint_key" not in pasted.settings_changes
    assert any("'tint_key'" in remark for remark in pasted.remarks)


def test_the_page_says_which_setting_was_another(app: App) -> None:
    said = preview(app, read(drawn(app, tint="red")), {})["remarks"]
    assert said == ["The setting tint was red; now it is none. Change it in Settings."]
