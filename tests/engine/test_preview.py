"""Views of unfinished pictures."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.engine.studio import work_for
from tests.engine.tiny_models import TinyModel
from webui.core.paths import PROGRAM
from webui.core.ports import Work
from webui.engine import preview
from webui.engine.device import Device
from webui.engine.pipeline_manager import Pipeline, PipelineManager, PipelineSpec
from webui.engine.preview import LinearPreview, Previews, TaesdPreview, load_taesd, side_by_side
from webui.engine.vae import decode_picture

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def pipeline(cpu: Device, tiny: TinyModel) -> Iterator[Pipeline]:
    with PipelineManager(cpu, 10**9).lease(PipelineSpec(tiny.path)) as leased:
        yield leased


@pytest.fixture
def work(tiny: TinyModel) -> Work:
    return work_for(tiny.path)


class Clamp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(convolution(64), nn.ReLU(), convolution(64), nn.ReLU(), convolution(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) + x)


def convolution(width: int, *, out: int = 64, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(width, out, 3, padding=1, bias=bias)


@pytest.fixture(scope="module")
def original_taesd() -> nn.Sequential:
    """TAESD's decoder in its original layout, at random weights."""
    layers: list[nn.Module] = [Clamp(), convolution(4), nn.ReLU()]
    for _ in range(3):
        layers += [Block(), Block(), Block(), nn.Upsample(scale_factor=2), convolution(64, bias=False)]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        decoder = nn.Sequential(*layers, Block(), convolution(64, out=3))
        for module in decoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        # Answers around the middle of 0..1, as a trained decoder's: else all would be cut off at the ends.
        decoder[-1].weight.div_(4 * decoder(torch.randn(1, 4, 8, 8)).std())
        nn.init.constant_(decoder[-1].bias, 0.5)
    return decoder


@pytest.fixture(scope="module")
def taesd(tmp_path_factory: pytest.TempPathFactory, original_taesd: nn.Sequential) -> Path:
    path = tmp_path_factory.mktemp("VAE-approx") / "taesd_decoder.safetensors"
    save_file(OrderedDict(original_taesd.state_dict()), path)
    return path


def test_the_linear_map_gives_a_flat_colour_back(cpu: Device) -> None:
    spec = PipelineSpec(PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors")
    with PipelineManager(cpu, 10**9).lease(spec) as pipeline:
        view = LinearPreview(pipeline.vae)
        for colour in product((-0.7, 0.7), repeat=3):
            flat = torch.tensor(colour)[None, :, None, None].expand(1, 3, 128, 128)
            latents = pipeline.vae.encode(flat).latent_dist.mode() * pipeline.vae.config["scaling_factor"]
            shown = view.pixels(latents)
            assert shown.shape == (1, 3, 16, 16)
            assert shown.mean(dim=(0, 2, 3)).tolist() == pytest.approx(colour, abs=0.35)


def test_the_linear_map_stays_in_range(pipeline: Pipeline) -> None:
    shown = LinearPreview(pipeline.vae).pixels(torch.randn(2, 4, 8, 8) * 100)
    assert (shown.min(), shown.max()) == (-1, 1)


def test_taesd_in_its_original_layout_is_computed_as_the_original_does(taesd: Path, original_taesd: nn.Sequential) -> None:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = original_taesd(latents) * 2 - 1
    shown = TaesdPreview(taesd, CPU).pixels(latents)
    assert shown.shape == (2, 3, 64, 64)
    torch.testing.assert_close(shown, expected.clamp(-1, 1), rtol=0, atol=1e-5)
    assert shown.std() > 0.2


def test_a_damaged_taesd_is_told_of_and_previews_go_on_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_file({"1.weight": torch.zeros(64, 4, 3, 3)}, tmp_path / "taesd_decoder.safetensors")
    assert load_taesd((tmp_path,), CPU) is None
    assert "taesd_decoder.safetensors lacks the tensor" in caplog.text


def test_taesd_is_found_in_any_of_its_folders(tmp_path: Path, taesd: Path) -> None:
    folders = (tmp_path / "VAE-approx", tmp_path / "VAE-taesd")
    assert load_taesd(folders, CPU) is None
    folders[1].mkdir()
    shutil.copy(taesd, folders[1])
    assert load_taesd(folders, CPU) is not None


def test_pictures_of_a_batch_are_shown_from_left_to_right() -> None:
    pixels = torch.full((3, 3, 4, 5), -1.0)
    pixels[1] = 1.0
    image = side_by_side(pixels)
    assert (image.width, image.height) == (15, 4)
    assert np.asarray(image)[0, :, 0].tolist() == [0] * 5 + [255] * 5 + [0] * 5


def test_nobody_looks_so_there_is_no_view(work: Work, pipeline: Pipeline) -> None:
    previews = Previews(None)
    assert previews.wanted(work, pipeline) is None
    previews.want("another job")
    assert previews.wanted(work, pipeline) is None


def test_who_looks_gets_a_view_but_not_two_at_once(work: Work, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MIN_INTERVAL", 10.0)
    previews = Previews(None)
    previews.want(work.job_id)
    show = previews.wanted(work, pipeline)
    assert show is not None
    assert show(torch.randn(2, 4, 8, 8)).size == (16, 8)
    assert previews.wanted(work, pipeline) is None
    monkeypatch.setattr(preview, "MIN_INTERVAL", 0.0)
    previews.want(work.job_id)
    assert previews.wanted(work, pipeline) is not None


def test_a_look_ends_by_itself(work: Work, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    previews = Previews(None)
    previews.want(work.job_id)
    monkeypatch.setattr(preview, "LOOK_SECONDS", 0.0)
    assert previews.wanted(work, pipeline) is None


def test_an_ended_job_is_forgotten(work: Work, pipeline: Pipeline) -> None:
    previews = Previews(None)
    previews.want(work.job_id)
    previews.forget(work.job_id)
    assert previews.wanted(work, pipeline) is None


def test_switched_off_there_is_no_view(tiny: TinyModel, pipeline: Pipeline) -> None:
    work = work_for(tiny.path, live_previews_enable=False)
    previews = Previews(None)
    previews.want(work.job_id)
    assert previews.wanted(work, pipeline) is None


@pytest.mark.parametrize(("method", "size"), [("Full", (64, 64)), ("Approx cheap", (8, 8)), ("TAESD", (64, 64))])
def test_the_setting_chooses_how_it_is_shown(tiny: TinyModel, pipeline: Pipeline, taesd: Path, method: str, size: tuple[int, int]) -> None:
    work = work_for(tiny.path, show_progress_type=method)
    previews = Previews(TaesdPreview(taesd, CPU))
    previews.want(work.job_id)
    show = previews.wanted(work, pipeline)
    assert show is not None
    latents = torch.randn(1, 4, 8, 8)
    image = show(latents)
    assert image.size == size
    if method == "Full":
        assert image.tobytes() == decode_picture(pipeline.vae, latents[0]).tobytes()


def test_latents_that_cannot_be_shown_give_no_view_and_no_error(
    tiny: TinyModel, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    work = work_for(tiny.path, show_progress_type="Full")
    previews = Previews(None)
    previews.want(work.job_id)
    show = previews.wanted(work, pipeline)
    assert show is not None
    assert show(torch.full((1, 4, 8, 8), torch.nan)) is None
    assert "No preview: A tensor with all NaNs" in caplog.text


def test_without_its_weights_taesd_is_shown_by_the_linear_map(tiny: TinyModel, pipeline: Pipeline) -> None:
    work = work_for(tiny.path, show_progress_type="TAESD")
    previews = Previews(None)
    previews.want(work.job_id)
    show = previews.wanted(work, pipeline)
    assert show is not None
    assert show(torch.randn(1, 4, 8, 8)).size == (8, 8)


def test_the_map_is_fitted_once_for_each_vae(tiny: TinyModel, twin: TinyModel, cpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[object] = []

    class Counted(LinearPreview):
        def __init__(self, vae: object) -> None:
            fitted.append(vae)
            super().__init__(vae)

    monkeypatch.setattr(preview, "LinearPreview", Counted)
    monkeypatch.setattr(preview, "MIN_INTERVAL", 0.0)
    previews, manager = Previews(None), PipelineManager(cpu, 10**9)
    for model in (tiny, tiny, twin):
        work = work_for(model.path)
        previews.want(work.job_id)
        with manager.lease(PipelineSpec(model.path)) as pipeline:
            show = previews.wanted(work, pipeline)
            assert show is not None
            show(torch.randn(1, 4, 8, 8))
    assert len(fitted) == 2
