"""Each training of the demo family does a step and shows what it has, and keeps to one device, as it must on a GPU."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from tests.tools.other_device import pretended_device
from tools.demo_family import (
    base_checkpoint,
    canny_control,
    classifier,
    dataset,
    depth_checkpoint,
    depth_estimator,
    embedding,
    inpainting_checkpoint,
    networks,
    sampling,
    second_vae,
    style_lora,
    vae,
)
from tools.demo_family.dataset import HELD_OUT, LAYOUTS, latents_of, load, make_shard
from tools.demo_family.networks import BASE, load_base
from tools.demo_family.scenes import draw_shape
from tools.demo_family.subjects import SHAPES, STYLES, SUBJECTS
from tools.demo_family.training import Plan, Training, run_command

TRAININGS = (
    base_checkpoint, canny_control, classifier, depth_checkpoint, depth_estimator, embedding, inpainting_checkpoint, second_vae, style_lora,
    vae,
)  # fmt: skip
FURTHER = [module for module in TRAININGS if "further" in inspect.signature(module.train).parameters]
UNSEEN = 24
"""Pictures beside those that are held out, so few that the tests are quick."""


def named_by(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the tools want it, with shapes for emoji."""
    folder = tmp_path_factory.mktemp("demo_family")
    (folder / "sprites").mkdir()
    noise = np.random.default_rng(1)
    for place, subject in enumerate(SUBJECTS):
        for style in STYLES:
            drawn = draw_shape(SHAPES[place % len(SHAPES)], "red", noise)
            plain = np.concatenate([drawn[..., :3] / np.maximum(drawn[..., 3:], 1e-3), drawn[..., 3:]], -1)
            Image.fromarray((plain.clip(0, 1) * 255).astype(np.uint8)).save(folder / "sprites" / f"{subject}.{style}.png")
    for layout in LAYOUTS:
        make_shard(folder, layout, 0, HELD_OUT + UNSEEN)
    return folder


@pytest.mark.parametrize("module", TRAININGS, ids=named_by)
def test_a_training_does_a_step_shows_what_it_has_and_exports_it(module: ModuleType, work: Path, tmp_path: Path) -> None:
    for name in ("sprites", *LAYOUTS):
        (tmp_path / name).symlink_to(work / name)
    export = partial(module.export, target=tmp_path / "exported.safetensors")
    asked = ["--samples", "1", "--work", str(tmp_path), "--export"]
    with torch.compiler.set_stance("force_eager"):
        run_command("", module.PLAN, module.train, export, asked)
        run_command("", module.PLAN, module.train, export, asked)  # nothing is left to do
    (curve,) = tmp_path.glob("*/curve.jsonl")
    (line,) = (json.loads(line) for line in curve.read_text().splitlines())
    assert (line["step"], line["samples"]) == (1, module.PLAN.batch)
    assert all(np.isfinite(figure) for figure in line.values())
    assert (tmp_path / "exported.safetensors").exists()
    assert module is classifier or (curve.parent / "sheet_000001.png").exists()


@pytest.mark.parametrize("module", FURTHER, ids=named_by)
def test_a_training_goes_on_from_what_ships(module: ModuleType, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that learns nothing exports it again."""
    for name in ("sprites", *LAYOUTS):
        (tmp_path / name).symlink_to(work / name)
    exported = tmp_path / "exported.safetensors"
    monkeypatch.setattr(module.Training, "_look", lambda *_: None)
    monkeypatch.setattr(vae, "normalised", lambda weights, _: weights)
    with torch.compiler.set_stance("force_eager"):
        module.export(module.train(replace(module.PLAN, samples=1, learning_rate=0.0), tmp_path, further=True), exported)
    again, shipped = (load_file(path) for path in (exported, BASE if module in (base_checkpoint, vae) else module.TARGET))
    assert again.keys() == shipped.keys()
    # Beside a UNet of their own two have the base's other parts, which may be newer than they are.
    others = ("first_stage_model.", "cond_stage_model.") if module in (depth_checkpoint, inpainting_checkpoint) else ()
    assert all(torch.equal(tensor.float(), shipped[name].float()) for name, tensor in again.items() if not name.startswith(others))


def test_a_training_beside_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    one = partial(Training, model, Plan(1.0, learning_rate=0.1, batch=1, samples=1), tmp_path)
    one("a VAE").run(lambda _: model(torch.ones(1, 2)).sum(), lambda *_: {})
    one("a VAE")
    with pytest.raises(ValueError, match="beside another"):
        one("another VAE")


class OneStep:
    """In place of a training: a loss, its gradient, and a look, on the device where the model must be."""

    def __init__(self, model: nn.Module, plan: object, folder: Path, beside: str = "") -> None:
        self.model, self.folder = model, folder

    def run(
        self, loss_of: Callable[[torch.Generator], torch.Tensor], report: Callable[[nn.Module, int], dict[str, float]]
    ) -> dict[str, torch.Tensor]:
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        assert trained
        assert {weight.device.type for weight in trained} == {"lazy"}
        loss_of(torch.Generator().manual_seed(1)).backward()
        self.folder.mkdir(exist_ok=True)
        self.model.eval()
        with torch.no_grad():
            assert all(np.isfinite(figure) for figure in report(self.model, 1).values())
        return {name: weight.detach() for name, weight in self.model.state_dict().items()}


@pytest.mark.parametrize("module", TRAININGS, ids=named_by)
def test_a_training_keeps_to_one_device(module: ModuleType, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sprites", *LAYOUTS):
        (tmp_path / name).symlink_to(work / name)
    with pretended_device() as device, torch.compiler.set_stance("force_eager"):
        for owner in (module, networks, dataset, sampling):
            monkeypatch.setattr(owner, "training_device", lambda: device, raising=False)
            monkeypatch.setattr(owner, "in_bfloat16", lambda _: nullcontext(), raising=False)
        monkeypatch.setattr(module, "Training", OneStep)
        module.train(replace(module.PLAN, samples=1), tmp_path)


def test_tensors_of_two_devices_do_not_meet_unseen() -> None:
    with pretended_device() as device:
        there = torch.ones(3).to(device)
        assert (there.device.type, there.cpu().device.type) == ("lazy", "cpu")
        assert there.cpu().tolist() == [1, 1, 1]
        assert there[torch.tensor([0, 2])].device.type == "lazy"
        assert (there * torch.tensor(2.0)).cpu().tolist() == [2, 2, 2]
        for together in (
            lambda: there + torch.ones(3),
            lambda: torch.ones(3)[there.long()],
            lambda: torch.stack([there.sum(), torch.tensor(1.0)]),
        ):
            with pytest.raises(RuntimeError, match="and of the CPU"):
                together()


def test_latents_are_kept_for_the_encoder_that_made_them(work: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    base, data = load_base(), replace(load(work).first(8), folder=tmp_path / "data")
    first = latents_of(data, base.vae)
    assert first.shape == (8, 4, 16, 16)
    assert len(list(data.folder.iterdir())) == 1
    base.vae.decoder.conv_in.weight.data.add_(1)
    assert torch.equal(latents_of(replace(data, pixels=data.pixels * 0), base.vae), first)
    base.vae.encoder.conv_in.weight.data.mul_(0.5)
    assert not torch.equal(latents_of(data, base.vae), first)
    assert len(list(data.folder.iterdir())) == 2


def test_pictures_made_anew_leave_no_latents_of_the_old_ones(work: Path, tmp_path: Path) -> None:
    (tmp_path / "sprites").symlink_to(work / "sprites")
    make_shard(tmp_path, "data", 0, 2)
    latents_of(load(tmp_path), load_base().vae)
    assert list(tmp_path.glob("data/latents-*"))
    make_shard(tmp_path, "data", 0, 2)
    assert not list(tmp_path.glob("data/latents-*"))


def test_shards_made_by_processes_are_those_made_by_one(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sprites").symlink_to(work / "sprites")
    dataset.make(1, tmp_path, "steady")
    made, expected = load(tmp_path, "steady"), load(work, "steady")
    assert len(made) == dataset.SHARD
    assert made.captions[: len(expected)] == expected.captions
    assert np.array_equal(made.pixels[: len(expected)], expected.pixels)
    before = (tmp_path / "steady" / "0000.json").stat().st_mtime_ns
    dataset.make(1, tmp_path, "steady")
    assert (tmp_path / "steady" / "0000.json").stat().st_mtime_ns == before
