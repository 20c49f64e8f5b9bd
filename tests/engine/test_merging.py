"""Merging, converting and pruning checkpoints, against plain torch arithmetic on the same files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.engine.diffusers_folders import write_folder
from tests.engine.studio import Studio, work_for
from tests.engine.tiny_models import LoneVae, TinyModel, TinyShape, make_checkpoint, rewrite
from webui.catalog.identify import identify
from webui.core.errors import InvalidRequest, ModelError
from webui.core.events import Cancelled, EngineEvent, Failed, Finished, Progress, Remark
from webui.core.model_jobs import MergeRequest, read_model_request
from webui.core.ports import MergeSource, MergeWork
from webui.engine import merging
from webui.engine.extras import Orders
from webui.engine.extras_runner import SideRunner
from webui.engine.merging import merge

INPUT = "model.diffusion_model.input_blocks.0.0.weight"
WEIGHT = "model.diffusion_model.out.2.weight"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "merged.safetensors"


def work(target: Path, a: Path, b: Path | None = None, c: Path | None = None, *, vae: Path | None = None, **wishes: Any) -> MergeWork:
    target.parent.mkdir(exist_ok=True)
    sources = tuple(MergeSource(path, path.name, path.stem * 2, "0badcafe") if path else None for path in (a, b, c))
    usual = {"primary": a.name, "method": "No interpolation"}
    request = read_model_request(MergeRequest, {**usual, **wishes, "result": target.name})
    return MergeWork("j", request, sources, vae, target)  # type: ignore[arg-type]


def merged(wish: MergeWork) -> dict[str, torch.Tensor]:
    events = list(merge(wish, Orders()))
    assert isinstance(events[-1], Finished)
    return load_file(wish.target)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def remarks(events: list[EngineEvent]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Remark))


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def assert_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Bit for bit, so that -0 is not 0 and what is no number is the same one."""
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype, name
        assert tensor.reshape(-1).view(torch.uint8).equal(right[name].reshape(-1).view(torch.uint8)), name


@pytest.mark.parametrize("name", ["tiny", "deep"])
def test_a_folder_in_diffusers_layout_is_converted_to_the_original_file(
    request: pytest.FixtureRequest, name: str, tmp_path: Path, target: Path
) -> None:
    model: TinyModel = request.getfixturevalue(name)
    assert_equal(merged(work(target, write_folder(tmp_path / "folder", model))), load_file(model.path))
    assert metadata(target)["unet_attention_heads"] == str(model.shape.heads)


def test_weighted_sum_is_the_formula(tiny: TinyModel, twin: TinyModel, target: Path) -> None:
    a, b = load_file(tiny.path), load_file(twin.path)
    expected = {name: (1 - 0.3) * a[name] + 0.3 * b[name] for name in a}
    assert_equal(merged(work(target, tiny.path, twin.path, method="Weighted sum", multiplier=0.3)), expected)


def test_add_difference_is_the_formula(tiny: TinyModel, twin: TinyModel, tiny_v: TinyModel, target: Path) -> None:
    a, b, c = (load_file(model.path) for model in (tiny, twin, tiny_v))
    expected = {name: a[name] + 0.7 * (b[name] - c[name]) for name in a}
    wish = work(target, tiny.path, twin.path, tiny_v.path, method="Add difference", multiplier=0.7)
    assert_equal(merged(wish), expected)


def test_drawing_with_the_merged_model_equals_drawing_with_weights_merged_by_hand(
    deterministic_studio: Studio, tiny: TinyModel, twin: TinyModel, tmp_path: Path, target: Path
) -> None:
    a, b = load_file(tiny.path), load_file(twin.path)
    by_hand = rewrite(tiny.path, tmp_path / "hand.safetensors", changes={name: a[name] * 0.5 + b[name] * 0.5 for name in a}, metadata={})
    merged(work(target, tiny.path, twin.path, method="Weighted sum", multiplier=0.5))
    drawn = [deterministic_studio.pictures(work_for(path))[0] for path in (target, by_hand, tiny.path)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("method", ["Weighted sum", "Add difference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float8_e4m3fn])
def test_a_multiplier_of_0_gives_a_bit_for_bit(twin: TinyModel, tmp_path: Path, target: Path, method: str, dtype: torch.dtype) -> None:
    strange = torch.tensor([[-0.0, 0.0, float("nan"), 1.5, -448.0]]).to(dtype)
    save_file({"model.x": strange, "model.y": torch.randn(3).to(dtype)}, tmp_path / "a.safetensors")
    save_file({"model.x": torch.full((1, 5), float("inf")), "model.y": torch.zeros(3)}, tmp_path / "b.safetensors")
    wish = work(target, tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "b.safetensors", method=method, multiplier=0)
    assert_equal(merged(wish), load_file(tmp_path / "a.safetensors"))


def test_a_weighted_sum_with_1_gives_b(tiny: TinyModel, twin: TinyModel, target: Path) -> None:
    assert_equal(merged(work(target, tiny.path, twin.path, method="Weighted sum", multiplier=1)), load_file(twin.path))


def test_a_weighted_sum_with_1_gives_b_bit_for_bit_whatever_a_holds(tmp_path: Path, target: Path) -> None:
    save_file({"model.x": torch.tensor([float("inf"), float("nan"), 1.0])}, tmp_path / "a.safetensors")
    save_file({"model.x": torch.tensor([1.0, 2.0, -0.0])}, tmp_path / "b.safetensors")
    wish = work(target, tmp_path / "a.safetensors", tmp_path / "b.safetensors", method="Weighted sum", multiplier=1)
    assert_equal(merged(wish), load_file(tmp_path / "b.safetensors"))


def test_half_numbers_are_computed_in_single_ones_and_rounded_once(tmp_path: Path, target: Path) -> None:
    a, b = torch.randn(100).half(), torch.randn(100)
    save_file({"model.x": a}, tmp_path / "a.safetensors")
    save_file({"model.x": b}, tmp_path / "b.safetensors")
    wish = work(target, tmp_path / "a.safetensors", tmp_path / "b.safetensors", method="Weighted sum", multiplier=0.3)
    assert_equal(merged(wish), {"model.x": ((1 - 0.3) * a.float() + 0.3 * b).half()})


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_precision_is_that_of_the_weights_and_not_of_the_noise_table(
    precision: str, tiny: TinyModel, tmp_path: Path, target: Path
) -> None:
    table = torch.linspace(0.99, 0.001, 10)
    source = rewrite(tiny.path, tmp_path / "a.safetensors", changes={"alphas_cumprod": table}, metadata={})
    result = merged(work(target, source, precision=precision))
    dtype = getattr(torch, precision)
    assert_equal(result, {name: tensor if name == "alphas_cumprod" else tensor.to(dtype) for name, tensor in load_file(source).items()})
    assert target.stat().st_size < 0.55 * source.stat().st_size


def test_numbers_too_large_for_float16_are_told(tmp_path: Path, target: Path) -> None:
    save_file({"model.x": torch.tensor([1e6, 1.0]), "model.y": torch.tensor([1.0, float("inf")])}, tmp_path / "a.safetensors")
    events = list(merge(work(target, tmp_path / "a.safetensors", precision="float16"), Orders()))
    assert "1 tensors hold numbers too large for float16" in remarks(events)


def test_position_ids_whole_numbers_and_names_without_model_stay(tmp_path: Path, target: Path) -> None:
    kept = {
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(4.0), "model_ema.num_updates": torch.tensor(5),
        "betas": torch.rand(3),
    }  # fmt: skip
    a, b = {**kept, "model.x": torch.ones(2)}, {**{name: tensor + 1 for name, tensor in kept.items()}, "model.x": torch.zeros(2)}
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    wish = work(target, tmp_path / "a.safetensors", tmp_path / "b.safetensors", method="Weighted sum", multiplier=0.5)
    assert remarks(list(merge(wish, Orders()))) == "Saved as merged.safetensors (0.00 GB)."
    assert_equal(load_file(target), {**kept, "model.x": torch.full((2,), 0.5)})


@pytest.mark.parametrize("channels", [9, 8, 5])
def test_a_unet_of_more_channels_takes_the_first_four(channels: int, twin: TinyModel, tmp_path: Path, target: Path) -> None:
    wide = make_checkpoint(tmp_path / "wide.safetensors", 11, TinyShape(in_channels=channels))
    result = merged(work(target, wide.path, twin.path, method="Weighted sum", multiplier=0.25))
    a, b = load_file(wide.path), load_file(twin.path)
    expected = a[INPUT].clone()
    expected[:, :4] = 0.75 * a[INPUT][:, :4] + 0.25 * b[INPUT]
    assert_equal({INPUT: result[INPUT]}, {INPUT: expected})
    assert_equal({WEIGHT: result[WEIGHT]}, {WEIGHT: 0.75 * a[WEIGHT] + 0.25 * b[WEIGHT]})
    recipe = json.loads(metadata(target)["sd_merge_recipe"])
    assert (recipe["is_inpainting"], recipe["is_instruct_pix2pix"]) == (channels == 9, channels == 8)
    assert identify(target).tensors == len(a)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (("inpainting",), "Choose the model for inpainting or editing as A"),
        (("deep",), "does not fit tiny.safetensors"),
        (("lone_vae",), "no weights in common"),
    ],
)
def test_models_that_do_not_fit_are_told_and_leave_no_file(
    others: tuple[str, ...], words: str, tiny: TinyModel, target: Path, request: pytest.FixtureRequest
) -> None:
    other = request.getfixturevalue(others[0])
    with pytest.raises(ModelError, match=words):
        merged(work(target, tiny.path, other.path, method="Weighted sum"))
    assert names_in(target.parent) == []


def test_a_c_of_another_shape_is_told(tiny: TinyModel, twin: TinyModel, deep: TinyModel, target: Path) -> None:
    with pytest.raises(ModelError, match=r"deep.safetensors \(C\) does not fit"):
        merged(work(target, tiny.path, twin.path, deep.path, method="Add difference"))


def test_what_b_lacks_stays_as_in_a_and_is_told(tiny: TinyModel, twin: TinyModel, tmp_path: Path, target: Path) -> None:
    b = rewrite(twin.path, tmp_path / "b.safetensors", changes={WEIGHT: None}, metadata={})
    events = list(merge(work(target, tiny.path, b, method="Weighted sum", multiplier=0.5), Orders()))
    assert f"1 tensors of A are not in the others and stay as they are ({WEIGHT}" in remarks(events)
    assert load_file(target)[WEIGHT].equal(load_file(tiny.path)[WEIGHT])


def test_a_baked_vae_draws_as_the_vae_beside(deterministic_studio: Studio, tiny: TinyModel, lone_vae: LoneVae, target: Path) -> None:
    merged(work(target, tiny.path, vae=lone_vae.path, bake_in_vae="alone.safetensors"))
    expected = deterministic_studio.pictures(work_for(tiny.path, vae=lone_vae.path))[0]
    assert np.array_equal(deterministic_studio.pictures(work_for(target))[0], expected)


def test_a_vae_that_does_not_fit_is_told(tiny: TinyModel, deep: TinyModel, target: Path) -> None:
    with pytest.raises(ModelError, match=r"deep\.safetensors does not fit"):
        merged(work(target, tiny.path, vae=deep.path))


def test_weights_are_discarded_by_a_pattern(tiny: TinyModel, target: Path) -> None:
    result = merged(work(target, tiny.path, discard_weights=r"^first_stage_model\.|out\.2"))
    names = load_file(tiny.path).keys()
    assert result.keys() == {name for name in names if not name.startswith("first_stage_model.") and "out.2" not in name}


def test_a_pattern_that_would_take_for_ever_is_ended(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.engine.merge_plan.SECONDS_OF_PATTERN", 0.2)
    save_file({"model." + "a" * 3000 + "!": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(InvalidRequest, match="takes too long"):
        merged(work(target, tmp_path / "a.safetensors", discard_weights="(a+)+$"))


def test_a_pattern_that_leaves_nothing_is_refused(tiny: TinyModel, target: Path) -> None:
    with pytest.raises(ModelError, match="Nothing would be left"):
        merged(work(target, tiny.path, discard_weights="."))


@pytest.fixture
def averaged(tiny: TinyModel, tmp_path: Path) -> Path:
    """A checkpoint with averages of its UNet's weights beside them, and parts of its training."""
    unet = {name: tensor for name, tensor in load_file(tiny.path).items() if name.startswith("model.")}
    averages = {"model_ema." + name.removeprefix("model.").replace(".", ""): tensor * 2 for name, tensor in unet.items()}
    beside = {"model_ema.decay": torch.tensor(0.9999), "betas": torch.rand(4), "first_stage_model.loss.logvar": torch.zeros(1)}
    return rewrite(tiny.path, tmp_path / "averaged.safetensors", changes=averages | beside, metadata={})


def test_averages_are_put_in_the_weights_place(averaged: Path, tiny: TinyModel, target: Path) -> None:
    expected = {name: tensor * 2 if name.startswith("model.") else tensor for name, tensor in load_file(tiny.path).items()}
    assert_equal(merged(work(target, averaged, averages="Use", only_known_parts=True)), expected)


def test_averages_and_training_parts_are_dropped(averaged: Path, tiny: TinyModel, target: Path) -> None:
    assert_equal(merged(work(target, averaged, averages="Drop", only_known_parts=True)), load_file(tiny.path))


def test_averages_are_kept_unless_asked(averaged: Path, target: Path) -> None:
    assert_equal(merged(work(target, averaged)), load_file(averaged))


def test_averages_that_are_not_there_cannot_be_used(tiny: TinyModel, target: Path) -> None:
    with pytest.raises(ModelError, match="has no EMA weights"):
        merged(work(target, tiny.path, averages="Use"))


def test_a_ckpt_becomes_safetensors_with_the_same_numbers(tiny: TinyModel, tmp_path: Path, target: Path) -> None:
    tensors = load_file(tiny.path)
    torch.save({"state_dict": {**tensors, "turned": tensors[INPUT].permute(1, 0, 2, 3)}, "epoch": 3}, tmp_path / "old.ckpt")
    result = merged(work(target, tmp_path / "old.ckpt"))
    assert_equal(result, {**tensors, "turned": tensors[INPUT].permute(1, 0, 2, 3).contiguous()})


def test_a_pickle_that_claims_more_than_it_holds_is_refused_before_memory_is_taken(tmp_path: Path, target: Path) -> None:
    torch.save({"model.x": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "bomb.ckpt")
    with pytest.raises(ModelError, match="claims 4000000000000 bytes"):
        merged(work(target, tmp_path / "bomb.ckpt"))


def test_every_tensor_lies_at_a_multiple_of_its_numbers_size(tmp_path: Path, target: Path) -> None:
    odd = {"a": torch.ones(3, dtype=torch.uint8), "b": torch.ones(3).half(), "c": torch.ones(3), "d": torch.ones(3, dtype=torch.int64)}
    save_file({**odd, "e": torch.zeros(0, 4), "f": torch.tensor(2.5)}, tmp_path / "a.safetensors")
    assert_equal(merged(work(target, tmp_path / "a.safetensors")), load_file(tmp_path / "a.safetensors"))
    data = target.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    sizes = {"U8": 1, "F16": 2, "F32": 4, "I64": 8}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        assert name == "__metadata__" or entry["data_offsets"][0] % sizes[entry["dtype"]] == 0


def test_the_recipe_is_written_as_a1111_writes_it(tiny: TinyModel, twin: TinyModel, tmp_path: Path, target: Path) -> None:
    earlier = json.dumps({"abc": {"name": "grandmother.ckpt"}})
    told = {"sd_merge_models": earlier, "sd_merge_recipe": '{"type": "webui"}', "author": "me", "sshs_model_hash": "0"}
    a = rewrite(tiny.path, tmp_path / "a.safetensors", changes={}, metadata=told)
    wish = work(
        target, a, twin.path, method="Weighted sum", multiplier=0.4, custom_name="mine", precision="float16", metadata_json='{"n": 1}'
    )
    merged(wish)
    said = metadata(target)
    assert json.loads(said["sd_merge_recipe"]) == {
        "type": "webui", "primary_model_hash": "aa", "secondary_model_hash": "twintwin", "tertiary_model_hash": None,
        "interp_method": "Weighted sum", "multiplier": 0.4, "save_as_half": True, "custom_name": "mine", "config_source": 0,
        "bake_in_vae": "None", "discard_weights": "", "is_inpainting": False, "is_instruct_pix2pix": False,
    }  # fmt: skip
    models = json.loads(said["sd_merge_models"])
    assert models["aa"] == {"name": "a.safetensors", "legacy_hash": "0badcafe", "sd_merge_recipe": {"type": "webui"}}
    assert models["twintwin"]["name"] == "twin.safetensors"
    assert models["abc"] == {"name": "grandmother.ckpt"}
    assert (said["author"], said["n"], said["format"]) == ("me", "1", "pt")
    assert "sshs_model_hash" not in said


def test_without_metadata_only_what_the_shapes_cannot_say_is_kept(tiny: TinyModel, tmp_path: Path, target: Path) -> None:
    a = rewrite(tiny.path, tmp_path / "a.safetensors", changes={}, metadata={"author": "me", "prediction_type": "epsilon"})
    merged(work(target, a, add_recipe=False, copy_metadata=False))
    assert metadata(target) == {**tiny.shape.metadata, "prediction_type": "epsilon", "format": "pt"}


def test_the_prediction_is_that_of_the_model_whose_config_is_taken(
    deterministic_studio: Studio, tiny: TinyModel, twin: TinyModel, tmp_path: Path, target: Path
) -> None:
    b = rewrite(twin.path, tmp_path / "b.safetensors", changes={"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, metadata={})
    b.with_suffix(".yaml").write_text("model:\n  params:\n    parameterization: v\n")
    result = merged(work(target, tiny.path, b, config_source="B"))
    assert {"v_pred", "ztsnr"} <= result.keys()
    assert target.with_suffix(".yaml").read_text() == b.with_suffix(".yaml").read_text()
    as_v = rewrite(tiny.path, tmp_path / "v.safetensors", changes={"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, metadata={})
    assert np.array_equal(deterministic_studio.pictures(work_for(target))[0], deterministic_studio.pictures(work_for(as_v))[0])


def test_no_config_is_taken_when_none_is_wanted(tiny_v: TinyModel, tmp_path: Path, target: Path) -> None:
    a = shutil.copy(tiny_v.path, tmp_path / "a.safetensors")
    Path(a).with_suffix(".yaml").write_text("model: {}")
    merged(work(target, Path(a), config_source="Don't"))
    assert names_in(target.parent) == [target.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_config_left_from_another_model_is_not_taken_for_the_results(tiny: TinyModel, target: Path, overwrite: bool) -> None:
    wish = work(target, tiny.path, overwrite=overwrite)
    target.with_suffix(".yaml").write_text("model:\n  params:\n    parameterization: v\n")
    with pytest.raises(InvalidRequest, match=r"already a merged\.yaml, which would be read for merged\.safetensors"):
        merged(wish)
    assert names_in(target.parent) == ["merged.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_config_is_not_written_through_a_link(tiny_v: TinyModel, tmp_path: Path, target: Path) -> None:
    a = Path(shutil.copy(tiny_v.path, tmp_path / "a.safetensors"))
    a.with_suffix(".yaml").write_text("model: {}")
    (tmp_path / "precious").write_text("mine")
    wish = work(target, a, overwrite=True)
    target.with_suffix(".yaml").symlink_to(tmp_path / "precious")
    merged(wish)
    assert (tmp_path / "precious").read_text() == "mine"
    assert target.with_suffix(".yaml").read_text() == "model: {}"


def test_each_tensor_is_told_and_a_cancelled_merge_leaves_nothing(tiny: TinyModel, twin: TinyModel, target: Path) -> None:
    orders = Orders()
    events = merge(work(target, tiny.path, twin.path, method="Weighted sum"), orders)
    first, second = next(events), next(events)
    assert isinstance(first, Progress)
    assert isinstance(second, Progress)
    assert (first.step, second.step, first.steps) == (1, 2, len(load_file(tiny.path)))
    assert 0 < first.fraction < second.fraction < 1
    assert len(names_in(target.parent)) == 1
    orders.cancelled.set()
    assert [type(event) for event in events] == [Cancelled]
    assert names_in(target.parent) == []


def test_a_merge_that_is_closed_leaves_nothing(tiny: TinyModel, target: Path) -> None:
    events = merge(work(target, tiny.path), Orders())
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert names_in(target.parent) == []


def test_a_full_disk_is_told_before_anything_is_written(tiny: TinyModel, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.core.files.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InvalidRequest, match=r"has 0\.00 GB free"):
        merged(work(target, tiny.path))
    assert names_in(target.parent) == []


def test_a_disk_that_fills_while_writing_fails_the_job_and_leaves_nothing(
    tiny: TinyModel, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging.os, "fsync", full)
    events = list(SideRunner(merge).run(work(target, tiny.path)))
    assert events[-1] == Failed("merged.safetensors cannot be written: No space left on device.", "ModelError")
    assert names_in(target.parent) == []


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tiny: TinyModel, target: Path) -> None:
    wish = work(target, tiny.path)
    target.write_text("mine")
    with pytest.raises(InvalidRequest, match=r"already a merged.safetensors"):
        merged(wish)
    assert target.read_text() == "mine"
    assert names_in(target.parent) == [target.name]
    merged(replace(wish, request=wish.request.model_copy(update={"overwrite": True})))
    assert identify(target).family == "sd1"


def test_a_model_that_changes_while_it_is_read_fails_the_job(tiny: TinyModel, twin: TinyModel, tmp_path: Path, target: Path) -> None:
    a = Path(shutil.copy(tiny.path, tmp_path / "a.safetensors"))
    events = merge(work(target, a), Orders())
    next(events)
    os.utime(a, (1, 1))
    with pytest.raises(ModelError, match=r"a.safetensors was changed while it was read"):
        list(events)
    assert names_in(target.parent) == []


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory was used at most is told by Linux")
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_memory_stays_near_that_of_one_tensor(suffix: str, tmp_path: Path, target: Path) -> None:
    count, size = 24, 16 * 2**20
    for name in "ab":
        tensors = {f"model.{number}": torch.full((size // 4,), float(number)) for number in range(count)}
        path = tmp_path / f"{name}{suffix}"
        torch.save(tensors, path) if suffix == ".ckpt" else save_file(tensors, path)
        del tensors
    wish = work(target, tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", method="Weighted sum", multiplier=0.5)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    for _ in merge(wish, Orders()):
        pass
    grown = _status("VmHWM") - before
    # Measured: 100 to 250 MB, of which a part is Python's; 950 MB when what was read is never let go.
    assert grown < count * size, f"{grown / 2**20:.0f} MB for files of 2 x {count * size / 2**20:.0f} MB"
    for path in (target, *tmp_path.glob(f"*{suffix}")):
        path.unlink()


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
