"""Each script once from request to files, with a real engine and tiny real models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.tiny_models import TinyModel
from tests.engine.upscaler_files import nearest_weights, save
from webui.app import App, Job
from webui.core.errors import UnknownName
from webui.core.events import Failed, Finished
from webui.core.paths import standard_paths
from webui.core.request import GenerationRequest
from webui.engine.engine import LocalEngine
from webui.engine.warmup import EngineOptions

SMALL = {"prompt": "a red cat", "seed": 7, "steps": 2, "width": 64, "height": 64, "sampler": "Euler", "checkpoint": "tiny.safetensors"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny: TinyModel, twin: TinyModel, models: Path) -> Iterator[App]:
    paths = standard_paths(tmp_path_factory.mktemp("data"), checkpoint_dirs=(models,))
    engine = LocalEngine(EngineOptions(device="cpu", deterministic=True), paths)
    with closing(App(paths, engine=engine, hashing=False)) as opened:
        opened.start()
        yield opened


def ended(app: App, **wishes: Any) -> Job:
    job = app.submit(GenerationRequest(**{**SMALL, **wishes}), save=True)
    assert isinstance(job.wait(300), Finished), job.log.latest(Failed)
    return job


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def stored(app: App) -> tuple[str, ...]:
    noise = np.random.default_rng(1).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return (app.queue.inputs.add(Image.fromarray(noise).resize((96, 64), Image.Resampling.BICUBIC)),)


def test_a_plot_over_checkpoints_draws_each_cell_as_a_job_of_its_own_would(app: App) -> None:
    arguments = {
        "x_type": "Checkpoint name", "x_values": "tiny,twin", "y_type": "CFG Scale", "y_values": "1,9", "include_lone_images": True,
        "draw_legend": False,
    }  # fmt: skip
    job = ended(app, script="X/Y/Z plot", script_args=arguments)
    grid, *cells = job.pictures
    assert [cell.request.checkpoint for cell in cells] == ["tiny.safetensors", "twin.safetensors"] * 2
    alone = [ended(app, checkpoint=cell.request.checkpoint, cfg_scale=cell.request.cfg_scale).pictures[0] for cell in cells]
    shown = pixels(grid.path)
    for number, picture in enumerate(alone):
        row, column = divmod(number, 2)
        assert np.array_equal(shown[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64], pixels(picture.path))
    assert len({pixels(picture.path).tobytes() for picture in alone}) == 4


def test_a_plot_of_settings_changes_them_for_its_cells_alone(app: App) -> None:
    job = ended(app, script="X/Y/Z plot", script_args={"x_type": "Clip skip", "x_values": "1,2", "include_lone_images": True})
    assert ["Clip skip: 2" in picture.infotext for picture in job.pictures] == [False, False, True]
    assert pixels(job.pictures[1].path).tobytes() != pixels(job.pictures[2].path).tobytes()
    assert app.settings.snapshot().CLIP_stop_at_last_layers == 1


def test_prompt_matrix_and_prompts_from_a_file_draw_what_their_prompts_say(app: App) -> None:
    job = ended(app, prompt="a cat|in snow", script="Prompt matrix")
    same = ended(app, prompt="a cat, in snow")
    assert np.array_equal(pixels(job.pictures[2].path), pixels(same.pictures[0].path))
    job = ended(
        app, prompt="", script="Prompts from file or textbox", script_args={"prompt_txt": 'a cat, in snow\n--prompt "a dog" --steps 1'}
    )
    assert np.array_equal(pixels(job.pictures[0].path), pixels(same.pictures[0].path))
    assert job.pictures[1].request.steps == 1


def test_loopback_goes_on_from_its_own_picture(app: App) -> None:
    job = ended(app, init_images=stored(app), script="Loopback", script_args={"loops": 2}, denoising_strength=0.5)
    first, second = job.pictures
    with Image.open(first.path) as image:
        name = app.queue.inputs.add(image)
    assert second.request.init_images == (name,)
    again = ended(app, init_images=(name,), seed=8, denoising_strength=0.5)
    assert np.array_equal(pixels(second.path), pixels(again.pictures[0].path))


def test_sd_upscale_makes_a_larger_picture_and_keeps_no_tile(app: App) -> None:
    job = ended(app, init_images=stored(app), script="SD upscale", script_args={"overlap": 16}, denoising_strength=0.3, batch_size=2)
    (picture,) = job.pictures
    assert pixels(picture.path).shape == (128, 192, 3)
    assert "SD upscale overlap: 16" in picture.infotext
    assert not list(app.paths.unsaved.rglob("*.png"))


def test_sd_upscale_enlarges_by_an_upscaler_of_models_and_refuses_unknown_ones(app: App) -> None:
    save(app.paths.models / "ESRGAN" / "twice.safetensors", nearest_weights())
    app.catalog.refresh()
    wishes = {"init_images": stored(app), "script": "SD upscale", "denoising_strength": 0.3}
    arguments = {"overlap": 16, "upscaler": "twice"}
    (by_model,) = ended(app, **wishes, script_args=arguments).pictures
    (nearest,) = ended(app, **wishes, script_args={**arguments, "upscaler": "Nearest"}).pictures
    assert "SD upscale upscaler: twice" in by_model.infotext
    assert abs(pixels(by_model.path) - pixels(nearest.path)).mean() < 1
    with pytest.raises(UnknownName, match="upscaler 'thrice'"):
        app.submit(GenerationRequest(**{**SMALL, **wishes, "script_args": {"upscaler": "thrice"}}), save=True)


@pytest.mark.parametrize("script", ["Poor man's outpainting", "Outpainting mk2"])
def test_outpainting_keeps_the_picture_far_from_the_seam(app: App, script: str) -> None:
    arguments = {"pixels": 32, "mask_blur": 1, "direction": ["right"]}
    job = ended(app, init_images=stored(app), script=script, script_args=arguments, width=128)
    (picture,) = job.pictures
    with Image.open(app.queue.inputs._path(job.request.init_images[0])) as given:
        before = np.asarray(given.convert("RGB")).astype(int)
    after = pixels(picture.path)
    assert after.shape == (64, 128, 3)
    assert np.array_equal(after[:, :64], before[:, :64])
    assert after[:, 100:].std() > 1
