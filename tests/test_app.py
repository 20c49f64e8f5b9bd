"""The program as one object: what it does to a request before it is queued, and pictures that are drawn again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine, picture_of
from webui.app import App, Job
from webui.core.errors import InvalidRequest, NotFound
from webui.core.events import Failed, Finished, Remark
from webui.core.metadata import read
from webui.core.paths import Paths
from webui.core.request import GenerationRequest
from webui.core.styles import Style

SMALL = {"prompt": "a cat", "seed": 7, "steps": 2, "width": 64, "height": 64}


class OtherEngine(FakeEngine):
    """Draws everything a little brighter, on another device."""

    device = "another"

    def run(self, work):  # type: ignore[no-untyped-def]
        for event in super().run(work):
            if hasattr(event, "image") and hasattr(event, "request"):
                event.image.paste(tuple(min(255, value + 3) for value in event.image.getpixel((0, 0))), (0, 0, *event.image.size))
            yield event


@pytest.fixture
def app(paths: Paths) -> Iterator[App]:
    with closing(App(paths, engine=FakeEngine(), hashing=False)) as opened:
        opened.start()
        yield opened


def ended(job: Job) -> Job:
    assert isinstance(job.wait(20), Finished), job.log.latest(Failed)
    return job


def drawn(app: App, **wishes: object) -> bytes:
    job = ended(app.submit(GenerationRequest(**{**SMALL, **wishes}), save=False))
    assert job.result is not None
    return job.result.pictures[0].path.read_bytes()


def test_styles_comments_and_wildcards_are_gone_from_the_request_that_is_queued(app: App) -> None:
    app.styles.save(Style("ink", "ink drawing of {prompt}"))
    job = ended(app.submit(GenerationRequest(**{**SMALL, "prompt": "a {cat|cat}# not a dog"}), styles=["ink", "gone"]))
    assert (job.request.prompt, job.request.prompt_template) == ("ink drawing of a cat\n", "ink drawing of a {cat|cat}\n")
    assert [remark.text for remark in job.log.all(Remark)] == ["There is no style 'gone'; drawn without."]


def test_a_lora_that_is_not_there_is_a_remark_of_the_result(app: App) -> None:
    job = ended(app.submit(GenerationRequest(**{**SMALL, "prompt": "a cat <lora:nothing:1>"})))
    assert job.result is not None
    assert len(job.result.remarks) == 1
    assert "'nothing'" in job.result.remarks[0]


def test_a_picture_of_ours_is_drawn_again_identically(app: App) -> None:
    job = ended(app.verify(drawn(app, prompt="a cat, CFG scale: 1, x", negative_prompt="red\nSteps: 3", subseed=5, subseed_strength=0.5)))
    verdict = app.verdict(job.id)
    assert verdict is not None
    assert verdict.identical
    assert verdict.differences == ()
    assert not job.save


def test_pixels_are_compared_without_the_loss_of_a_format_that_is_set(app: App) -> None:
    data = drawn(app)
    app.change_settings({"samples_format": "jpg", "jpeg_quality": 1})
    verdict = app.verdict(ended(app.verify(data)).id)
    assert verdict is not None
    assert verdict.identical


def test_a_picture_of_a_batch_is_verified_alone(app: App) -> None:
    job = ended(app.submit(GenerationRequest(**SMALL, batch_size=3), save=False))
    assert job.result is not None
    again = ended(app.verify(job.result.pictures[2].path.read_bytes()))
    assert again.request.seed == 9
    verdict = app.verdict(again.id)
    assert verdict is not None
    assert verdict.identical


def test_another_engines_picture_is_measured_and_the_device_named(paths: Paths, app: App) -> None:
    data = drawn(app)
    app.close()
    with closing(App(paths, engine=OtherEngine(), hashing=False)) as other:
        other.start()
        verdict = other.verdict(ended(other.verify(data)).id)
    assert verdict is not None
    assert (verdict.identical, verdict.largest, verdict.share) == (False, 3, 1.0)
    assert [(one.key, one.then, one.now) for one in verdict.differences] == [("Device", "imagination", "another")]


def test_a_jpeg_from_elsewhere_is_verified_by_its_infotext(app: App) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    text = "a cat\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 7, Size: 64x64, Version: v1.10.1"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    picture_of(7, 64, 64).save(file, "JPEG", exif=exif, quality=100)
    verdict = app.verdict(ended(app.verify(file.getvalue())).id)
    assert verdict is not None
    assert verdict.largest <= 3
    keys = [one.key for one in verdict.differences]
    assert "Version" in keys
    assert "Sampler" not in keys


def test_a_picture_that_says_nothing_cannot_be_verified(app: App) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    with pytest.raises(InvalidRequest, match="says nothing of how it was made"):
        app.verify(file.getvalue())


def test_a_job_that_verifies_nothing_has_no_verdict(app: App) -> None:
    job = ended(app.submit(GenerationRequest(**SMALL)))
    with pytest.raises(NotFound, match="verifies no picture"):
        app.verdict(job.id)


def test_the_record_names_everything_that_took_part(app: App) -> None:
    metadata = read(drawn(app, prompt="a cat"))
    assert metadata.record is not None
    assert metadata.record.device == "imagination"
    assert metadata.record.model("checkpoint") is not None
    assert metadata.record.request.prompt == "a cat"


def test_pasting_looks_models_up_here(app: App) -> None:
    own = app.catalog.default_checkpoint()
    assert app.read_paste(f"a\nSteps: 2, Sampler: Euler, CFG scale: 7, Model: {own.stem}").request_changes["checkpoint"] == own.name
    pasted = app.read_paste("a\nSteps: 2, Sampler: Euler, CFG scale: 7, Model hash: 0123456789, Model: somebody else's")
    assert "checkpoint" not in pasted.request_changes
    assert any("somebody else's" in remark for remark in pasted.remarks)
