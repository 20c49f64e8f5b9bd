"""Depth from a picture: transformers' own answer is the oracle; both layouts of files; what a file may not do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import DPTConfig, DPTForDepthEstimation

from tests.engine.scenes import scene
from webui.core.errors import InvalidRequest, ModelError
from webui.engine import depth
from webui.engine.depth import IN_CHECKPOINT, MIDAS, DepthEstimators, load_dpt, midas_name
from webui.engine.loading import TensorFile

TINY = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 37, "image_size": 96, "patch_size": 16,
    "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [16, 16, 32, 32], "fusion_hidden_size": 16, "is_hybrid": False,
}  # fmt: skip
TINY_MIDAS = {**MIDAS, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37, "num_hidden_layers": 12, "image_size": 96,
              "neck_hidden_sizes": [256, 512, 32, 32]}  # fmt: skip


def listed(config: Mapping[str, Any]) -> dict[str, Any]:
    """As transformers wants it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


def build(seed: int, **config: Any) -> DPTForDepthEstimation:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DPTForDepthEstimation(DPTConfig(**listed(config))).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "tiny-dpt"
    model.mkdir()
    save_file({name: weight.contiguous() for name, weight in build(1, **TINY).state_dict().items()}, model / "model.safetensors")
    (model / "config.json").write_text(json.dumps({**TINY, "model_type": "dpt", "auto_map": {"AutoModel": "evil.py"}}))
    return model


def estimate(model: Path | None, image: Image.Image, checkpoint: Path | None = None) -> np.ndarray:
    return DepthEstimators(torch.device("cpu")).estimate(image, model, checkpoint)


def test_depth_is_what_transformers_says(folder: Path) -> None:
    pixels = torch.from_numpy(np.asarray(scene(96, 96), dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        theirs = build(1, **TINY)(pixel_values=pixels).predicted_depth[0].numpy()
    assert np.allclose(estimate(folder, scene(96, 96)), theirs, atol=1e-5)


@pytest.mark.parametrize("size", [(96, 96), (640, 480), (33, 500), (1, 1), (3000, 20)])
def test_a_picture_of_any_size_has_a_depth(folder: Path, size: tuple[int, int]) -> None:
    found = estimate(folder, scene(*size))
    assert found.shape == (96, 96)
    assert np.isfinite(found).all()


def test_one_file_with_its_configuration_inside_is_the_same_model(folder: Path) -> None:
    alone = folder.parent / "alone.safetensors"
    save_file(load_file(folder / "model.safetensors"), alone, {"config": json.dumps(TINY)})
    assert np.array_equal(estimate(alone, scene()), estimate(folder, scene()))


def test_the_model_inside_a_depth_checkpoint_goes_before_that_of_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "MIDAS", TINY_MIDAS)
    network = build(2, **TINY_MIDAS)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in network.state_dict().items():
        original = IN_CHECKPOINT + midas_name(name)
        tensors[original] = torch.cat([tensors[original], weight]) if original in tensors else weight.contiguous()
    checkpoint = folder.parent / "512-depth.safetensors"
    save_file(tensors, checkpoint)
    loaded = depth.load_midas(TensorFile(checkpoint)).state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in network.state_dict().items())
    assert not np.allclose(estimate(folder, scene(), checkpoint), estimate(folder, scene()))
    assert np.array_equal(estimate(None, scene(), checkpoint), estimate(folder, scene(), checkpoint))


@pytest.mark.parametrize("file", ["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"])
def test_the_estimator_in_a_checkpoint_of_diffusers_layout_goes_before_that_of_the_folder(folder: Path, file: str) -> None:
    checkpoint = folder.parent / "sd2-depth"
    build(3, **TINY).save_pretrained(checkpoint / "depth_estimator")
    weights = load_file(checkpoint / "depth_estimator" / "model.safetensors")
    (checkpoint / "depth_estimator" / "model.safetensors").unlink()
    assert np.array_equal(estimate(folder, scene(), checkpoint), estimate(folder, scene())), "a folder without an estimator has no say"
    save = torch.save if file.endswith(".bin") else save_file
    save(weights, checkpoint / "depth_estimator" / file)
    pixels = torch.from_numpy(np.asarray(scene(96, 96), dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        theirs = build(3, **TINY)(pixel_values=pixels).predicted_depth[0].numpy()
    assert np.allclose(estimate(folder, scene(96, 96), checkpoint), theirs, atol=1e-5)
    assert np.allclose(estimate(None, scene(96, 96), checkpoint), theirs, atol=1e-5)


def test_a_folder_of_two_weights_is_refused_in_a_sentence(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").write_bytes((folder / "model-00001-of-00002.safetensors").read_bytes())
    with pytest.raises(ModelError, match="found 2"):
        estimate(folder, scene())


def test_midas_names_are_those_of_its_repository() -> None:
    with torch.device("meta"):
        network = DPTForDepthEstimation(DPTConfig(**listed(MIDAS)))
    names = {midas_name(name) for name in network.state_dict()}
    assert {
        "pretrained.model.cls_token", "pretrained.model.pos_embed", "pretrained.model.patch_embed.proj.weight",
        "pretrained.model.patch_embed.backbone.stem.conv.weight", "pretrained.model.patch_embed.backbone.stages.2.blocks.8.conv3.weight",
        "pretrained.model.blocks.11.attn.qkv.bias", "pretrained.model.norm.weight", "pretrained.act_postprocess3.0.project.0.bias",
        "pretrained.act_postprocess4.4.weight", "scratch.layer1_rn.weight", "scratch.refinenet4.resConfUnit2.conv1.bias",
        "scratch.refinenet1.out_conv.weight", "scratch.output_conv.4.weight",
    } <= names  # fmt: skip
    assert all(name.startswith(("pretrained.", "scratch.")) for name in names)


def test_without_any_model_it_is_said_what_to_put_where(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="models/Depth"):
        estimate(None, scene())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "bert"}, "'bert'"),
        ({"num_hidden_layers": 10**9}, "beyond"),
        ({"hidden_size": 10**12}, "beyond"),
        ({"hidden_size": 64}, "has shape"),
        ({"num_attention_heads": 5}, "no depth model can be built"),
        ({"readout_type": "evil"}, "no depth model can be built"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_in_a_sentence(folder: Path, changes: dict[str, Any], said: str) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY, **changes}))
    with pytest.raises(ModelError, match=said):
        load_dpt(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_a_broken_configuration_is_refused_in_a_sentence(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match="tiny-dpt"):
        load_dpt(folder)


def test_a_model_is_loaded_once_and_again_when_its_file_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []
    monkeypatch.setattr(depth, "load_dpt", lambda path: loads.append(path) or load_dpt(path))
    owner = DepthEstimators(torch.device("cpu"))
    first = owner.estimate(scene(), folder)
    assert np.array_equal(owner.estimate(scene(), folder), first)
    assert len(loads) == 1
    owner.clear()
    owner.estimate(scene(), folder)
    assert len(loads) == 2
