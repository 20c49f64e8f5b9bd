"""Jobs share forward passes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.engine.studio import Studio, events_of, pictures, work_for
from tests.engine.tiny_models import TinyModel
from webui.core.events import Cancelled, Drawn, Failed, Finished, ModelLoading, Progress, Remark
from webui.engine import device_loop
from webui.engine.device_loop import Run
from webui.engine.generate import Story
from webui.engine.pipeline_manager import Pipeline, PipelineSpec
from webui.engine.rows import Rows, UNetCall

Watch = Callable[[torch.Tensor], None]


@pytest.fixture
def before_each_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[Watch], None]:
    """Have something called with the UNet's input before every forward pass; it may raise."""
    really = UNet2DConditionModel.forward

    def install(watch: Watch) -> None:
        def forward(unet: UNet2DConditionModel, sample: torch.Tensor, *args: Any, **options: Any) -> Any:
            watch(sample)
            return really(unet, sample, *args, **options)

        monkeypatch.setattr(UNet2DConditionModel, "forward", forward)

    return install


def assert_nothing_is_leased(studio: Studio, model: TinyModel) -> None:
    studio.pipelines.clear()
    assert not studio.pipelines.resident(PipelineSpec(model.path))


def assert_same_latents(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    """The same latents in any order, to 1e-3 (rounding over ten steps; 1.5e-4 on an AMD processor), and no two of them alike."""
    assert len(ours) == len(theirs)
    for latent in theirs:
        distances = sorted(float((latent - other).abs().max()) for other in ours)
        assert distances[0] < 1e-3
        assert len(ours) == 1 or distances[1] > 0.1


def test_two_jobs_share_their_passes_and_get_the_pictures_they_get_alone(
    studio: Studio, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    one = work_for(tiny.path, prompt="a cat", steps=10, cfg_scale=7, sampler="Euler", seed=1)
    other = work_for(tiny.path, prompt="a dog", negative_prompt="bad", steps=8, cfg_scale=4, sampler="DPM++ 2M", seed=2)
    alone = [studio.pictures(one)[0], studio.pictures(other)[0]]
    passes_alone = studio.loop.passes
    assert passes_alone == 18
    latents_alone, decoded_latents[:] = decoded_latents[:], []

    together = [pictures(events)[0] for events in studio.draw_together(one, other)]

    assert studio.loop.passes - passes_alone == 10
    assert_same_latents(decoded_latents, latents_alone)
    for mine, before in zip(together, alone, strict=True):
        assert abs(mine - before).max() <= 1
    assert abs(alone[0] - alone[1]).mean() > 5


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "Heun", "DDIM"])
def test_every_sampler_can_share_with_another(studio: Studio, tiny: TinyModel, sampler: str, decoded_latents: list[torch.Tensor]) -> None:
    one = work_for(tiny.path, sampler=sampler, schedule="Karras", seed=1, steps=5)
    other = work_for(tiny.path, sampler="Euler a", seed=2, steps=3, cfg_scale=1)
    studio.draw(one)
    studio.draw(other)
    latents_alone, decoded_latents[:] = decoded_latents[:], []
    studio.draw_together(one, other)
    assert_same_latents(decoded_latents, latents_alone)


def test_a_job_that_arrives_later_joins_at_its_own_first_step(
    studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]
) -> None:
    early, late = work_for(tiny.path, steps=8, seed=1), work_for(tiny.path, steps=8, seed=2)
    alone = [studio.pictures(early)[0], studio.pictures(late)[0]]
    runs: list[Run] = []
    rows: list[int] = []

    def submit_the_other(sample: torch.Tensor) -> None:
        rows.append(len(sample))
        if len(rows) == 3:
            runs.append(studio.submit(late))

    before_each_pass(submit_the_other)
    first = pictures(studio.draw(early))[0]
    second = pictures(events_of(runs[0]))[0]
    assert rows == [2, 2, 2, 4, 4, 4, 4, 4, 2, 2, 2]
    assert abs(first - alone[0]).max() <= 1
    assert abs(second - alone[1]).max() <= 1


def test_prompts_of_different_length_do_not_share_a_pass(studio: Studio, tiny: TinyModel) -> None:
    long = work_for(tiny.path, prompt="cat " * 80, steps=3)
    drawn = studio.pictures(long)[0]
    assert studio.loop.passes == 6
    assert drawn.shape == (64, 64, 3)


def test_deterministic_pictures_are_bit_equal_alone_in_a_batch_and_beside_another_job(
    deterministic_studio: Studio, tiny: TinyModel
) -> None:
    studio = deterministic_studio
    singles = [studio.pictures(work_for(tiny.path, seed=seed, sampler="Euler a"))[0] for seed in (7, 8, 9)]
    batch = work_for(tiny.path, seed=7, sampler="Euler a", batch_size=3)
    neighbour = work_for(tiny.path, prompt="a dog", seed=70, batch_size=2, steps=6)
    beside, _ = studio.draw_together(batch, neighbour)
    for drawn in (studio.pictures(batch), pictures(beside)):
        for index, single in enumerate(singles):
            assert np.array_equal(drawn[index], single)


def test_deterministic_latents_are_bit_equal_too(
    deterministic_studio: Studio, tiny: TinyModel, decoded_latents: list[torch.Tensor]
) -> None:
    work = work_for(tiny.path, seed=7, steps=6)
    deterministic_studio.draw(work)
    deterministic_studio.draw_together(work, work_for(tiny.path, seed=8, steps=2), work_for(tiny.path, seed=9, steps=3))
    alone, _, _, beside = decoded_latents
    assert torch.equal(alone, beside)


def test_rows_are_never_more_than_the_limit(studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]) -> None:
    rows: list[int] = []
    before_each_pass(lambda sample: rows.append(len(sample)))
    studio.draw(work_for(tiny.path, batch_size=20, steps=1, width=64, height=64))
    assert sorted(rows) == [20, 20]  # MAX_ROWS is 32, and a batch stays together


def test_out_of_memory_the_batch_is_divided_and_the_pictures_are_the_same(
    studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]
) -> None:
    work = work_for(tiny.path, batch_size=4, steps=5)
    normal = studio.pictures(work)
    tries: list[int] = []

    def refuse_more_than_3_rows(sample: torch.Tensor) -> None:
        tries.append(len(sample))
        if len(sample) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    before_each_pass(refuse_more_than_3_rows)
    drawn = studio.pictures(work)
    assert set(drawn) == {0, 1, 2, 3}
    assert all(abs(drawn[index] - normal[index]).max() <= 1 for index in normal)
    assert [rows for rows in tries if rows > 3] == [8, 4]  # found out once, not at every step
    assert tries[2:] == [2] * 20


def test_out_of_memory_beside_a_neighbour_both_are_drawn(
    studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]
) -> None:
    works = [work_for(tiny.path, seed=1), work_for(tiny.path, seed=2)]
    normal = [studio.pictures(work)[0] for work in works]

    def refuse_more_than_one_row(sample: torch.Tensor) -> None:
        if len(sample) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    before_each_pass(refuse_more_than_one_row)
    for events, before in zip(studio.draw_together(*works), normal, strict=True):
        assert abs(pictures(events)[0] - before).max() <= 1


def test_when_not_even_one_row_fits_the_job_fails_and_the_next_runs(
    studio: Studio, tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_for(tiny.path)
    normal = studio.pictures(work)[0]

    def refuse(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(UNet2DConditionModel, "forward", refuse)
        failed = studio.draw(work_for(tiny.path, batch_size=2))[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "OutOfMemoryError"
    assert "out of memory" in failed.message
    assert "smaller" in failed.message
    assert abs(studio.pictures(work)[0] - normal).max() <= 1
    assert_nothing_is_leased(studio, tiny)


def test_out_of_memory_while_beginning_fails_with_the_same_kind(studio: Studio, tiny: TinyModel) -> None:
    def begin(_: Pipeline) -> Story:
        raise torch.OutOfMemoryError("CUDA out of memory")

    failed = events_of(studio.submit(work_for(tiny.path), begin))[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "OutOfMemoryError"


def test_cancel_ends_a_job_within_one_step(studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]) -> None:
    passes: list[int] = []
    runs: list[Run] = []

    def cancel_in_the_third_pass(sample: torch.Tensor) -> None:
        passes.append(len(sample))
        if len(passes) == 3:
            runs[0].cancelled.set()

    before_each_pass(cancel_in_the_third_pass)
    with studio.busy(work_for(tiny.path)):
        runs.append(studio.submit(work_for(tiny.path, steps=100)))
    events = events_of(runs[0])
    assert isinstance(events[-1], Cancelled)
    assert not any(isinstance(event, Drawn) for event in events)
    assert len(passes) == 3
    assert_nothing_is_leased(studio, tiny)


def test_cancelling_one_job_leaves_its_neighbour(studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]) -> None:
    staying = work_for(tiny.path, seed=1, steps=6)
    normal = studio.pictures(staying)[0]
    rows: list[int] = []
    runs: list[Run] = []

    def cancel_in_the_second_pass(sample: torch.Tensor) -> None:
        rows.append(len(sample))
        if len(rows) == 2:
            runs[1].cancelled.set()

    before_each_pass(cancel_in_the_second_pass)
    with studio.busy(staying):
        runs += [studio.submit(staying), studio.submit(work_for(tiny.path, seed=2, steps=6))]
    assert abs(pictures(events_of(runs[0]))[0] - normal).max() <= 1
    assert isinstance(events_of(runs[1])[-1], Cancelled)
    assert rows == [4, 4, 2, 2, 2, 2]


def test_a_job_cancelled_while_it_waits_ends_without_a_pass(studio: Studio, tiny: TinyModel, twin: TinyModel) -> None:
    with studio.busy(work_for(tiny.path)):
        run = studio.submit(work_for(twin.path))
        run.cancelled.set()
    assert events_of(run) == [Cancelled()]
    assert studio.loop.passes == 0
    assert not studio.pipelines.resident(PipelineSpec(twin.path))


def test_a_job_cancelled_between_two_events_does_not_go_on_to_the_second(studio: Studio, tiny: TinyModel) -> None:
    work = work_for(tiny.path)
    runs: list[Run] = []

    def begin(_: Pipeline) -> Story:
        yield Remark("first")
        runs[0].cancelled.set()
        yield Remark("second")
        yield Remark("third")

    with studio.busy(work):
        runs.append(studio.submit(work, begin))
    assert events_of(runs[0])[-3:] == [Remark("first"), Remark("second"), Cancelled()]


def test_skip_ends_one_batch_with_what_it_has_and_goes_on_to_the_next(
    studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]
) -> None:
    work = work_for(tiny.path, steps=6, batch_count=2)
    normal = studio.pictures(work)
    passes: list[int] = []
    runs: list[Run] = []

    def skip_in_the_third_pass(sample: torch.Tensor) -> None:
        passes.append(len(sample))
        if len(passes) == 3:
            runs[0].skipped.set()

    before_each_pass(skip_in_the_third_pass)
    with studio.busy(work):
        runs.append(studio.submit(work))
    events = events_of(runs[0])
    assert isinstance(events[-1], Finished)
    drawn = [event for event in events if isinstance(event, Drawn)]
    assert [event.used.get("Stopped at step") for event in drawn] == ["3", None]
    assert len(passes) == 3 + 6
    skipped, whole = pictures(events)[0], pictures(events)[1]
    assert not np.array_equal(skipped, normal[0])
    assert abs(whole - normal[1]).max() <= 1


def test_a_story_that_raises_fails_alone(studio: Studio, tiny: TinyModel) -> None:
    work = work_for(tiny.path, steps=6)
    normal = studio.pictures(work)[0]

    def begin(pipeline: Pipeline) -> Story:
        yield a_wish(tiny, torch.zeros(1, 4, 8, 8))
        raise ZeroDivisionError("in the second step")

    with studio.busy(work):
        runs = [studio.submit(work), studio.submit(work_for(tiny.path), begin)]
    assert abs(pictures(events_of(runs[0]))[0] - normal).max() <= 1
    assert events_of(runs[1])[-1] == Failed("Internal error: ZeroDivisionError: in the second step", "ZeroDivisionError")
    assert_nothing_is_leased(studio, tiny)


def test_a_pass_that_fails_for_one_jobs_rows_fails_that_job_alone(
    studio: Studio, tiny: TinyModel, before_each_pass: Callable[[Watch], None]
) -> None:
    work = work_for(tiny.path, steps=6)
    normal = studio.pictures(work)[0]

    def refuse_poison(sample: torch.Tensor) -> None:
        if sample.isnan().any():
            raise ValueError("poison")

    def begin(pipeline: Pipeline) -> Story:
        yield a_wish(tiny, torch.zeros(1, 4, 8, 8))
        yield a_wish(tiny, torch.full((1, 4, 8, 8), torch.nan))

    before_each_pass(refuse_poison)
    with studio.busy(work):
        runs = [studio.submit(work), studio.submit(work_for(tiny.path), begin)]
    assert abs(pictures(events_of(runs[0]))[0] - normal).max() <= 1
    assert events_of(runs[1])[-1] == Failed("Internal error: ValueError: poison", "ValueError")


def test_a_model_that_cannot_be_loaded_fails_its_job_with_a_sentence(studio: Studio, tiny: TinyModel, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    failed = studio.draw(work_for(tmp_path / "broken.safetensors"))[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "ModelError"
    assert failed.message.startswith("broken.safetensors cannot be read")
    gone = studio.draw(work_for(tmp_path / "gone.safetensors"))[-1]
    assert isinstance(gone, Failed)
    assert gone.kind == "ModelError"
    assert isinstance(studio.draw(work_for(tiny.path))[-1], Finished)


def test_loading_is_told_only_when_something_is_loaded(studio: Studio, tiny: TinyModel) -> None:
    assert ModelLoading(tiny.path.name) in studio.draw(work_for(tiny.path))
    assert ModelLoading(tiny.path.name) not in studio.draw(work_for(tiny.path))


def test_jobs_of_other_weights_wait_and_then_run(
    studio: Studio, tiny: TinyModel, twin: TinyModel, before_each_pass: Callable[[Watch], None]
) -> None:
    rows: list[int] = []
    works = [work_for(tiny.path, seed=1), work_for(twin.path, seed=2), work_for(tiny.path, seed=3)]
    normal = [studio.pictures(work)[0] for work in works]
    before_each_pass(lambda sample: rows.append(len(sample)))
    with studio.busy(works[0]):
        runs = [studio.submit(work) for work in works]
    for run, before in zip(runs, normal, strict=True):
        assert abs(pictures(events_of(run))[0] - before).max() <= 1
    assert rows == [4, 4, 4, 4, 2, 2, 2, 2]  # the third overtakes the second, to share with the first
    assert abs(normal[0] - normal[1]).mean() > 5


def test_a_job_of_other_weights_is_overtaken_only_for_a_bounded_time(
    studio: Studio, tiny: TinyModel, twin: TinyModel, before_each_pass: Callable[[Watch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_loop, "FAIRNESS_SECONDS", 0.0)
    rows: list[int] = []
    before_each_pass(lambda sample: rows.append(len(sample)))
    works = [work_for(tiny.path, steps=3), work_for(twin.path, steps=3, cfg_scale=1), work_for(tiny.path, steps=3)]
    with studio.busy(works[0]):
        runs = [studio.submit(work) for work in works]
    assert all(isinstance(events_of(run)[-1], Finished) for run in runs)
    assert rows == [2, 2, 2, 1, 1, 1, 2, 2, 2]


def test_closing_ends_running_and_waiting_jobs_as_cancelled(studio: Studio, tiny: TinyModel, twin: TinyModel) -> None:
    running = studio.submit(work_for(tiny.path, steps=1000))
    while not isinstance(running.tell.get(timeout=60), Progress):
        pass
    waiting = studio.submit(work_for(twin.path))
    studio.close()
    assert isinstance(events_of(running)[-1], Cancelled)
    assert events_of(waiting) == [Cancelled()]
    assert events_of(studio.submit(work_for(tiny.path))) == [Cancelled()]
    assert_nothing_is_leased(studio, tiny)


def a_wish(model: TinyModel, x: torch.Tensor) -> UNetCall:
    """One row for the UNet, as long as a prompt of one chunk."""
    return UNetCall((Rows(x, torch.tensor([500.0]), torch.zeros(1, 77, model.shape.width), (0,)),))
