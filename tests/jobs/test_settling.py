"""A request made concrete: every model that it names found, and what cannot be said before it is queued."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.model_files import SD1, SDXL, UNET_INPUT, write_model
from webui.catalog.catalog import Catalog
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.paths import standard_paths
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.jobs.settling import settle

PICTURE = "0" * 64
CONTROL = {"control_model.input_blocks.0.0.weight": (2, 4, 1, 1), "control_model.input_hint_block.0.weight": (2, 3, 1, 1)}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    paths = standard_paths(tmp_path)
    write_model(paths.checkpoints[0] / "one.safetensors", SD1)
    write_model(paths.checkpoints[0] / "large.safetensors", SDXL)
    write_model(paths.checkpoints[0] / "deep.safetensors", {**SD1, UNET_INPUT: (2, 5, 1, 1)})
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    yield catalog
    catalog.close()


def settled(catalog: Catalog, **wishes: Any) -> tuple[GenerationRequest, tuple[str, ...]]:
    settings = Settings().changed({name: wishes.pop(name) for name in set(wishes) & set(Settings.model_fields)})
    return settle(GenerationRequest(prompt="x", **wishes), settings, catalog)


def with_depth_control(catalog: Catalog) -> None:
    write_model(catalog._paths.controls[0] / "control_sd15_depth.safetensors", CONTROL)
    catalog.refresh()


def test_names_become_those_they_have_here(catalog: Catalog) -> None:
    request, remarks = settled(
        catalog, checkpoint="one", refiner_checkpoint="large", enable_hr=True, hr_checkpoint="deep", hr_upscaler="Lanczos"
    )
    names = (request.checkpoint, request.refiner_checkpoint, request.hr_checkpoint, request.hr_upscaler, request.vae)
    assert names == ("one.safetensors", "large.safetensors", "deep.safetensors", "Lanczos", "Automatic")
    assert remarks == ()
    assert settled(catalog, checkpoint="one", hr_checkpoint="deep")[0].hr_checkpoint == ""


@pytest.mark.parametrize(("wishes", "says"), [
    ({"checkpoint": "three"}, "checkpoint 'three'"), ({"vae": "three"}, "VAE 'three'"), ({"refiner_checkpoint": "three"}, "'three'"),
    ({"enable_hr": True, "hr_upscaler": "three"}, "upscaler 'three'"),
    ({"init_images": (PICTURE,), "upscaler_for_img2img": "three"}, "upscaler 'three'"),
])  # fmt: skip
def test_what_is_not_there_is_told_before_the_job_is_queued(catalog: Catalog, wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownName, match=says):
        settled(catalog, **wishes)


def test_a_depth_checkpoint_sees_the_depth_itself(catalog: Catalog) -> None:
    with_depth_control(catalog)
    request, _ = settled(catalog, checkpoint="deep", use_depth=True, init_images=(PICTURE,))
    assert request.use_depth
    assert not request.control_units


@pytest.mark.parametrize(("wishes", "module"), [
    ({}, "depth_midas"), ({"depth_map": PICTURE}, "None"), ({"depth_map": PICTURE, "depth_invert": True}, "invert"),
])  # fmt: skip
def test_with_another_checkpoint_a_depth_controlnet_keeps_the_depth(catalog: Catalog, wishes: dict[str, Any], module: str) -> None:
    with_depth_control(catalog)
    request, remarks = settled(catalog, checkpoint="one", use_depth=True, init_images=(PICTURE,), **wishes)
    (unit,) = request.control_units
    assert not request.use_depth
    assert unit.enabled
    assert unit.model.startswith("control_sd15_depth")
    assert (unit.module.split(" ")[0].lower().startswith(module[:4].lower()), unit.image) == (True, wishes.get("depth_map", ""))
    assert remarks == ()


@pytest.mark.parametrize("wishes", [{"depth_near": 0.8}, {"depth_far": 0.1}, {"depth_invert": True}])
def test_what_a_depth_controlnet_cannot_do_is_said(catalog: Catalog, wishes: dict[str, Any]) -> None:
    with_depth_control(catalog)
    _, remarks = settled(catalog, checkpoint="one", use_depth=True, init_images=(PICTURE,), **wishes)
    assert "act with depth checkpoints" in remarks[0]


def test_without_any_means_to_keep_a_depth_it_is_said_what_to_put_where(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="put a depth ControlNet that fits it into models/ControlNet"):
        settled(catalog, checkpoint="one", use_depth=True, init_images=(PICTURE,))
