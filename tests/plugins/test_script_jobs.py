"""Always-on scripts in real jobs: the pictures that they add, and their controls in the text beside a picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine
from tests.plugins.folders import install
from webui.app import App, Job
from webui.core.errors import NotFound
from webui.core.events import Failed, Finished
from webui.core.images import read_png_texts
from webui.core.paths import Paths
from webui.core.request import GenerationRequest
from webui.plugins.host import Host

SMALL = {"prompt": "a cat", "seed": 7, "steps": 2, "width": 64, "height": 64}
FRAMING = """
from PIL import Image
from webui.core.parameters import parameter
from webui.plugins.script import Script

class Framing(Script):
    def title(self):
        return "Framing"

    def ui(self, is_img2img):
        return {
            "edge": parameter(0, title="Edge", help="Pixels.", minimum=0, maximum=64, step=1, infotext="Frame edge"),
            "words": parameter("", title="Words", help="Below.", max_length=40, infotext="Frame words"),
            "round": parameter(False, title="Round", help="Or not.", infotext="Frame round"),
            "sides": parameter(("top",), title="Sides", help="Of it.", infotext="Frame sides"),
            "secret": parameter(1.5, title="Secret", help="In no text.", minimum=0, maximum=2),
        }

    def process(self, p, words):
        if words == "changed":
            p.extra_generation_params["Frame words"] = "by process"

    def postprocess(self, p, processed, edge, words):
        if words == "fail":
            processed.add(Image.new("RGB", (8, 8), "red"))
            processed.add("picture")
        if edge:
            processed.add(Image.new("RGB", (edge, edge), "red"))
            processed.add(Image.new("RGB", (edge, 2 * edge), "blue"), infotext="of both\\nSteps: 3, Sampler: Euler, Seed: 1", like=-1)

@hookimpl
def register_scripts():
    return [Framing()]
"""


@pytest.fixture
def app(paths: Paths) -> Iterator[App]:
    install(paths.extensions, "framing", FRAMING)
    with closing(App(paths, engine=FakeEngine(), hashing=False)) as app:
        app.start()
        assert [extension.error for extension in app.host.extensions()] == [None]
        yield app


def ended(app: App, **values: Any) -> Job:
    job = app.submit(GenerationRequest(**SMALL, batch_count=2, always_on={"Framing": values} if values else {}))
    assert isinstance(job.wait(20), Finished), job.log.latest(Failed)
    return job


def test_pictures_that_a_script_adds_stand_behind_the_jobs_own(app: App) -> None:
    job = ended(app, edge=8)
    pictures = job.pictures
    assert len(pictures) == 4
    sizes = [Image.open(picture.path).size for picture in pictures]
    assert sizes == [(64, 64), (64, 64), (8, 8), (8, 16)]
    first, second, like, own = pictures
    assert (like.infotext, like.request) == (first.infotext, first.request)
    assert own.infotext == "of both\nSteps: 3, Sampler: Euler, Seed: 1"
    assert own.request == second.request
    assert read_png_texts(own.path.read_bytes())["parameters"] == own.infotext
    assert all(app.outputs.picture(picture.id) == picture for picture in pictures)


def test_an_unsaved_job_keeps_its_added_pictures_as_long_as_its_own(app: App) -> None:
    request = GenerationRequest(**SMALL, always_on={"Framing": {"edge": 8}})
    job = app.submit(request, save=False, job_id="again")
    assert isinstance(job.wait(20), Finished)
    added = job.pictures[-1]
    assert (len(job.pictures), added.saved) == (3, False)
    app.submit(GenerationRequest(**SMALL), save=False, job_id="again").wait(20)
    with pytest.raises(NotFound):
        app.outputs.picture(added.id)


def test_a_script_that_fails_adds_nothing_and_the_job_is_done(app: App, caplog: pytest.LogCaptureFixture) -> None:
    assert len(ended(app, words="fail").pictures) == 2
    assert "Extension 'framing' failed in postprocess: TypeError: processed.add got a str; give a picture." in caplog.text


def test_controls_with_an_infotext_key_stand_beside_the_picture_once_the_script_is_asked(app: App) -> None:
    assert "Frame" not in ended(app).pictures[0].infotext
    asked = ended(app, edge=3, words="a, b: c", round=True, sides=["top", "left"]).pictures[0].infotext
    assert 'Frame edge: 3, Frame words: "a, b: c", Frame round: True, Frame sides: "[\\"top\\", \\"left\\"]"' in asked
    assert "1.5" not in asked
    assert "Frame words: by process" in ended(app, words="changed").pictures[0].infotext


def test_pasting_the_text_asks_the_script_again(app: App) -> None:
    values = {"edge": 3, "words": "a, b: c", "round": True, "sides": ["top", "left"], "secret": 1.5}
    infotext = ended(app, **values).pictures[0].infotext
    pasted = app.read_paste(infotext)
    assert pasted.request_changes["always_on"] == {"Framing": values}
    assert not {key for key in pasted.unknown if key.startswith("Frame")}
    again = GenerationRequest(**SMALL).changed(**pasted.request_changes)
    job = app.submit(again)
    assert isinstance(job.wait(20), Finished)
    assert job.pictures[0].infotext == infotext


def test_a_text_without_its_keys_leaves_scripts_as_they_are_and_a_wrong_value_is_told(app: App) -> None:
    plain = "a cat\nSteps: 5, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"
    assert "always_on" not in app.read_paste(plain).request_changes
    wrong = app.read_paste(f"{plain}, Frame edge: 99, Frame round: True")
    assert "always_on" not in wrong.request_changes
    assert any("Framing: edge: got '99'" in remark for remark in wrong.remarks)
    assert app.read_paste(f"{plain}, Frame round: True").request_changes["always_on"]["Framing"]["round"] is True


@pytest.mark.parametrize(
    ("key", "says"),
    [("Steps", "there is a key of infotexts 'Steps' already"), ("two: keys", "cannot be an infotext key"), ("", "")],
)
def test_a_key_that_is_taken_or_cannot_be_read_disables_the_extension(tmp_path: Path, key: str, says: str) -> None:
    install(tmp_path, "framing", FRAMING.replace('"Frame edge"', repr(key)))
    install(tmp_path, "second", FRAMING.replace('"Framing"', '"Other"').replace("Frame ", "frame "))
    host = Host(tmp_path)
    host.load()
    first, second = host.extensions()
    assert says in (first.error or "")
    assert first.enabled is not bool(says)
    assert second.enabled is bool(says)
