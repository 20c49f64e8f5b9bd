import hashlib

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from webui.engine.adapters.applied import AppliedPatches, ModulePatches, fits
from webui.engine.adapters.lora_kinds import Factors, LowRank, Whole
from webui.engine.adapters.lora_layers import LayerChange, add_all


class Model(nn.Module):
    """One layer of each kind that is patched."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 6)
        self.bare = nn.Linear(6, 6, bias=False)
        self.convolution = nn.Conv2d(4, 6, 3)
        self.norm = nn.GroupNorm(2, 6)


@pytest.fixture(params=[torch.float32, torch.float16, torch.bfloat16], ids=str)
def dtype(request):
    return request.param


@pytest.fixture
def model(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Model().to(dtype).requires_grad_(False)


@pytest.fixture
def applied(model):
    return AppliedPatches(model)


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def low_rank(seed, out=6, width=8):
    return LayerChange(LowRank(draw(seed, out, 2), draw(seed + 1, 2, width), 2), 0.5)


def patches(version, **layers):
    return ModulePatches(version, layers)


FIRST = patches(1, linear=low_rank(10), convolution=LayerChange(LowRank(draw(3, 6, 2), draw(4, 2, 4, 3, 3), 2), 1.0))
SECOND = patches(2, linear=LayerChange(Factors(draw(5, 6), on_input=False), 1.0))
NORM = patches(3, norm=LayerChange(Whole(draw(6, 6)), 1.0, bias=draw(7, 6)))
BARE = patches(4, bare=LayerChange(Whole(draw(8, 6, 6)), 1.0, bias=draw(9, 6)))
ALL = [(FIRST, 0.7), (SECOND, -0.3), (NORM, 1.0), (BARE, 0.5)]


def bits(model):
    """Every parameter by name, as it is now, and the object that it is."""
    return {name: (parameter, parameter.clone()) for name, parameter in model.named_parameters()}


def assert_untouched(model, before):
    now = dict(model.named_parameters())
    assert now.keys() == before.keys()
    for name, (parameter, numbers) in before.items():
        assert now[name] is parameter, name
        assert torch.equal(parameter, numbers), name


def expected(model, wanted, layer="linear"):
    """The sum in float32, rounded once."""
    weight = getattr(model, layer).weight.clone().float()
    add_all(weight, [(one.layers[layer], strength) for one, strength in wanted if layer in one.layers])
    return weight


def test_weights_change_by_all_patches_one_after_another_and_are_rounded_once(model, applied, dtype):
    wanted = [(FIRST, 0.7), (SECOND, -0.3)]
    sums = {layer: expected(model, wanted, layer).to(dtype) for layer in ("linear", "convolution", "norm")}
    assert applied.apply(wanted)
    for layer, weight in sums.items():
        assert torch.equal(getattr(model, layer).weight, weight), layer
        assert getattr(model, layer).weight.dtype == dtype


def test_ten_loras_are_the_sum_of_ten(model, applied, dtype):
    wanted = [(patches(number, linear=low_rank(number)), 0.1 * number) for number in range(1, 11)]
    total = model.linear.weight.clone().double()
    for one, strength in wanted:
        change = one.layers["linear"]
        total += (change.kind.up.double() @ change.kind.down.double()) * change.scale * strength
    applied.apply(wanted)
    torch.testing.assert_close(model.linear.weight, total.to(dtype), rtol=torch.finfo(dtype).eps * 8, atol=1e-5)


def test_weights_in_another_memory_format_are_changed_alike(dtype):
    plain, channels_last = Model().to(dtype).requires_grad_(False), Model().to(dtype).requires_grad_(False)
    channels_last.load_state_dict(plain.state_dict())
    channels_last.to(memory_format=torch.channels_last)
    for one in (plain, channels_last):
        AppliedPatches(one).apply([(FIRST, 0.7)])
    assert torch.equal(plain.convolution.weight, channels_last.convolution.weight)


def test_the_order_of_the_prompt_counts(model, applied):
    applied.apply([(FIRST, 1.0), (SECOND, 1.0)])
    one_way = model.linear.weight.clone()
    applied.apply([(SECOND, 1.0), (FIRST, 1.0)])
    assert not torch.equal(model.linear.weight, one_way)


def test_removal_puts_the_very_same_tensors_back_bit_for_bit(model, applied):
    before = bits(model)
    applied.apply(ALL)
    assert not torch.equal(model.linear.weight, before["linear.weight"][1])
    applied.restore()
    assert_untouched(model, before)
    assert applied.wanted == ()


def test_every_way_through_sets_of_patches_ends_at_the_same_numbers(model, applied):
    before = bits(model)
    fresh = {}
    for number, wanted in enumerate([ALL, [(FIRST, 1.0)], [(NORM, 0.5), (BARE, 1.0)], ALL[:2]]):
        applied.apply(wanted)
        fresh[number] = {name: parameter.clone() for name, parameter in model.named_parameters()}
        applied.restore()
        assert_untouched(model, before)
    for number, wanted in enumerate([ALL, [(FIRST, 1.0)], [(NORM, 0.5), (BARE, 1.0)], ALL[:2]]):
        applied.apply(wanted)
        now = dict(model.named_parameters())
        assert now.keys() == fresh[number].keys()
        assert all(torch.equal(now[name], fresh[number][name]) for name in now)
    applied.apply([])
    assert_untouched(model, before)


def test_nothing_is_done_when_the_set_is_unchanged(model, applied, monkeypatch):
    applied.apply(ALL)
    monkeypatch.setattr(applied, "_change", None)
    # Another reading of the same files, and one that has no strength.
    assert not applied.apply([(ModulePatches(one.version, dict(one.layers)), strength) for one, strength in ALL])
    assert not applied.apply([*ALL, (patches(9, linear=low_rank(20)), 0.0)])


def test_another_strength_or_another_version_of_a_file_is_another_set(model, applied):
    applied.apply([(FIRST, 0.5)])
    assert applied.apply([(FIRST, 0.6)])
    assert applied.apply([(ModulePatches("newer", FIRST.layers), 0.6)])


def test_a_changed_set_reuses_the_memory_of_the_one_before(model, applied):
    applied.apply([(FIRST, 0.5)])
    place = model.linear.weight.data_ptr()
    applied.apply([(FIRST, 0.9), (SECOND, 1.0)])
    assert model.linear.weight.data_ptr() == place


def test_a_layer_without_bias_gets_one_and_loses_it_again(model, applied, dtype):
    applied.apply([(BARE, 0.5)])
    assert torch.equal(model.bare.bias, (BARE.layers["bare"].bias * 0.5).to(dtype))
    assert model.bare(torch.zeros(1, 6, dtype=dtype)).shape == (1, 6)
    applied.apply([(FIRST, 0.5)])
    assert model.bare.bias is None


def test_norms_change_weight_and_bias(model, applied, dtype):
    change = NORM.layers["norm"]
    weight, bias = model.norm.weight.float(), model.norm.bias.float()
    applied.apply([(NORM, 0.5)])
    assert torch.equal(model.norm.weight, (weight + change.kind.difference * 0.5).to(dtype))
    assert torch.equal(model.norm.bias, (bias + change.bias * 0.5).to(dtype))


@pytest.mark.parametrize("first", [[], [(SECOND, 1.0)]], ids=["from nothing", "from another set"])
def test_a_failure_half_way_leaves_the_originals(model, applied, first):
    before = bits(model)

    class Broken:
        def fits(self, shape):
            return True

        def change(self, weight):
            raise RuntimeError("no memory")

    applied.apply(first)
    with pytest.raises(RuntimeError, match="no memory"):
        applied.apply([(FIRST, 1.0), (patches(5, norm=LayerChange(Broken(), 1.0)), 1.0)])
    assert_untouched(model, before)
    assert applied.wanted == ()
    assert applied.apply([(FIRST, 1.0)])


def test_a_mapped_file_is_never_written_to(tmp_path, model, applied):
    path = tmp_path / "weights.safetensors"
    save_file({name: parameter.detach() for name, parameter in model.named_parameters()}, path)
    model.load_state_dict(load_file(path), assign=True)
    before = hashlib.sha256(path.read_bytes()).digest()
    mapped = bits(model)
    applied.apply(ALL)
    applied.restore()
    assert_untouched(model, mapped)
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_sets_may_be_changed_inside_and_outside_of_inference_mode(model, dtype):
    with torch.inference_mode():
        for layer in model.children():  # as a device loop loads them
            for name, parameter in layer.named_parameters():
                setattr(layer, name, nn.Parameter(parameter.clone(), requires_grad=False))
        before = bits(model)
        applied = AppliedPatches(model)
        applied.apply(ALL)
    applied.apply([(FIRST, 0.3)])
    with torch.inference_mode():
        applied.apply(ALL)
    applied.restore()
    assert_untouched(model, before)


def test_an_inpainting_models_further_channels_stay_as_they_are(dtype):
    class Inpainting(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(9, 6, 3).to(dtype).requires_grad_(False)

    model = Inpainting()
    before = model.convolution.weight.float()
    change = FIRST.layers["convolution"]
    assert fits(change, model.convolution)
    AppliedPatches(model).apply([(FIRST.__class__(1, {"convolution": change}), 0.5)])
    own = before[:, :4].contiguous()
    add_all(own, [(change, 0.5)])
    assert torch.equal(model.convolution.weight[:, :4], own.to(dtype))
    assert torch.equal(model.convolution.weight[:, 4:], before[:, 4:].to(dtype))


@pytest.mark.parametrize(("change", "layer", "answer"), [
    (low_rank(1), nn.Linear(8, 6), True),
    (low_rank(1), nn.Linear(6, 8), False),
    (LayerChange(Whole(draw(1, 6)), 1.0, bias=draw(2, 6)), nn.LayerNorm(6), True),
    (LayerChange(Whole(draw(1, 6)), 1.0, bias=draw(2, 5)), nn.LayerNorm(6), False),
    (LayerChange(Whole(draw(1, 3, 6)), 1.0, bias=draw(2, 3)), nn.Embedding(3, 6), False),
    (low_rank(1, 6, 4), nn.Conv2d(4, 6, 1), True),
    (low_rank(1, 6, 4), nn.Conv2d(9, 6, 1), True),
    (low_rank(1, 6, 4), nn.Conv2d(7, 6, 1), False),
])  # fmt: skip
def test_whether_a_change_fits_a_layer_is_told_from_shapes(change, layer, answer):
    assert fits(change, layer) is answer
