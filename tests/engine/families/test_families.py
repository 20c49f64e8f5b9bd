"""SD 2.x, SDXL and its refiner: what is read from their files, what their prompts become, and that they work as SD 1.x does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from tests.engine.studio import Studio, work_for
from tests.engine.tiny_families import FamilyModel, make_sd2, make_sdxl
from tests.engine.tiny_models import LoneVae, TinyModel, assert_same_weights, rewrite
from webui.core.errors import ModelError
from webui.core.events import Failed
from webui.core.ports import NetworkFile
from webui.core.settings import Settings
from webui.engine.adaptation import Adaptation, NetworkUse
from webui.engine.device import Device
from webui.engine.families.known import FAMILIES, family_of
from webui.engine.families.prediction import asks_for_v, read_prediction
from webui.engine.families.sdxl import SDXL
from webui.engine.families.sdxl_refiner import SDXL_REFINER
from webui.engine.loading import TensorFile
from webui.engine.noise_levels import EpsPrediction, VPrediction
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec
from webui.engine.prompt_cache import PromptCache
from webui.engine.prompts import PromptReader
from webui.engine.text_encoders import pad_behind_end

GIGABYTE = 2**30


@pytest.mark.parametrize(("name", "family"), [("tiny", "SD 1.x"), ("sd2", "SD 2.x"), ("sdxl", "SDXL"), ("refiner", "SDXL refiner")])
def test_a_file_is_known_by_its_names(request: pytest.FixtureRequest, name: str, family: str) -> None:
    assert family_of(TensorFile(request.getfixturevalue(name).path)).name == family
    assert family in [one.name for one in FAMILIES]


@pytest.mark.parametrize("name", ["sd2", "sdxl", "refiner"])
def test_every_weight_is_the_one_that_was_written(request: pytest.FixtureRequest, name: str, cpu: Device) -> None:
    model: FamilyModel = request.getfixturevalue(name)
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(model.path)) as pipeline:
        for ours, theirs in zip(pipeline.text_encoders, model.text_encoders, strict=True):
            assert_same_weights(ours, theirs)
        assert_same_weights(pipeline.unet, model.unet)
        assert_same_weights(pipeline.vae, model.vae)
        assert pipeline.scaling_factor == model.vae.config["scaling_factor"]
        assert pipeline.extra_channels == 0


@pytest.mark.parametrize("channels", [5, 9])
def test_unets_with_more_channels_are_loaded_and_say_how_many(tmp_path: Path, cpu: Device, studio: Studio, channels: int) -> None:
    model = (make_sd2 if channels == 5 else make_sdxl)(tmp_path / "more.safetensors", 1, in_channels=channels)
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(model.path)) as pipeline:
        assert_same_weights(pipeline.unet, model.unet)
        assert pipeline.extra_channels == channels - 4


def test_a_text_encoder_with_the_newer_name_is_sd2s_too(sd2: FamilyModel, tmp_path: Path, cpu: Device) -> None:
    file = TensorFile(sd2.path)
    old, new = "cond_stage_model.model.", "conditioner.embedders.0.model."
    renamed = {name.replace(old, new): file.tensor(name) for name in file.names}
    save_file(renamed, tmp_path / "turbo.safetensors", dict(file.metadata))
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(tmp_path / "turbo.safetensors")) as pipeline:
        assert_same_weights(pipeline.text_encoders[0], sd2.text_encoders[0])


def test_a_projection_stored_as_a_linear_layer_is_read_too(sdxl: FamilyModel, tmp_path: Path, cpu: Device) -> None:
    name = "conditioner.embedders.1.model.text_projection"
    weight = TensorFile(sdxl.path).tensor(name).T.contiguous()
    path = rewrite(sdxl.path, tmp_path / "linear.safetensors", changes={name: None, f"{name}.weight": weight}, metadata={})
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(path)) as pipeline:
        assert_same_weights(pipeline.text_encoders[1], sdxl.text_encoders[1])


def test_a_vae_alone_scales_as_the_checkpoint_it_is_used_with(sdxl: FamilyModel, tiny: TinyModel, lone_vae: LoneVae, cpu: Device) -> None:
    manager = PipelineManager(cpu, GIGABYTE)
    for checkpoint, scale in ((tiny.path, 0.18215), (sdxl.path, 0.13025), (tiny.path, 0.18215)):
        with manager.lease(PipelineSpec(checkpoint, lone_vae.path)) as pipeline:
            assert pipeline.scaling_factor == scale


@pytest.mark.parametrize("part", ["transformer.resblocks.1.attn.in_proj_weight", "text_projection", "transformer.resblocks.0.ln_2.bias"])
def test_a_missing_or_misshapen_tensor_of_open_clip_is_told(sdxl: FamilyModel, tmp_path: Path, cpu: Device, part: str) -> None:
    name = f"conditioner.embedders.1.model.{part}"
    manager = PipelineManager(cpu, GIGABYTE)
    for change, says in ((None, "lacks the tensor"), (torch.zeros(7, 2), "has shape"), (torch.zeros(()), "has shape")):
        path = rewrite(sdxl.path, tmp_path / "odd.safetensors", changes={name: change}, metadata={})
        with pytest.raises(ModelError, match=says) as caught, manager.lease(PipelineSpec(path)):
            pass
        assert "odd.safetensors" in str(caught.value)


# What a UNet predicts


@pytest.mark.parametrize(
    ("changes", "metadata", "v", "zero_snr"),
    [
        ({}, {}, None, False),
        ({"v_pred": torch.zeros(0)}, {}, True, False),
        ({"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {}, True, True),
        ({}, {"prediction_type": "v_prediction"}, True, False),
        ({}, {"modelspec.prediction_type": "v"}, True, False),
        ({}, {"modelspec.prediction_type": "epsilon"}, False, False),
        ({}, {"ss_zero_terminal_snr": "True"}, None, True),
    ],
)
def test_what_a_file_says_of_its_prediction(
    sdxl: FamilyModel, tmp_path: Path, cpu: Device, changes: dict, metadata: dict, v: bool | None, zero_snr: bool
) -> None:
    path = rewrite(sdxl.path, tmp_path / "said.safetensors", changes=changes, metadata=metadata)
    said = read_prediction(TensorFile(path))
    assert (said.v, said.zero_snr) == (v, zero_snr)
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(path)) as pipeline:
        assert isinstance(pipeline.prediction, VPrediction if v else EpsPrediction)
        assert (pipeline.levels.sigma_max > 1000) is zero_snr
        assert pipeline.levels.with_zero_terminal_snr().sigma_max == pytest.approx(4518.8, rel=1e-3)  # said twice is as once


@pytest.mark.parametrize(
    ("text", "v"),
    [
        ("model:\n  params:\n    parameterization: v\n", True),
        ("model:\n  params:\n    parameterization: eps\n", False),
        ("model:\n  params:\n    denoiser_config:\n      params:\n        scaling_config:\n          target: sgm.x.VScaling\n", True),
        ("model:\n  params:\n    denoiser_config:\n      params:\n        scaling_config:\n          target: sgm.x.EpsScaling\n", False),
        ("model:\n  params:\n    linear_start: 0.00085\n", None),
        ("- a list\n", None),
        ("", None),
    ],
)
def test_a_yaml_beside_the_checkpoint_says_what_it_predicts(sd2_v: FamilyModel, tmp_path: Path, text: str, v: bool | None) -> None:
    path = rewrite(sd2_v.path, tmp_path / "m.safetensors", changes={}, metadata={})
    path.with_suffix(".yaml").write_text(text)
    assert read_prediction(TensorFile(path)).v is (True if v is None else v)


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"\xff\xfe\x00", b"!!python/object/apply:os.system [ls]", b"[" * 5_000, b"#" * 2**21],
    ids=["unfinished", "no text", "code", "deep", "large"],
)
def test_a_yaml_that_cannot_be_read_is_told(sd2: FamilyModel, tmp_path: Path, content: bytes) -> None:
    path = rewrite(sd2.path, tmp_path / "m.safetensors", changes={}, metadata={})
    path.with_suffix(".yaml").write_bytes(content)
    with pytest.raises(ModelError, match=r"^m\.yaml"):
        read_prediction(TensorFile(path))


@pytest.mark.parametrize(("shift", "v"), [(0.0, False), (-3.0, True)])
def test_an_sd2_that_does_not_say_is_asked(tmp_path: Path, cpu: Device, shift: float, v: bool) -> None:
    model = make_sd2(tmp_path / "silent.safetensors", 3, prediction=None)
    bias = model.unet.conv_out.bias.detach() + shift
    path = rewrite(model.path, tmp_path / "shifted.safetensors", changes={"model.diffusion_model.out.2.bias": bias}, metadata={})
    manager = PipelineManager(cpu, GIGABYTE)
    for _ in range(2):
        with manager.lease(PipelineSpec(path)) as pipeline:
            assert asks_for_v(pipeline.unet) is v
            assert isinstance(pipeline.prediction, VPrediction) is v


# What prompts become


def test_behind_the_first_end_mark_stands_another_padding() -> None:
    tokens = torch.tensor([[49406, 320, 49407, 49407], [49406, 320, 2368, 49407]])
    assert pad_behind_end(tokens, 0).tolist() == [[49406, 320, 49407, 0], [49406, 320, 2368, 49407]]
    assert pad_behind_end(tokens, 49407) is tokens


def test_the_numbers_of_a_picture() -> None:
    settings = Settings().changed({"sdxl_crop_top": 1, "sdxl_crop_left": 2})
    assert SDXL.numbers is not None
    assert SDXL.numbers((64, 32), settings, False) == (32, 64, 1, 2, 32, 64)
    assert SDXL_REFINER.numbers is not None
    assert SDXL_REFINER.numbers((64, 32), settings, False) == (32, 64, 1, 2, 6.0)
    assert SDXL_REFINER.numbers((64, 32), settings, True) == (32, 64, 1, 2, 2.5)


def test_vectors_are_of_the_first_chunk_the_picture_and_the_empty_negative(
    sdxl: FamilyModel, cpu: Device, tokenizer: CLIPTokenizer
) -> None:
    long = "cat, " * 60
    work = work_for(sdxl.path, prompt=long, negative_prompt="", width=96, enable_hr=True, hr_scale=2.0, denoising_strength=0.5)
    with torch.inference_mode(), PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(sdxl.path)) as pipeline:
        first, second = (PromptReader(work, pipeline, tokenizer, PromptCache(), 4, calls) for calls in (None, 4))
        one = first.read(work.request)
        vector, nothing = one.positives[0].vector_at(0), one.negative.vector_at(0)
        assert vector is not None
        assert nothing is not None
        assert one.positives[0].length == 154
        assert vector[-6:].tolist() == [64, 96, 0, 0, 64, 96]
        assert float(vector[:-6].abs().min()) > 0
        assert not one.negative.at(0).any()
        assert not nothing[:-6].any()
        assert nothing[-6:].tolist() == [64, 96, 0, 0, 64, 96]
        larger = second.read(work.request.second_pass)
        assert larger.negative.vector_at(0)[-6:].tolist() == [128, 192, 0, 0, 128, 192]
        spaced = first.read(work.request.changed(negative_prompt=" "))
        assert spaced.negative.at(0).any()  # no text at all, that is the rule
        short = first.read(work.request.changed(prompt="cat, " * 37 + "cat"))
        torch.testing.assert_close(short.positives[0].vector_at(0), vector, rtol=0, atol=1e-5)


def test_clip_skip_is_sdxls_only_where_it_is_wished(sdxl: FamilyModel, cpu: Device, tokenizer: CLIPTokenizer) -> None:
    with torch.inference_mode(), PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(sdxl.path)) as pipeline:

        def context(**settings: object) -> torch.Tensor:
            work = work_for(sdxl.path, **settings)
            return PromptReader(work, pipeline, tokenizer, PromptCache(), 4).read(work.request).positives[0].at(0)

        usual = context()
        assert torch.equal(context(CLIP_stop_at_last_layers=3), usual)
        assert torch.equal(context(CLIP_stop_at_last_layers=2, sdxl_clip_l_skip=True), usual)
        skipped = context(CLIP_stop_at_last_layers=3, sdxl_clip_l_skip=True)
        assert not torch.equal(skipped[:, :32], usual[:, :32])
        assert torch.equal(skipped[:, 32:], usual[:, 32:])


# Working together


def test_sdxl_jobs_share_passes_and_draw_what_they_draw_alone(studio: Studio, sdxl: FamilyModel) -> None:
    works = [work_for(sdxl.path, prompt=text, negative_prompt=not_that, seed=3) for text, not_that in (("a cat", ""), ("a dog", "red"))]
    alone = [studio.pictures(work)[0] for work in works]
    before = studio.loop.passes
    together = studio.draw_together(*works)
    assert studio.loop.passes - before == 4
    for events, picture in zip(together, alone, strict=True):
        drawn = next(event.image for event in events if hasattr(event, "image"))
        assert abs(np.asarray(drawn).astype(int) - picture).max() <= 1
    assert abs(alone[0] - alone[1]).max() > 3


def test_a_batch_is_cut_for_deterministic_drawing_vectors_and_all(deterministic_studio: Studio, sdxl: FamilyModel) -> None:
    batch = deterministic_studio.pictures(work_for(sdxl.path, batch_size=2, prompts=("a cat", "a dog"), negative_prompt="red"))
    for index, text in enumerate(("a cat", "a dog")):
        alone = deterministic_studio.pictures(work_for(sdxl.path, prompt=text, seed=7 + index, negative_prompt="red"))[0]
        assert np.array_equal(batch[index], alone)


def test_a_unet_that_wants_more_channels_than_it_gets_fails_its_job_alone(studio: Studio, tmp_path: Path) -> None:
    model = make_sd2(tmp_path / "depth.safetensors", 1, in_channels=5)
    end = studio.draw(work_for(model.path))[-1]
    assert isinstance(end, Failed)
    assert "needs a picture or a depth map" in end.message


def test_families_draw_in_turn_also_where_only_one_part_is_on_the_device(
    tokenizer: CLIPTokenizer, sd2: FamilyModel, sdxl: FamilyModel, refiner: FamilyModel
) -> None:
    device = Device(torch.device("cpu"), torch.float32, torch.float32, offload=True)
    studio = Studio(device, tokenizer)
    try:
        for model in (sd2, sdxl, refiner, sd2):
            assert studio.pictures(work_for(model.path))[0].std() > 1
    finally:
        studio.close()


# Networks


def test_an_sdxl_embedding_puts_its_vectors_into_both_text_encoders(
    deterministic_studio: Studio, sdxl: FamilyModel, tiny: TinyModel, tmp_path: Path
) -> None:
    cat = [model.get_input_embeddings().weight[[2368]].detach().clone() for model in sdxl.text_encoders]
    save_file({"clip_l": cat[0], "clip_g": cat[1]}, tmp_path / "zyx.safetensors")
    word = NetworkFile("embedding", "zyx", tmp_path / "zyx.safetensors")
    usual = deterministic_studio.pictures(work_for(sdxl.path, prompt="a dog"))[0]
    plain = deterministic_studio.pictures(work_for(sdxl.path, prompt="a cat"))[0]
    # The token itself is 0 where a vector stands, which changes nothing else.
    assert np.array_equal(deterministic_studio.pictures(replace(work_for(sdxl.path, prompt="a zyx"), networks=(word,)))[0], plain)
    assert not np.array_equal(usual, plain)
    remarks = [str(event) for event in deterministic_studio.draw(replace(work_for(tiny.path, prompt="a zyx"), networks=(word,)))]
    assert any("another model family" in remark for remark in remarks)


LAYERS = {
    "lora_te1_text_model_encoder_layers_0_mlp_fc1": (0, "encoder.layers.0.mlp.fc1"),
    "lora_te2_text_model_encoder_layers_1_self_attn_q_proj": (1, "text_model.encoder.layers.1.self_attn.q_proj"),
    "lora_te2_text_projection": (1, "text_projection"),
    "lora_unet_down_blocks_1_attentions_0_proj_out": (None, "down_blocks.1.attentions.0.proj_out"),
    "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_k": (None, "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"),
    "lora_unet_output_blocks_0_1_proj_in": (None, "up_blocks.0.attentions.0.proj_in"),
    "lora_unet_label_emb_0_0": (None, "add_embedding.linear_1"),
    "text_encoder_2.text_model.encoder.layers.0.mlp.fc2": (1, "text_model.encoder.layers.0.mlp.fc2"),
}  # fmt: skip


def test_a_lora_changes_both_text_encoders_and_the_unet_under_all_their_names(sdxl: FamilyModel, tmp_path: Path, cpu: Device) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(sdxl.path)) as pipeline:
        modules = {None: pipeline.unet, 0: pipeline.text_encoders[0], 1: pipeline.text_encoders[1]}
        before = {name: modules[which].get_submodule(path).weight.clone() for name, (which, path) in LAYERS.items()}
        for name, weight in before.items():
            rows, columns = weight.shape
            up, down = (".lora_B.weight", ".lora_A.weight") if "." in name else (".lora_up.weight", ".lora_down.weight")
            tensors |= {name + up: torch.randn(rows, 2, generator=generator), name + down: torch.randn(2, columns, generator=generator)}
        save_file(tensors, tmp_path / "xl.safetensors")
        use = NetworkUse("lora", tmp_path / "xl.safetensors", te=0.5, unet=2.0, version=1)
        assert pipeline.remark(use) is None
        for module in modules.values():
            pipeline.adapt(module, Adaptation((use,)))
        for name, (which, path) in LAYERS.items():
            up, down = (tensors[key] for key in tensors if key.startswith(name + "."))
            strength = 2.0 if which is None else 0.5
            torch.testing.assert_close(modules[which].get_submodule(path).weight.data, before[name] + strength * (up @ down))
        for module in modules.values():
            pipeline.adapt(module, Adaptation())
        assert_same_weights(pipeline.unet, sdxl.unet)
        for ours, theirs in zip(pipeline.text_encoders, sdxl.text_encoders, strict=True):
            assert_same_weights(ours, theirs)


def test_a_lora_reaches_an_sd2s_text_encoder(sd2: FamilyModel, tmp_path: Path, cpu: Device) -> None:
    name = "lora_te_text_model_encoder_layers_1_self_attn_v_proj"
    save_file({f"{name}.lora_up.weight": torch.ones(32, 1), f"{name}.lora_down.weight": torch.ones(1, 32)}, tmp_path / "a.safetensors")
    with PipelineManager(cpu, GIGABYTE).lease(PipelineSpec(sd2.path)) as pipeline:
        (encoder,) = pipeline.text_encoders
        layer = encoder.encoder.layers[1].self_attn.v_proj
        before = layer.weight.clone()
        pipeline.adapt(encoder, Adaptation((NetworkUse("lora", tmp_path / "a.safetensors", te=1.0, unet=1.0, version=1),)))
        torch.testing.assert_close(layer.weight.data, before + 1)
