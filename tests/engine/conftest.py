"""Tiny real checkpoints, and an engine to run them on: on the CPU, with one thread, so that numbers repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from PIL.Image import Image
from transformers import CLIPTokenizer

from tests.engine.scenes import Begin
from tests.engine.studio import Studio, work_for
from tests.engine.tiny_models import LoneVae, TinyModel, TinyShape, make_checkpoint, make_vae
from webui.core.ports import Work
from webui.engine.device import Device
from webui.engine.tokenizer import build_tokenizer
from webui.engine.vae import decode_picture
from webui.jobs.inputs import InputPictures


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the checkpoints that all tests read and none changes."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny(models: Path) -> TinyModel:
    """A small SD 1.x that predicts noise."""
    return make_checkpoint(models / "tiny.safetensors", 1)


@pytest.fixture(scope="session")
def twin(models: Path) -> TinyModel:
    """Other weights in the same architecture."""
    return make_checkpoint(models / "twin.safetensors", 2)


@pytest.fixture(scope="session")
def tiny_v(models: Path) -> TinyModel:
    """The same architecture, predicting v."""
    return make_checkpoint(models / "tiny-v.safetensors", 3, TinyShape(prediction="v_prediction"))


@pytest.fixture(scope="session")
def deep(models: Path) -> TinyModel:
    """Another architecture: other widths, three levels, two layers a level, attention on the lower ones too."""
    shape = TinyShape(channels=(16, 32, 48), attention=(False, True, True), layers=2, width=48, vae_channels=(8, 16, 16))
    return make_checkpoint(models / "deep.safetensors", 4, shape)


@pytest.fixture(scope="session")
def inpainting(models: Path) -> TinyModel:
    """A UNet that also sees the mask and what is left of the picture."""
    return make_checkpoint(models / "inpainting.safetensors", 7, TinyShape(in_channels=9))


@pytest.fixture(scope="session")
def seeing_depth(models: Path) -> TinyModel:
    """A UNet that also sees the depth."""
    return make_checkpoint(models / "depth.safetensors", 8, TinyShape(in_channels=5))


@pytest.fixture(scope="session")
def editing(models: Path) -> TinyModel:
    """A UNet that also sees the picture, as instruct-pix2pix."""
    return make_checkpoint(models / "edit.safetensors", 9, TinyShape(in_channels=8))


@pytest.fixture(scope="session")
def headless(models: Path) -> TinyModel:
    """One that says nothing about its attention heads, so that it has SD 1.x's eight."""
    return make_checkpoint(models / "headless.safetensors", 5, TinyShape(heads=8, says_heads=False))


@pytest.fixture(scope="session")
def lone_vae(models: Path) -> LoneVae:
    """A VAE alone in a file."""
    return make_vae(models / "alone.safetensors", 6)


@pytest.fixture(scope="session")
def tokenizer() -> CLIPTokenizer:
    """The real tokenizer."""
    return build_tokenizer()


@pytest.fixture(scope="session")
def cpu() -> Device:
    """The processor, in float32."""
    return Device(torch.device("cpu"), torch.float32, torch.float32)


@pytest.fixture
def studio(cpu: Device, tokenizer: CLIPTokenizer) -> Iterator[Studio]:
    """A device loop that shares passes between jobs."""
    with closing(Studio(cpu, tokenizer)) as opened:
        yield opened


@pytest.fixture
def deterministic_studio(cpu: Device, tokenizer: CLIPTokenizer) -> Iterator[Studio]:
    """A device loop that gives every picture passes of its own."""
    with closing(Studio(cpu, tokenizer, deterministic=True)) as opened:
        yield opened


@pytest.fixture
def begin(tmp_path: Path, tiny: TinyModel) -> Begin:
    """A job from pictures: work_for, with the pictures themselves as `init` (one, several or none), `mask` and `depth`."""
    inputs = InputPictures(tmp_path)

    def begin(
        init: Image | list[Image] | None,
        mask: Image | None = None,
        *,
        depth: Image | None = None,
        model: TinyModel = tiny,
        **wishes: Any,
    ) -> Work:
        names = [inputs.add(one) for one in (init if isinstance(init, list) else [init] if init else [])]
        named = {"init_images": tuple(names), "mask": inputs.add(mask) if mask else "", "depth_map": inputs.add(depth) if depth else ""}
        work = work_for(model.path, **named, **wishes)
        return replace(work, pictures=inputs.files_of(work.request))

    return begin


@pytest.fixture
def decoded_latents(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every latent that is decoded in this test, in order."""
    latents: list[torch.Tensor] = []

    def decode_and_note(vae: AutoencoderKL, latent: torch.Tensor) -> Image:
        latents.append(latent.clone())
        return decode_picture(vae, latent)

    monkeypatch.setattr("webui.engine.generate.decode_picture", decode_and_note)
    return latents
