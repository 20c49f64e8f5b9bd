"""Every picture has noise of its own."""

from __future__ import annotations

import torch

from webui.engine.noise import PictureNoise

CPU = torch.device("cpu")
SHAPE = (4, 8, 8)


def test_a_picture_of_a_batch_has_the_noise_it_would_have_alone() -> None:
    batch = PictureNoise([5, 6, 7], SHAPE, source="CPU", device=CPU)
    alone = PictureNoise([6], SHAPE, source="CPU", device=CPU)
    for _ in range(3):
        assert torch.equal(batch.draw()[1], alone.draw()[0])


def test_it_is_torchs_own_sequence_for_the_seed() -> None:
    generator = torch.Generator().manual_seed(5)
    noise = PictureNoise([5], SHAPE, source="CPU", device=CPU)
    assert torch.equal(noise.draw()[0], torch.randn(SHAPE, generator=generator))
    assert torch.equal(noise.draw()[0], torch.randn(SHAPE, generator=generator))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    PictureNoise([5], SHAPE, source="GPU", device=CPU).draw()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_largest_seed_is_accepted() -> None:
    assert PictureNoise([2**63 - 1], SHAPE, source="CPU", device=CPU).draw().isfinite().all()
