"""The small models that ship beside the demo checkpoint do what their names say, on things that none of them has seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.shown_things import COLOURS, SIDE, box, depth_map, disc, found, mean_colour, overlap, picture
from tests.engine.studio import Studio, work_for
from webui.catalog.catalog import Catalog
from webui.catalog.depth_models import find_depth_model
from webui.catalog.upscalers import list_upscalers
from webui.core.paths import PROGRAM, standard_paths
from webui.core.ports import Work
from webui.engine.annotators import Annotators
from webui.engine.depth import DepthEstimators
from webui.engine.device import Device
from webui.engine.image_models import ImageModels
from webui.engine.upscale import upscale
from webui.jobs.inputs import InputPictures

MODELS = PROGRAM / "models"
DEMO = MODELS / "Stable-diffusion" / "demo.safetensors"
DEPTH = MODELS / "Stable-diffusion" / "demo-depth.safetensors"
CANNY = MODELS / "ControlNet" / "demo-canny.safetensors"
WISHES = {"width": SIDE, "height": SIDE, "steps": 12, "sampler": "DPM++ 2M", "cfg_scale": 3.0}
CPU = Device(torch.device("cpu"), torch.float32, torch.float32)
MASKS = {"disc": disc(52, 70, 36), "bar": box(30, 24, 70, 108)}


def depth_work(inputs: Path, depth: Image.Image, **wishes: Any) -> Work:
    """Drawing from noise with a depth map."""
    store = InputPictures(inputs)
    asked = work_for(DEPTH, **{**WISHES, **wishes, "depth_map": store.add(depth), "use_depth": True})
    return replace(asked, pictures=store.files_of(asked.request))


def canny_work(inputs: Path, followed: Image.Image, weight: float, **wishes: Any) -> Work:
    """Drawing from noise after the edges of a picture.  weight: 0 draws as if there were no unit."""
    store = InputPictures(inputs)
    unit = {"enabled": True, "module": "canny", "model": "demo-canny", "image": store.add(followed), "weight": weight}
    asked = work_for(DEMO, **{**WISHES, **wishes, "control_units": [unit]})
    return replace(asked, pictures=store.files_of(asked.request), controls={"demo-canny": CANNY})


def edges_of(image: Image.Image) -> np.ndarray:
    """(128, 128) bool."""
    return cv2.Canny(np.asarray(image.convert("RGB")), 100, 200) > 0


def followed_share(edges: np.ndarray, pixels: np.ndarray) -> float:
    """How well a drawn picture's edges are the wished ones: of how many of each have the other's within 3 pixels, the harmonic mean."""
    drawn = edges_of(Image.fromarray(pixels.astype(np.uint8)))
    near = np.ones((7, 7), np.uint8)
    recall = (edges & (cv2.dilate(drawn.astype(np.uint8), near) > 0)).sum() / edges.sum()
    precision = (drawn & (cv2.dilate(edges.astype(np.uint8), near) > 0)).sum() / max(drawn.sum(), 1)
    return float(2 * recall * precision / max(recall + precision, 1e-6))


@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize(("thing", "ground"), [("red", "white"), ("green", "white"), ("yellow", "blue")])
def test_the_depth_checkpoint_keeps_the_silhouette_while_the_prompt_changes_the_colours(
    studio: Studio, tmp_path: Path, shape: str, thing: str, ground: str
) -> None:
    mask = MASKS[shape]
    prompt = f"a {thing} heart on a {ground} background"
    drawn = studio.pictures(depth_work(tmp_path, depth_map(mask), prompt=prompt, seed=3))[0]
    # Measured over six seeds: at least 0.84, 0.90 in the mean, and at most 23 levels.
    assert overlap(found(drawn, thing, ground), mask) > 0.7
    assert np.abs(np.array(mean_colour(drawn, mask)) - COLOURS[thing]).max() < 60


def test_the_prompt_changes_what_the_thing_is_and_the_silhouette_stays(studio: Studio, tmp_path: Path) -> None:
    mask = MASKS["disc"]
    one, other = (
        studio.pictures(depth_work(tmp_path, depth_map(mask), prompt=f"{thing} on a white background", seed=3))[0]
        for thing in ("a panda", "a pumpkin")
    )
    # Measured over six seeds: 9 to 23 times.
    assert np.abs(one - other)[mask].mean() > 4 * np.abs(one - other)[~mask].mean()


def test_the_depth_estimator_finds_a_thing_that_it_has_not_seen() -> None:
    model = find_depth_model((MODELS / "Depth",))
    estimators = DepthEstimators(torch.device("cpu"))
    for mask in MASKS.values():
        for thing, ground in (("red", "white"), ("green", "blue"), ("blue", "yellow")):
            depth = estimators.estimate(picture(mask, thing, ground), model)
            # Measured on six masks in five pairs of colours: at least 0.86, 0.93 in the mean.
            assert overlap(depth > (depth.min() + depth.max()) / 2, mask) > 0.75


def test_what_is_estimated_from_a_picture_draws_its_silhouette_again(studio: Studio, tmp_path: Path) -> None:
    mask = MASKS["disc"]
    depth = DepthEstimators(torch.device("cpu")).estimate(picture(mask, "green", "blue"), find_depth_model((MODELS / "Depth",)))
    levels = ((depth - depth.min()) / (depth.max() - depth.min()) * 255).astype(np.uint8)
    work = depth_work(tmp_path, Image.fromarray(levels), prompt="a red circle on a white background", seed=5)
    # Measured over six seeds: 0.93 to 0.95.
    assert overlap(found(studio.pictures(work)[0], "red", "white"), mask) > 0.75


@pytest.mark.parametrize("shape", MASKS)
def test_a_canny_unit_keeps_edges(studio: Studio, tmp_path: Path, shape: str) -> None:
    studio.annotators = Annotators(tmp_path, torch.device("cpu"))
    shown = picture(MASKS[shape], "yellow", "blue")
    followed, free = (
        followed_share(edges_of(shown), studio.pictures(canny_work(tmp_path, shown, weight, prompt="a red apple on a white background"))[0])
        for weight in (1.0, 0.0)
    )
    # Measured over four seeds: 0.47 to 0.96 with it, 0.18 to 0.29 without.
    assert followed > free + 0.2


@pytest.mark.parametrize("name", ["R-ESRGAN AnimeVideo", "R-ESRGAN 4x+ Anime6B"])
def test_an_upscaler_draws_what_shrinks_back_to_the_picture(tmp_path: Path, name: str) -> None:
    upscaler = list_upscalers(MODELS, lambda file: None).by_name[name]
    source = picture(MASKS["disc"], "green", "blue").resize((48, 48), Image.Resampling.BOX)
    large = upscale(source, upscaler, 192, 192, models=ImageModels(CPU, tmp_path))
    back = np.asarray(large.resize((48, 48), Image.Resampling.BOX), dtype=float)
    assert large.size == (192, 192)
    # Measured: 3.0 and 1.9 levels.
    assert np.abs(back - np.asarray(source, dtype=float)).mean() < 6


def test_what_ships_is_small() -> None:
    ours = [path for folder in (MODELS, PROGRAM / "embeddings") for path in folder.rglob("*demo*") if path.is_file()]
    sizes = {path.name: path.stat().st_size / 1e6 for path in ours}
    assert len(sizes) >= 7
    assert {name for name, size in sizes.items() if size > 20} == {"demo.safetensors"}
    assert sizes["demo.safetensors"] <= 60
    assert sum(sizes.values()) < 150


def test_what_ships_is_found_wherever_the_data_folder_is(tmp_path: Path) -> None:
    catalog = Catalog(standard_paths(tmp_path))
    catalog.refresh()
    assert {"demo.safetensors", "demo-depth.safetensors", "demo-inpainting.safetensors"} <= {file.name for file in catalog.checkpoints()}
    assert catalog.find_lora("demo-blueprint").path == MODELS / "Lora" / "demo-blueprint.safetensors"
    assert catalog.find_embedding("demo-neapolitan").path == PROGRAM / "embeddings" / "demo-neapolitan.safetensors"
    assert [vae.path for vae in catalog.vaes()] == [MODELS / "VAE" / "poster-for-demo.safetensors"]
    assert [catalog.find_vae("Automatic", file) for file in catalog.checkpoints()] == [None] * len(catalog.checkpoints())
    assert catalog.find_checkpoint("").name == "demo.safetensors"
    assert catalog.depth_model() == MODELS / "Depth" / "demo-dpt"
    assert "demo-canny" in [file.called for file in catalog.controls().files]
    assert {"R-ESRGAN AnimeVideo", "R-ESRGAN 4x+ Anime6B"} <= catalog.upscalers.by_name.keys()
    catalog.close()
