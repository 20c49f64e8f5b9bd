"""Every picture has noise of its own, and A1111's ways to vary it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.engine.noise import NoiseSource, PictureNoise, PictureSeed, paste_centred, picture_seed, slerp
from webui.engine.philox import Philox

CPU = NoiseSource("CPU", torch.device("cpu"))
SHAPE = (4, 8, 8)
SOURCES = ("GPU", "CPU", "NV")


def noise(*seeds: int, source: NoiseSource = CPU, **wishes: object) -> PictureNoise:
    return PictureNoise([PictureSeed(seed, **wishes) for seed in seeds], SHAPE, source)  # type: ignore[arg-type]


def torchs_own(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_picture_of_a_batch_has_the_noise_it_would_have_alone(kind: str) -> None:
    source = replace(CPU, kind=kind)
    batch, alone = noise(5, 6, 7, source=source), noise(6, source=source)
    assert torch.equal(batch.first()[1], alone.first()[0])
    for _ in range(3):
        assert torch.equal(batch.draw()[1], alone.draw()[0])
    low, high = torch.tensor(0.5), torch.tensor(2.0)
    assert torch.equal(batch.brownian(0.1, 10.0)(high, low)[1], alone.brownian(0.1, 10.0)(high, low)[0])


def test_it_is_torchs_own_sequence_for_the_seed() -> None:
    given = noise(5)
    first, second = torchs_own(5, SHAPE, SHAPE)
    assert torch.equal(given.first()[0], first)
    assert torch.equal(given.draw()[0], second)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_global_generator_is_left_alone(kind: str) -> None:
    before = torch.random.get_rng_state()
    given = noise(5, source=replace(CPU, kind=kind), subseed=3, subseed_strength=0.5, resized_from=(4, 4))
    given.first()
    given.draw()
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", SOURCES)
def test_the_largest_seed_is_accepted(kind: str) -> None:
    assert noise(2**63 - 1, source=replace(CPU, kind=kind)).first().isfinite().all()


def test_an_nvidia_cards_numbers_are_known() -> None:
    known = [[-0.92466259, -0.42534415, -2.6438457, 0.14518388]]
    np.testing.assert_allclose(Philox(0).randn((3, 4))[:1], known, rtol=0, atol=1e-6)


def test_nvs_stream_goes_on_where_it_was_and_is_normal() -> None:
    philox = Philox(2**40 + 3)
    first, second = philox.randn((200, 200)), philox.randn((200, 200))
    assert not np.array_equal(first, second)
    assert abs(first.mean()) < 0.02
    assert first.std() == pytest.approx(1, abs=0.02)
    assert np.array_equal(Philox(2**40 + 3).randn((200, 200)), first)
    assert not np.array_equal(Philox(3).randn((200, 200)), first)


@pytest.mark.parametrize(("strength", "like"), [(0.0, 5), (1.0, 9)])
def test_a_variation_goes_from_the_seed_to_the_variation_seed(strength: float, like: int) -> None:
    given = noise(5, subseed=9, subseed_strength=strength).first()[0]
    torch.testing.assert_close(given, torchs_own(like, SHAPE)[0], rtol=1e-4, atol=1e-5)


def test_between_them_it_stays_noise() -> None:
    low, high = torchs_own(1, (4, 64, 64))[0], torchs_own(2, (4, 64, 64))[0]
    middle = slerp(0.5, low, high)
    assert float(middle.std()) == pytest.approx(1, abs=0.02)
    assert float(((low + high) / 2).std()) == pytest.approx(0.71, abs=0.02)


def test_rows_of_each_channel_are_turned_for_themselves() -> None:
    low, high = torchs_own(1, SHAPE)[0], torchs_own(2, SHAPE)[0]
    whole = slerp(0.3, low, high)
    for channel in range(4):
        torch.testing.assert_close(slerp(0.3, low[channel : channel + 1], high[channel : channel + 1])[0], whole[channel])


def test_parallel_noise_is_mixed_with_a1111s_exchanged_weights() -> None:
    low = torchs_own(1, SHAPE)[0]
    torch.testing.assert_close(slerp(0.25, low, low * 2), low * 0.25 + low * 2 * 0.75)


def test_the_variation_draws_nothing_from_the_pictures_own_stream() -> None:
    plain, varied = noise(5), noise(5, subseed=9, subseed_strength=0.5)
    plain.first(), varied.first()
    assert torch.equal(plain.draw(), varied.draw())


@pytest.mark.parametrize(
    ("inner", "outer"), [((2, 2), (6, 6)), ((6, 6), (2, 2)), ((2, 6), (6, 2)), ((3, 4), (6, 5)), ((1, 1), (1, 1)), ((5, 5), (4, 4))]
)
def test_a_paste_lands_in_the_middle(inner: tuple[int, int], outer: tuple[int, int]) -> None:
    small = torch.ones(1, *inner)
    pasted = paste_centred(small, torch.zeros(1, *outer))
    assert pasted.shape == (1, *outer)
    height, width = min(inner[0], outer[0]), min(inner[1], outer[1])
    # A1111 cuts what is larger by whole margins, so one row or column may stay free.
    assert (height - 1) * (width - 1) <= int(pasted.sum()) <= height * width
    top, left = max(0, (outer[0] - inner[0]) // 2), max(0, (outer[1] - inner[1]) // 2)
    assert pasted[0, top, left] == 1


def test_a_resized_seed_keeps_the_middle_of_the_other_size() -> None:
    given = noise(5, resized_from=(8, 4))
    inside = torchs_own(5, (4, 8, 4))[0]
    around, following = torchs_own(5, SHAPE, SHAPE)
    first = given.first()[0]
    assert torch.equal(first[:, :, 2:6], inside)
    assert torch.equal(first[:, :, :2], around[:, :, :2])
    assert torch.equal(given.draw()[0], following)


def test_resizing_from_the_same_size_changes_nothing() -> None:
    assert torch.equal(noise(5, resized_from=SHAPE[1:]).first(), noise(5).first())


def test_ensd_seeds_all_but_the_first_noise_anew() -> None:
    given = noise(5, ensd=31337)
    assert torch.equal(given.first(), noise(5).first())
    assert torch.equal(given.draw()[0], torchs_own(5 + 31337, SHAPE)[0])


def test_the_request_says_all_of_it() -> None:
    request = GenerationRequest(seed=5, subseed=9, subseed_strength=0.5, seed_resize_from_w=96, seed_resize_from_h=64)
    assert picture_seed(request, Settings().changed({"eta_noise_seed_delta": 7}), 8) == PictureSeed(5, 9, 0.5, (8, 12), 7)
    assert picture_seed(GenerationRequest(seed=5, seed_resize_from_w=96), Settings(), 8) == PictureSeed(5)


A1111 = Path(__file__).parent / "data" / "a1111_start_noise.npz"


@pytest.mark.parametrize(
    ("case", "wishes"),
    [
        ("base", {}),
        ("seed-ensd", {"eta_noise_seed_delta": 31337}),
        ("seed-sub", {"subseed": 777, "subseed_strength": 0.3}),
        ("seed-resize", {"seed_resize_from_w": 96, "seed_resize_from_h": 64}),
        ("seed-nv", {"randn_source": "NV"}),
        ("seed-batch3", {"batch_size": 3}),
        ("size-96x64", {"width": 96}),
    ],
)
def test_the_first_noise_is_that_of_a1111s_reference_runs(case: str, wishes: dict[str, object]) -> None:
    settings = Settings().changed({"randn_source": "CPU", **{key: wishes[key] for key in wishes if key in Settings.model_fields}})
    request = GenerationRequest(
        seed=12345, **{"width": 64, "height": 64, **{key: wishes[key] for key in wishes if key not in Settings.model_fields}}
    )
    seeds = [picture_seed(request.of_image(index), settings, 8) for index in range(request.images)]
    shape = (4, request.height // 8, request.width // 8)
    ours = PictureNoise(seeds, shape, NoiseSource(settings.randn_source, torch.device("cpu"))).first()
    with np.load(A1111) as stored:
        np.testing.assert_allclose(ours.numpy(), stored[case], rtol=0, atol=2e-6)
