"""Kinds of checkpoints that extensions add, and patches of the models that take over within a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.engine.tiny_models import TinyModel, rewrite
from tests.plugins.folders import install
from webui.app import App, Job
from webui.core.events import Failed, Finished
from webui.core.paths import standard_paths
from webui.core.request import GenerationRequest
from webui.engine.families.sd1 import TEXT
from webui.engine.warmup import EngineOptions

SMALL = {"prompt": "a cat", "seed": 7, "steps": 4, "width": 64, "height": 64, "sampler": "Euler", "checkpoint": "tiny.safetensors"}
FAMILY = """
from webui.core.extension_points import NewFamily
from webui.engine.families import sd1
from webui.engine.families.base import Family, TextPart
from webui.engine.families.texts import read_clip_shape
from webui.engine.text_encoders import TextReading

def renamed():
    text = TextPart(lambda file: read_clip_shape(file, ("words.",)), TextReading(clip_skip="always"))
    return Family("Renamed", lambda names: True, sd1.unet_shape, (text,))

@hookimpl
def register_families():
    return [
        NewFamily("Renamed", lambda shapes: "words.final_layer_norm.bias" in shapes, renamed),
        NewFamily("Greedy", lambda shapes: "first_stage_model.decoder.conv_in.weight" in shapes and "greedy" in shapes, lambda: 3),
        NewFamily("Ours", lambda shapes: "cond_stage_model.transformer.text_model.final_layer_norm.bias" in shapes, lambda: 3),
        NewFamily("Broken", lambda shapes: 1 / 0, renamed),
    ]
"""
DIMMING = """
from contextlib import contextmanager

ENTERED = []

@hookimpl
def patch_model(request):
    if "dim" not in request.prompt:
        return None

    @contextmanager
    def patch(unet):
        hook = unet.conv_out.register_forward_hook(lambda module, given, out: out * 0.5)
        ENTERED.append(id(unet))
        try:
            yield
        finally:
            hook.remove()

    return patch
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny: TinyModel, twin: TinyModel) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("checkpoints")
    for model in (tiny, twin):
        (folder / model.path.name).symlink_to(model.path)
    tensors = load_file(tiny.path)
    renamed = {name: None for name in tensors if name.startswith(TEXT[0])}
    words = {"words." + name.removeprefix(TEXT[0]): tensors[name] for name in renamed}
    rewrite(tiny.path, folder / "renamed.safetensors", changes={**renamed, **words}, metadata={})
    rewrite(tiny.path, folder / "strange.safetensors", changes=renamed, metadata={})
    greedy = {**renamed, "greedy": torch.zeros(1)}
    rewrite(tiny.path, folder / "greedy.safetensors", changes=greedy, metadata={})
    paths = standard_paths(tmp_path_factory.mktemp("data"), checkpoint_dirs=(folder,))
    install(paths.extensions, "families", FAMILY)
    install(paths.extensions, "dimming", DIMMING)
    with closing(App(paths, engine_options=EngineOptions(device="cpu", deterministic=True), hashing=False)) as opened:
        opened.start()
        assert [extension.error for extension in opened.host.extensions()] == [None, None]
        yield opened


def ended(app: App, **wishes: Any) -> Job:
    job = app.submit(GenerationRequest(**{**SMALL, **wishes}), save=True)
    job.wait(300)
    return job


def drawn(app: App, **wishes: Any) -> np.ndarray:
    job = ended(app, **wishes)
    assert job.log.latest(Finished), job.log.latest(Failed)
    with Image.open(job.pictures[0].path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_hook_register_families_draws_with_files_that_we_do_not_know(app: App) -> None:
    checkpoint = app.catalog.find_checkpoint("renamed")
    assert checkpoint.identity.family == "Renamed @ families"
    assert (drawn(app, checkpoint="renamed.safetensors") == drawn(app)).all()


def test_a_familys_models_also_serve_in_a_hires_fix(app: App) -> None:
    wishes = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    ours = drawn(app, **wishes, checkpoint="twin.safetensors", hr_checkpoint="tiny.safetensors")
    assert (drawn(app, **wishes, checkpoint="twin.safetensors", hr_checkpoint="renamed.safetensors") == ours).all()


def test_what_the_program_draws_itself_is_offered_to_no_extension(app: App) -> None:
    assert app.catalog.find_checkpoint("tiny").identity.family == "sd1"
    assert app.catalog.find_checkpoint("twin").identity.family == "sd1"
    drawn(app)


def test_a_file_that_no_family_recognises_stays_refused(app: App) -> None:
    broken = {one.name: one.reason for one in app.catalog.broken()}
    assert "without its text encoder" in broken["strange.safetensors"]


def test_a_family_that_builds_no_family_fails_its_jobs_and_is_named(app: App) -> None:
    failed = ended(app, checkpoint="greedy.safetensors").log.latest(Failed)
    assert failed is not None
    assert failed.message == "Greedy @ families built a int; build a webui.engine.families.base.Family."
    drawn(app)


def test_without_the_extension_the_file_is_refused_again(app: App, tmp_path: Path) -> None:
    folder = app.catalog.find_checkpoint("renamed").path.parent
    with closing(App(standard_paths(tmp_path, checkpoint_dirs=(folder,)), hashing=False, safe_mode=True)) as bare:
        bare.load_extensions()
        bare.catalog.refresh()
        assert {one.name for one in bare.catalog.broken()} == {"renamed.safetensors", "strange.safetensors", "greedy.safetensors"}


HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.7}
REFINED = {"refiner_checkpoint": "twin.safetensors", "refiner_switch_at": 0.5}


@pytest.mark.parametrize("wishes", [{**HIRES, "hr_checkpoint": "twin.safetensors"}, REFINED], ids=["hires fix", "refiner"])
def test_a_patch_also_changes_the_model_that_takes_over(app: App, wishes: dict[str, Any]) -> None:
    before, alone = drawn(app, prompt="a cat", **wishes), drawn(app, checkpoint="twin.safetensors")
    entered = _entered(app)
    job = ended(app, prompt="a dim cat", **wishes)
    assert job.log.latest(Finished), job.log.latest(Failed)
    assert len(set(_entered(app)[len(entered) :])) == 2
    # Both models are as they were.
    assert (drawn(app, prompt="a cat", **wishes) == before).all()
    assert (drawn(app, checkpoint="twin.safetensors") == alone).all()


def test_a_model_that_takes_over_twice_is_patched_once(app: App) -> None:
    entered = _entered(app)
    wishes = {**HIRES, **REFINED, "hr_checkpoint": "twin.safetensors"}
    job = ended(app, prompt="a dim cat", **wishes)
    assert job.log.latest(Finished), job.log.latest(Failed)
    new = _entered(app)[len(entered) :]
    assert len(new) == len(set(new)) == 2


def _entered(app: App) -> list[int]:
    """Which UNets were patched so far, in order."""
    (patch,) = (one for one in app.host.implementations("patch_model") if one.plugin_name == "dimming")
    return list(patch.function.__globals__["ENTERED"])
