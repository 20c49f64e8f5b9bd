"""A folder in diffusers' layout is the same checkpoint as the single file in the original layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.diffusers_folders import write_folder
from tests.engine.studio import Studio, work_for
from tests.engine.tiny_families import FamilyModel
from tests.engine.tiny_models import TinyModel, TinyShape, assert_same_weights, make_checkpoint
from webui.catalog.catalog import Catalog
from webui.core.errors import ModelError
from webui.core.paths import standard_paths
from webui.engine.device import Device
from webui.engine.families.prediction import read_prediction
from webui.engine.loading import TensorFile, file_version
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec

GIGABYTE = 2**30
FAMILIES = {"tiny": "sd1", "deep": "sd1", "sd2": "sd2", "sd2_v": "sd2", "sdxl": "sdxl", "refiner": "sdxl-refiner"}
Model = TinyModel | FamilyModel


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Of a data folder in which nothing ships."""
    paths = standard_paths(tmp_path)
    catalog = Catalog(replace(paths, checkpoints=paths.checkpoints[:1]))
    yield catalog
    catalog.close()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_draws_the_same_picture_as_the_file(request: pytest.FixtureRequest, name: str, tmp_path: Path, studio: Studio) -> None:
    model: Model = request.getfixturevalue(name)
    folder = write_folder(tmp_path / name, model)
    wishes = {"prompt": "a (red:1.3) apple", "negative_prompt": "grey", "steps": 3}
    from_file, from_folder = (studio.pictures(work_for(path, **wishes))[0] for path in (model.path, folder))
    assert np.array_equal(from_file, from_folder)


@pytest.mark.parametrize(("name", "family"), FAMILIES.items())
def test_the_catalog_lists_a_folder_as_one_checkpoint_of_its_family(
    request: pytest.FixtureRequest, name: str, family: str, catalog: Catalog
) -> None:
    write_folder(catalog.paths.checkpoints[0] / "mine" / "sd-v1.5", request.getfixturevalue(name))
    catalog.refresh()
    (checkpoint,) = catalog.checkpoints()
    assert (checkpoint.name, checkpoint.stem, checkpoint.model_name) == ("mine/sd-v1.5", "sd-v1.5", "mine_sd-v1.5")
    assert checkpoint.identity.family == family
    assert not catalog.broken()
    assert catalog.find_checkpoint("sd-v1.5") is checkpoint
    unet = checkpoint.path / "unet" / "diffusion_pytorch_model.safetensors"
    assert checkpoint.size > unet.stat().st_size
    assert len(catalog.sha256(checkpoint)) == 64


@pytest.mark.parametrize(
    ("scheduler", "v", "zero_snr"),
    [
        ({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, True, True),
        ({"prediction_type": "epsilon", "rescale_betas_zero_snr": False}, False, False),
        ({"beta_start": 0.00085}, None, False),
    ],
)
def test_what_it_predicts_is_what_the_scheduler_says(
    tiny: TinyModel, tmp_path: Path, scheduler: dict[str, object], v: bool | None, zero_snr: bool
) -> None:
    said = read_prediction(TensorFile(write_folder(tmp_path / "said", tiny, scheduler=scheduler)))
    assert (said.v, said.zero_snr) == (v, zero_snr)


def test_shards_variants_and_first_names_of_the_vae_are_read(tiny: TinyModel, tmp_path: Path, cpu: Device) -> None:
    folder = write_folder(tmp_path / "sharded", tiny, max_shard_size="100KB", variant="fp16")
    assert len(list((folder / "unet").glob("*-of-*.safetensors"))) > 1
    for file in (folder / "vae").glob("*.safetensors"):
        tensors = load_file(file)
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            tensors = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): one for name, one in tensors.items()}
        save_file(tensors, file)
    assert any("query" in name for file in (folder / "vae").glob("*.safetensors") for name in load_file(file))
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(folder)) as pipeline:
        assert_same_weights(pipeline.unet, tiny.unet)
        assert_same_weights(pipeline.vae, tiny.vae)
        assert_same_weights(pipeline.text_encoders[0], tiny.text_encoder)


def test_weights_that_torch_saved_are_read_as_data(tiny: TinyModel, tmp_path: Path, cpu: Device) -> None:
    folder = write_folder(tmp_path / "pickled", tiny)
    for name, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        safe = folder / name / f"{stem}.safetensors"
        torch.save(load_file(safe), folder / name / f"{'pytorch_model' if stem == 'model' else stem}.bin")
        safe.unlink()
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(folder)) as pipeline:
        assert_same_weights(pipeline.unet, tiny.unet)
        assert_same_weights(pipeline.text_encoders[0], tiny.text_encoder)


def test_inpainting_folders_are_known_by_their_channels(tmp_path: Path, catalog: Catalog) -> None:
    model = make_checkpoint(tmp_path / "nine.safetensors", 3, TinyShape(in_channels=9))
    write_folder(catalog.paths.checkpoints[0] / "nine", model)
    catalog.refresh()
    assert [one.identity.family for one in catalog.checkpoints()] == ["sd1-inpaint"]


def test_a_part_exchanged_in_place_makes_another_model(tiny: TinyModel, twin: TinyModel, tmp_path: Path, studio: Studio) -> None:
    folder = write_folder(tmp_path / "changing", tiny)
    before, first = file_version(folder), studio.pictures(work_for(folder))[0]
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    replacement = write_folder(tmp_path / "other", twin) / "unet" / unet.name
    replacement.replace(unet)
    assert file_version(folder) != before
    assert not np.array_equal(studio.pictures(work_for(folder))[0], first)


def _without_unet(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def _cut_short(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def _broken_config(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text("[1, 2")


def _endless_config(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"x": "y" * 2**21}))


def _strange_name(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(file), "down_blocks.x": torch.zeros(1)}, file)


def _bad_number(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "norm_num_groups": "7"}))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_without_unet, "without a UNet"),
        (_cut_short, "a part, vae, that is cut short"),
        (_broken_config, "config.json in unet that is no configuration"),
        (_endless_config, "model_index.json"),
        (_strange_name, "'down_blocks.x'"),
    ],
)
def test_a_damaged_folder_is_listed_with_its_reason(tiny: TinyModel, catalog: Catalog, harm: Callable[[Path], None], reason: str) -> None:
    harm(write_folder(catalog.paths.checkpoints[0] / "harmed", tiny))
    catalog.refresh()
    assert not catalog.checkpoints()
    (broken,) = catalog.broken()
    assert broken.name == "harmed"
    assert reason in broken.reason


def test_a_configuration_that_does_not_fit_is_a_sentence(tiny: TinyModel, tmp_path: Path, cpu: Device) -> None:
    folder = write_folder(tmp_path / "harmed", tiny)
    _bad_number(folder)
    with pytest.raises(ModelError, match="norm_num_groups_unet is 7"), PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(folder)):
        pass
