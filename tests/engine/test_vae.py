"""Latents become pictures, even when memory or numbers run out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder, Encoder
from PIL import Image

from tests.engine.tiny_models import LoneVae, make_vae
from webui.core.errors import OutOfMemory
from webui.core.paths import PROGRAM
from webui.engine.device import Device
from webui.engine.pipeline_manager import PipelineManager, PipelineSpec
from webui.engine.vae import NotANumber, decode_in_tiles, decode_picture, encode_picture, to_image

SCALING = 0.18215


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def own_vae(tmp_path: Path) -> AutoencoderKL:
    """A VAE that a test may spoil."""
    return make_vae(tmp_path / "own.safetensors", 6).vae


@pytest.fixture
def before_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[torch.Tensor], None]], None]:
    """Have something called with what the decoder is given; it may raise."""
    really = Decoder.forward

    def install(watch: Callable[[torch.Tensor], None]) -> None:
        def forward(decoder: Decoder, sample: torch.Tensor, *args: Any) -> torch.Tensor:
            watch(sample)
            return really(decoder, sample, *args)

        monkeypatch.setattr(Decoder, "forward", forward)

    return install


def latent_of(height: int, width: int) -> torch.Tensor:
    return torch.randn(4, height, width, generator=torch.Generator().manual_seed(1))


def pixels_of(image: Any) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_a_picture_is_the_vaes_answer_to_the_unscaled_latent(lone_vae: LoneVae) -> None:
    latent = latent_of(8, 12)
    image = decode_picture(lone_vae.vae, latent)
    expected = (lone_vae.vae.decode(latent[None] / SCALING).sample[0] / 2 + 0.5).clamp(0, 1) * 255
    assert (image.width, image.height, image.mode) == (96, 64, "RGB")
    assert np.array_equal(pixels_of(image), expected.permute(1, 2, 0).numpy().astype(int))
    assert pixels_of(image).std() > 10


def test_values_are_cut_off_to_whole_levels_and_to_the_range() -> None:
    levels = torch.tensor([-500.0, -0.5, 0.0, 0.99, 1.0, 127.49, 127.99, 254.9, 255.0, 255.9, 9999.0])
    pixels = (levels / 255 * 2 - 1 + 1e-6)[None, None, None].expand(1, 3, 1, -1)
    assert pixels_of(to_image(pixels))[0, :, 0].tolist() == [0, 0, 0, 0, 1, 127, 127, 254, 255, 255, 255]


def test_channels_and_directions_are_kept() -> None:
    pixels = torch.full((1, 3, 2, 3), -1.0)
    pixels[0, 1, 0, 2] = 1.0  # green, top right
    assert pixels_of(to_image(pixels)).tolist()[0][2] == [0, 255, 0]
    assert pixels_of(to_image(pixels)).sum() == 255


def test_tiles_are_near_the_whole(cpu: Device) -> None:
    vertical, horizontal = torch.meshgrid(torch.linspace(-0.8, 0.8, 256), torch.linspace(-0.8, 0.8, 256), indexing="ij")
    picture = torch.stack([vertical, horizontal, -vertical])[None]
    spec = PipelineSpec(PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors")
    with PipelineManager(cpu, 10**9).lease(spec) as pipeline:
        latents = pipeline.vae.encode(picture).latent_dist.mode()
        whole, tiled = pipeline.vae.decode(latents).sample, decode_in_tiles(pipeline.vae, latents)
    assert whole.shape == tiled.shape
    assert not torch.equal(whole, tiled)
    assert float((whole - tiled).abs().mean()) * 127.5 < 15  # levels
    assert float((picture - tiled).abs().mean()) * 127.5 < 25


@pytest.mark.parametrize("size", [(32, 24), (17, 40), (100, 16)])
def test_tiles_cover_every_size(lone_vae: LoneVae, before_decoding: Callable[..., None], size: tuple[int, int]) -> None:
    tiles: list[tuple[int, ...]] = []
    before_decoding(lambda sample: tiles.append(tuple(sample.shape[-2:])))
    pixels = decode_in_tiles(lone_vae.vae, latent_of(*size)[None])
    assert pixels.shape == (1, 3, size[0] * 8, size[1] * 8)
    assert len(tiles) > 1
    assert max(max(tile) for tile in tiles) < max(size)


def test_out_of_memory_the_picture_is_decoded_in_tiles(lone_vae: LoneVae, before_decoding: Callable[..., None]) -> None:
    latent = latent_of(32, 32)
    expected = to_image(decode_in_tiles(lone_vae.vae, latent[None] / SCALING))

    def refuse_more_than_a_tile(sample: torch.Tensor) -> None:
        if sample.shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")

    before_decoding(refuse_more_than_a_tile)
    assert np.array_equal(pixels_of(decode_picture(lone_vae.vae, latent)), pixels_of(expected))


def test_when_not_even_a_tile_fits_the_error_says_what_to_do(lone_vae: LoneVae, before_decoding: Callable[..., None]) -> None:
    def refuse(sample: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    before_decoding(refuse)
    with pytest.raises(OutOfMemory, match=r"not even in tiles\. Make it smaller"):
        decode_picture(lone_vae.vae, latent_of(8, 8))


def test_other_errors_are_not_taken_for_a_lack_of_memory(lone_vae: LoneVae, before_decoding: Callable[..., None]) -> None:
    tries: list[int] = []

    def refuse(sample: torch.Tensor) -> None:
        tries.append(1)
        raise ValueError("something else")

    before_decoding(refuse)
    with pytest.raises(ValueError, match="something else"):
        decode_picture(lone_vae.vae, latent_of(8, 8))
    assert len(tries) == 1


def test_overflow_in_half_precision_is_decoded_again_in_float32(own_vae: AutoencoderKL) -> None:
    own_vae.post_quant_conv.weight.mul_(3e4)  # what it answers is beyond half precision's 65504, its weights are not
    own_vae.to(torch.float16)
    latent = latent_of(8, 8)
    assert own_vae.decode(latent[None].half() / SCALING).sample.isnan().any()
    picture = decode_picture(own_vae, latent)
    assert own_vae.dtype == torch.float16
    own_vae.to(torch.float32)
    assert np.array_equal(pixels_of(picture), pixels_of(decode_picture(own_vae, latent)))
    assert pixels_of(picture).std() > 1


def test_nan_in_every_precision_is_an_error_that_says_what_to_do(own_vae: AutoencoderKL) -> None:
    own_vae.decoder.conv_out.bias.fill_(torch.nan)
    for dtype in (torch.float32, torch.bfloat16):
        own_vae.to(dtype)
        with pytest.raises(NotANumber, match="all NaNs was produced in VAE"):
            decode_picture(own_vae, latent_of(8, 8))
        assert own_vae.dtype == dtype


def picture_of(height: int, width: int) -> Image.Image:
    levels = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


def test_overflow_in_half_precision_is_encoded_again_in_float32(own_vae: AutoencoderKL) -> None:
    own_vae.encoder.conv_in.weight.mul_(1e5)
    own_vae.to(torch.float16)
    picture = picture_of(64, 64)
    assert own_vae.encode(torch.zeros(1, 3, 64, 64).half() + 1).latent_dist.mode().isnan().any()
    latents = encode_picture(own_vae, picture)
    assert own_vae.dtype == torch.float16
    assert latents.isfinite().all()
    own_vae.to(torch.float32)
    assert torch.equal(latents, encode_picture(own_vae, picture))


def test_a_picture_that_cannot_be_encoded_in_any_precision_is_an_error(own_vae: AutoencoderKL) -> None:
    own_vae.encoder.conv_out.bias.fill_(torch.nan)
    with pytest.raises(NotANumber, match="all NaNs was produced in VAE"):
        encode_picture(own_vae, picture_of(64, 64))


@pytest.mark.parametrize("size", [(256, 192), (136, 320)])
def test_out_of_memory_the_picture_is_encoded_in_tiles(lone_vae: LoneVae, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    really, whole = Encoder.forward, encode_picture(lone_vae.vae, picture_of(*size))

    def refuse_more_than_a_tile(encoder: Encoder, sample: torch.Tensor, *args: Any) -> torch.Tensor:
        if max(sample.shape[-2:]) > 160:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return really(encoder, sample, *args)

    monkeypatch.setattr(Encoder, "forward", refuse_more_than_a_tile)
    tiled = encode_picture(lone_vae.vae, picture_of(*size))
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert float((tiled - whole).abs().mean()) < 0.3 * float(whole.std())
    assert not lone_vae.vae.use_tiling


def test_a_picture_of_which_not_even_a_tile_fits_is_refused(lone_vae: LoneVae, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(encoder: Encoder, sample: torch.Tensor, *args: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Encoder, "forward", refuse)
    with pytest.raises(OutOfMemory, match=r"cannot be encoded, not even in tiles\. Make it smaller"):
        encode_picture(lone_vae.vae, picture_of(64, 64))
