"""Merges as jobs of the program: names are checked, the result appears in the catalog, and a restart knows what a job was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.catalog.model_files import SD1, SDXL, UNET_INPUT, VAE, write_model
from tests.jobs.stand_ins import wait_until
from tests.merging_engine import MergingEngine
from webui.app import App, Job
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.events import Cancelled, Failed, Finished, Progress, Remark
from webui.core.model_jobs import MergeRequest, read_model_request
from webui.core.paths import Paths
from webui.core.request import GenerationRequest


@pytest.fixture
def app(paths: Paths) -> Iterator[App]:
    folder = paths.checkpoints[0]
    for name, fill in (("one", b"\x3c"), ("two", b"\x40"), ("three", b"\x38")):
        write_model(folder / f"{name}.safetensors", SD1, fill=fill)
    write_model(folder / "big.safetensors", SDXL)
    write_model(folder / "inpaint.safetensors", {**SD1, UNET_INPUT: (2, 9, 1, 1)})
    write_model(folder / "edit.safetensors", {**SD1, UNET_INPUT: (2, 8, 1, 1)})
    write_model(paths.vaes[0] / "good.safetensors", VAE, fill=b"\x3a")
    with closing(App(paths, engine=MergingEngine())) as opened:
        opened.start()
        yield opened


def wish(**values: Any) -> MergeRequest:
    return read_model_request(MergeRequest, {"primary": "one", "secondary": "two", **values})


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def done(job: Job) -> Job:
    assert isinstance(job.wait(20), Finished), job.log.latest(Failed)
    return job


def test_a_merge_appears_among_the_checkpoints_and_says_its_name(app: App, paths: Paths) -> None:
    job = done(app.submit_merge(wish(multiplier=0.25)))
    assert isinstance(job.request, MergeRequest)
    assert job.request.result == "0.75(one) + 0.25(two).safetensors"
    assert (job.request.primary, job.request.secondary) == ("one.safetensors", "two.safetensors")
    made = app.catalog.find_checkpoint("0.75(one) + 0.25(two)", closest=False)
    assert made.path == paths.checkpoints[0] / job.request.result
    assert [remark.text for remark in job.log.all(Remark)] == ["Saved as 0.75(one) + 0.25(two).safetensors (0.00 GB)."]
    assert job.log.all(Progress)
    assert job.pictures == ()
    a, b, merged = (load_file(paths.checkpoints[0] / name) for name in ("one.safetensors", "two.safetensors", made.name))
    assert merged[UNET_INPUT].equal((0.75 * a[UNET_INPUT].float() + 0.25 * b[UNET_INPUT].float()).half())
    assert app.catalog.sha256(app.catalog.find_checkpoint("one")) in made.identity.metadata["sd_merge_recipe"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"method": "Add difference", "tertiary": "three", "multiplier": 1}, "one + 1.0(two - three).safetensors"),
        ({"custom_name": "mine"}, "mine.safetensors"),
        ({"custom_name": "mine.safetensors"}, "mine.safetensors"),
        ({"custom_name": "v1.5"}, "v1.5.safetensors"),
        ({"primary": "inpaint", "custom_name": "x"}, "x.inpainting.safetensors"),
        ({"primary": "edit", "custom_name": "x"}, "x.instruct-pix2pix.safetensors"),
        ({"primary": "inpaint", "secondary": "inpaint", "custom_name": "x"}, "x.safetensors"),
    ],
)
def test_names_are_a1111s(app: App, values: dict[str, Any], name: str) -> None:
    assert done(app.submit_merge(wish(**values))).request.result == name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "a\\b",
        "/etc/x",
        ".hidden",
        "C:x",
        "con",
        "x.",
        " x",
        "a\nb",
        "x\u202e",
        "a" * 201,
        "..",
        "x?",
        "one.safetensors\0",
    ],
)
def test_a_name_that_leads_elsewhere_or_is_none_is_refused(app: App, paths: Paths, name: str) -> None:
    before = names_in(paths.checkpoints[0])
    with pytest.raises(InvalidRequest, match="custom_name"):
        app.submit_merge(wish(custom_name=name))
    assert names_in(paths.checkpoints[0]) == before


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"secondary": ""}, "secondary: 'Weighted sum' .* needs model B"),
        ({"primary": ""}, "primary: .* needs model A"),
        ({"method": "Add difference"}, "tertiary: 'Add difference' .* needs model C"),
        ({"config_source": "C"}, "tertiary: .* needs model C"),
        ({"secondary": "nothing like it"}, "Unknown checkpoint 'nothing like it'"),
        ({"bake_in_vae": "nothing"}, "Unknown VAE 'nothing'"),
        ({"bake_in_vae": "Automatic"}, "name a VAE's file"),
        ({"discard_weights": "(("}, "is no regular expression"),
        ({"discard_weights": "((a{99}){99}){99}"}, "repeats more than 1000"),
        ({"method": "Sum"}, "Unknown value for method 'Sum'"),
        ({"multiplier": 3}, "multiplier: got 3"),
        ({"custom_name": "x.vae"}, "taken for a VAE"),
        ({"metadata_json": "[1]"}, "write a JSON object"),
        ({"discard_weights": "a" * 301}, "discard_weights: got"),
        ({"method": "No interpolation"}, r"already a one\.safetensors"),
        ({"custom_name": "one"}, r"already a one\.safetensors"),
        ({"custom_name": "one", "overwrite": True}, "one of the models that it is made of"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_queued(app: App, values: dict[str, Any], words: str) -> None:
    with pytest.raises((InvalidRequest, UnknownName), match=words):
        app.submit_merge(wish(**values))
    assert app.queue.jobs() == ()


def test_a_name_that_is_taken_is_replaced_only_when_asked(app: App, paths: Paths) -> None:
    taken = paths.checkpoints[0] / "three.safetensors"
    before = taken.read_bytes()
    done(app.submit_merge(wish(custom_name="three", overwrite=True)))
    assert taken.read_bytes() != before


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_link_is_never_replaced(app: App, paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (paths.checkpoints[0] / "link.safetensors").symlink_to(tmp_path / "precious")
    with pytest.raises(InvalidRequest, match="never replaced"):
        app.submit_merge(wish(custom_name="link", overwrite=True))


def test_models_of_two_families_fail_the_job_with_the_reason(app: App, paths: Paths) -> None:
    before = names_in(paths.checkpoints[0])
    write_model(paths.checkpoints[0] / "wide.safetensors", {**SD1, "model.diffusion_model.input_blocks.0.0.weight": (3, 4, 1, 1)})
    app.catalog.refresh()
    end = app.submit_merge(wish(secondary="wide")).wait(20)
    assert isinstance(end, Failed)
    assert "has shape (3, 4, 1, 1) where A has (2, 4, 1, 1)" in end.message
    assert names_in(paths.checkpoints[0]) == sorted([*before, "wide.safetensors"])


def test_a_vae_is_baked_in_and_precision_changed_by_a_conversion(app: App, paths: Paths) -> None:
    request = {"method": "No interpolation", "secondary": "", "bake_in_vae": "good", "custom_name": "c", "precision": "bfloat16"}
    done(app.submit_merge(wish(**request)))
    made, vae = load_file(paths.checkpoints[0] / "c.safetensors"), load_file(paths.vaes[0] / "good.safetensors")
    assert made["first_stage_model.decoder.conv_in.weight"].equal(vae["decoder.conv_in.weight"].bfloat16())


def test_a_job_of_an_earlier_start_is_known_for_what_it_was(app: App, paths: Paths) -> None:
    job = done(app.submit_merge(wish(custom_name="early"), job_id="early"))
    app.close()
    with closing(App(paths, engine=MergingEngine(), hashing=False)) as again:
        again.start()
        known = again.queue.job("early")
        assert known.request == job.request
        assert (known.state, known.expected) == ("finished", 0)


def test_merges_wait_for_each_other_and_drawing_goes_on(app: App) -> None:
    """With as many merges as there are workers, a drawing behind them is done before they are."""
    engine = app.engine
    assert isinstance(engine, MergingEngine)
    with engine._merges._one_at_a_time:  # as if the first one took long
        merges = [app.submit_merge(wish(custom_name=f"m{number}")) for number in range(10)]
        wait_until(lambda: merges[0].state == "running")
        drawn = app.submit(GenerationRequest(prompt="a cat", steps=1, width=64, height=64), save=False)
        assert isinstance(drawn.wait(20), Finished)
        assert [job.state for job in merges] == ["running"] + ["queued"] * 9
        app.queue.cancel(merges[0].id)
        assert isinstance(merges[0].wait(20), Cancelled)
    for job in merges[1:]:
        done(job)
