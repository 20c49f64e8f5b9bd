"""Which models are in memory: hot swap, sharing, pinning, eviction."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.engine.diffusers_folders import write_folder
from tests.engine.tiny_models import LoneVae, TinyModel, assert_same_weights, rewrite
from webui.core.errors import ModelError
from webui.engine import loading, pipeline_manager
from webui.engine.device import Device
from webui.engine.noise_levels import EpsPrediction, VPrediction
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec

PLENTY = 10**9


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The class names of all components that are loaded in this test."""
    names: list[str] = []
    really = pipeline_manager.assign_weights

    def note(module: torch.nn.Module, *args: object, **options: object) -> None:
        names.append(type(module).__name__)
        really(module, *args, **options)

    monkeypatch.setattr(pipeline_manager, "assign_weights", note)
    return names


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each skeleton that is built in this test."""
    built: list[object] = []
    really = pipeline_manager.build_skeleton

    def note(build: object) -> torch.nn.Module:
        built.append(build)
        return really(build)

    monkeypatch.setattr(pipeline_manager, "build_skeleton", note)
    return built


def size_of(model: TinyModel) -> int:
    return sum(weight.nbytes for part in (model.unet, model.vae, model.text_encoder) for weight in part.state_dict().values())


def components_of(manager: PipelineManager, spec: PipelineSpec) -> tuple[object, object, object]:
    with manager.lease(spec) as pipeline:
        return pipeline.text_encoders[0], pipeline.unet, pipeline.vae


def test_a_second_visit_loads_nothing(cpu: Device, tiny: TinyModel, loads: list[str]) -> None:
    manager = PipelineManager(cpu, PLENTY)
    assert not manager.resident(PipelineSpec(tiny.path))
    first = components_of(manager, PipelineSpec(tiny.path))
    assert sorted(loads) == ["AutoencoderKL", "CLIPTextModel", "UNet2DConditionModel"]
    assert manager.resident(PipelineSpec(tiny.path))
    assert components_of(manager, PipelineSpec(tiny.path)) == first
    assert len(loads) == 3


def test_a_second_visit_reads_no_description_again(cpu: Device, tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "folder", tiny)
    manager = PipelineManager(cpu, PLENTY)
    with manager.lease(PipelineSpec(folder)):
        pass
    monkeypatch.setattr(loading, "describe_folder", None)
    monkeypatch.setattr(loading, "safe_open", None)
    with manager.lease(PipelineSpec(folder)) as pipeline:
        assert_same_weights(pipeline.unet, tiny.unet)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel does not tell what is mapped")
def test_a_file_is_not_held_open_once_its_weights_are_elsewhere(tiny: TinyModel, tmp_path: Path) -> None:
    own = Path(shutil.copy(tiny.path, tmp_path / "own.safetensors"))
    manager = PipelineManager(Device(torch.device("cpu"), torch.bfloat16, torch.bfloat16), PLENTY)
    with manager.lease(PipelineSpec(own)):
        assert str(own) not in Path("/proc/self/maps").read_text()


def test_two_leases_at_a_time_share_their_components(cpu: Device, tiny: TinyModel) -> None:
    manager = PipelineManager(cpu, PLENTY)
    with manager.lease(PipelineSpec(tiny.path)) as one, manager.lease(PipelineSpec(tiny.path)) as other:
        assert one.unet is other.unet


def test_a_second_checkpoint_of_the_same_architecture_takes_over_the_skeletons(
    cpu: Device, tiny: TinyModel, twin: TinyModel, builds: list[object]
) -> None:
    manager = PipelineManager(cpu, size_of(tiny) + 1000)
    first = components_of(manager, PipelineSpec(tiny.path))
    assert len(builds) == 3
    assert set(components_of(manager, PipelineSpec(twin.path))) == set(first)
    assert len(builds) == 3
    assert not manager.resident(PipelineSpec(tiny.path))


def test_weights_are_the_files_own_after_swapping_there_and_back(cpu: Device, tiny: TinyModel, twin: TinyModel) -> None:
    manager = PipelineManager(cpu, size_of(tiny) + 1000)
    for model in (tiny, twin, tiny):
        with manager.lease(PipelineSpec(model.path)) as pipeline:
            assert_same_weights(pipeline.unet, model.unet)
            assert_same_weights(pipeline.vae, model.vae)
            assert_same_weights(pipeline.text_encoders[0], model.text_encoder)


def test_with_room_for_both_both_stay(cpu: Device, tiny: TinyModel, twin: TinyModel, loads: list[str]) -> None:
    manager = PipelineManager(cpu, PLENTY)
    for model in (tiny, twin, tiny, twin):
        components_of(manager, PipelineSpec(model.path))
    assert len(loads) == 6


def test_the_longest_unused_goes_first(cpu: Device, tiny: TinyModel, twin: TinyModel, tiny_v: TinyModel) -> None:
    manager = PipelineManager(cpu, 2 * size_of(tiny) + 1000)
    for model in (tiny, twin, tiny, tiny_v):
        components_of(manager, PipelineSpec(model.path))
    assert manager.resident(PipelineSpec(tiny.path))
    assert not manager.resident(PipelineSpec(twin.path))


def test_another_vae_is_joined_to_the_same_unet(cpu: Device, tiny: TinyModel, lone_vae: LoneVae, loads: list[str]) -> None:
    manager = PipelineManager(cpu, PLENTY)
    text_encoder, unet, own_vae = components_of(manager, PipelineSpec(tiny.path))
    with manager.lease(PipelineSpec(tiny.path, lone_vae.path)) as pipeline:
        assert pipeline.unet is unet
        assert pipeline.text_encoders[0] is text_encoder
        assert pipeline.vae is not own_vae
        assert_same_weights(pipeline.vae, lone_vae.vae)
        other_version = pipeline.vae_version
    assert loads.count("AutoencoderKL") == 2
    assert len(loads) == 4
    with manager.lease(PipelineSpec(tiny.path)) as pipeline:
        assert pipeline.vae is own_vae
        assert pipeline.vae_version != other_version


def test_what_is_leased_is_never_evicted(cpu: Device, tiny: TinyModel, twin: TinyModel) -> None:
    manager = PipelineManager(cpu, 1)
    with manager.lease(PipelineSpec(tiny.path)) as mine:
        with manager.lease(PipelineSpec(twin.path)) as other:
            assert other.unet is not mine.unet
            assert_same_weights(other.unet, twin.unet)
            manager.clear()
            assert_same_weights(other.unet, twin.unet)
        assert_same_weights(mine.unet, tiny.unet)
        assert not manager.resident(PipelineSpec(twin.path))
    assert not manager.resident(PipelineSpec(tiny.path))


def test_a_component_leased_twice_stays_until_both_leases_end(cpu: Device, tiny: TinyModel) -> None:
    manager = PipelineManager(cpu, 1)
    with manager.lease(PipelineSpec(tiny.path)) as mine:
        with manager.lease(PipelineSpec(tiny.path)):
            pass
        assert_same_weights(mine.unet, tiny.unet)


@pytest.mark.parametrize("budget", [1, PLENTY])
def test_a_failing_load_pins_nothing_and_leaves_the_others_usable(cpu: Device, tiny: TinyModel, tmp_path: Path, budget: int) -> None:
    # The VAE is loaded last, so that what comes before it has been pinned.
    broken = rewrite(tiny.path, tmp_path / "broken.safetensors", changes={"first_stage_model.decoder.conv_out.bias": None}, metadata={})
    manager = PipelineManager(cpu, budget)
    components_of(manager, PipelineSpec(tiny.path))
    for _ in range(2):
        with pytest.raises(ModelError), manager.lease(PipelineSpec(broken)):
            pass
    with manager.lease(PipelineSpec(tiny.path)) as pipeline:
        assert_same_weights(pipeline.vae, tiny.vae)
        assert_same_weights(pipeline.unet, tiny.unet)
    manager.clear()
    assert not manager.resident(PipelineSpec(tiny.path))
    with manager.lease(PipelineSpec(tiny.path)) as pipeline:
        assert_same_weights(pipeline.vae, tiny.vae)


def test_an_error_inside_a_lease_ends_it(cpu: Device, tiny: TinyModel) -> None:
    manager = PipelineManager(cpu, 1)
    with pytest.raises(ZeroDivisionError), manager.lease(PipelineSpec(tiny.path)):
        raise ZeroDivisionError
    assert not manager.resident(PipelineSpec(tiny.path))


def test_a_file_replaced_under_the_same_name_is_loaded_anew(cpu: Device, tiny: TinyModel, twin: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copyfile(tiny.path, path)
    manager = PipelineManager(cpu, PLENTY)
    components_of(manager, PipelineSpec(path))
    shutil.copyfile(twin.path, tmp_path / "new")
    os.utime(tmp_path / "new", ns=(1, path.stat().st_mtime_ns + 1))
    (tmp_path / "new").replace(path)
    assert not manager.resident(PipelineSpec(path))
    with manager.lease(PipelineSpec(path)) as pipeline:
        assert_same_weights(pipeline.unet, twin.unet)


def test_a_file_that_is_gone_is_told(cpu: Device, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.safetensors cannot be read"):
        PipelineManager(cpu, PLENTY).resident(PipelineSpec(tmp_path / "gone.safetensors"))


def test_clearing_lets_everything_go(cpu: Device, tiny: TinyModel, builds: list[object]) -> None:
    manager = PipelineManager(cpu, PLENTY)
    _, unet, _ = components_of(manager, PipelineSpec(tiny.path))
    manager.clear()
    assert not manager.resident(PipelineSpec(tiny.path))
    assert {weight.device.type for weight in unet.parameters()} == {"meta"}
    components_of(manager, PipelineSpec(tiny.path))
    assert len(builds) == 6


def test_architectures_do_not_share_skeletons(cpu: Device, tiny: TinyModel, deep: TinyModel, headless: TinyModel) -> None:
    manager = PipelineManager(cpu, 1)
    for model in (tiny, deep, headless, tiny):
        with manager.lease(PipelineSpec(model.path)) as pipeline:
            assert pipeline.unet.config["block_out_channels"] == model.shape.channels
            assert set(pipeline.unet.config["attention_head_dim"]) == {model.shape.heads}
            assert_same_weights(pipeline.unet, model.unet)


def test_a_pipeline_knows_its_prediction_and_its_latents(cpu: Device, tiny: TinyModel, tiny_v: TinyModel, deep: TinyModel) -> None:
    manager = PipelineManager(cpu, PLENTY)
    with manager.lease(PipelineSpec(tiny.path)) as eps, manager.lease(PipelineSpec(tiny_v.path)) as v:
        assert isinstance(eps.prediction, EpsPrediction)
        assert isinstance(v.prediction, VPrediction)
        assert (eps.latent_channels, eps.downscale) == (4, 8)
    with manager.lease(PipelineSpec(deep.path)) as pipeline:
        assert pipeline.downscale == 4


def test_with_offloading_one_component_at_a_time_is_on_the_device(tiny: TinyModel) -> None:
    # "meta" stands for an accelerator: what is moved there can be seen to have gone.
    manager = PipelineManager(Device(torch.device("meta"), torch.float32, torch.float32, offload=True), PLENTY)
    with manager.lease(PipelineSpec(tiny.path)) as pipeline:
        assert pipeline.unet.device.type == "cpu"
        assert_same_weights(pipeline.unet, tiny.unet)
        pipeline.bring(pipeline.unet)
        assert pipeline.unet.device.type == "meta"
        assert pipeline.vae.device.type == "cpu"
