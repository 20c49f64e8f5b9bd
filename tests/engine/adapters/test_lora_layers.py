import numpy as np
import pytest
import torch

from webui.core.errors import ModelError
from webui.engine.adapters.lora_kinds import Factors, Generalised, Hadamard, Kronecker, LowRank, LowRankConvolution, Rotation, Whole
from webui.engine.adapters.lora_layers import Dora, LayerChange, add_all, read_layer

OUT, IN, RANK = 6, 4, 2


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(6)
    return lambda *shape: torch.randn(shape, generator=generator)


@pytest.fixture
def weight(draw):
    return draw(OUT, IN)


@pytest.fixture
def lora(draw):
    return {"lora_up.weight": draw(OUT, RANK), "lora_down.weight": draw(RANK, IN)}


def number(value):
    return torch.tensor(float(value))


def added(change, weight, strength=1.0):
    """What a change makes of a weight, less the weight, in float64."""
    result = weight.clone()
    change.add_to(result, strength)
    return (result.double() - weight.double()).numpy()


def matrix(lora):
    return (lora["lora_up.weight"].double() @ lora["lora_down.weight"].double()).numpy()


# --- which kind


def ones(*shape):
    return torch.ones(shape)


KINDS = [
    (LowRank, {"lora_up.weight": ones(6, 2), "lora_down.weight": ones(2, 4)}, 2),
    (LowRankConvolution, {"lora_up.weight": ones(6, 2), "lora_down.weight": ones(3, 4), "lora_mid.weight": ones(2, 3, 3, 3)}, 3),
    (Hadamard, {f"hada_w{n}_{x}": ones(2, 2) for n in "12" for x in "ab"}, 2),
    (Factors, {"weight": ones(6), "on_input": torch.tensor(False)}, None),
    (Kronecker, {"lokr_w1": ones(3, 2), "lokr_w2": ones(2, 2)}, None),
    (Kronecker, {"lokr_w1_a": ones(3, 5), "lokr_w1_b": ones(5, 2), "lokr_w2": ones(2, 2)}, 5),
    (Kronecker, {"lokr_w1_a": ones(3, 5), "lokr_w1_b": ones(5, 2), "lokr_w2_a": ones(2, 3), "lokr_w2_b": ones(3, 2)}, 3),
    (Kronecker, {"lokr_w1": ones(3, 2), "lokr_t2": ones(2, 4, 3, 3), "lokr_w2_a": ones(2, 2), "lokr_w2_b": ones(4, 2)}, 4),
    (Whole, {"diff": ones(6, 4)}, None),
    (Whole, {"w_norm": ones(6), "b_norm": ones(6)}, None),
    (Generalised, {"a1.weight": ones(2, 4), "a2.weight": ones(4, 2), "b1.weight": ones(2, 4), "b2.weight": ones(6, 2)}, None),
    (Rotation, {"oft_blocks": ones(3, 2, 2)}, None),
    (Rotation, {"oft_diag": ones(3, 2, 2)}, None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "parts", "rank"), KINDS)
def test_the_tensors_names_tell_the_kind_and_its_scale_is_alpha_by_rank(kind, parts, rank):
    change = read_layer({**parts, "alpha": number(3)})
    assert isinstance(change.kind, kind)
    assert change.scale == (1.0 if rank is None else 3 / rank)
    assert read_layer(parts).scale == 1.0


@pytest.mark.parametrize(("kind", "parts", "rank"), [entry for entry in KINDS if entry[0] is not Rotation])
def test_a_scale_in_the_file_counts_before_alpha(kind, parts, rank):
    assert read_layer({**parts, "alpha": number(3), "scale": number(0.25)}).scale == 0.25


@pytest.mark.parametrize(("kind", "parts", "rank"), KINDS)
def test_a_default_alpha_is_for_files_that_have_none(kind, parts, rank):
    assert read_layer(parts, default_alpha=5).scale == (1.0 if rank is None else 5 / rank)
    assert read_layer({**parts, "alpha": number(3)}, default_alpha=5).scale == (1.0 if rank is None else 3 / rank)


def test_of_a_layer_with_tensors_of_two_kinds_a1111s_first_counts(lora):
    assert isinstance(read_layer({**lora, "diff": ones(OUT, IN)}).kind, LowRank)
    assert isinstance(read_layer({"diff": ones(OUT, IN), "oft_blocks": ones(3, 2, 2)}).kind, Whole)


def test_alpha_limits_an_oft_in_proportion_to_its_rows():
    assert read_layer({"oft_blocks": ones(3, 2, 2), "alpha": number(0.5)}).kind.limit == 0.5 * 6
    assert read_layer({"oft_blocks": ones(2, 3, 2, 2), "alpha": number(0.5)}).kind.limit == 0.5 * 6
    assert read_layer({"oft_diag": ones(3, 2, 2), "alpha": number(0.5)}).kind.limit == 0.0


@pytest.mark.parametrize("parts", [{}, {"lora_up.weight": ones(6, 2)}, {"alpha": number(1)}, {"weight": ones(6)}, {"w_norm": ones(6)}])
def test_incomplete_layers_are_refused(parts):
    with pytest.raises(ModelError, match="of no kind"):
        read_layer(parts)


def test_an_alpha_that_is_no_single_number_is_refused(lora):
    with pytest.raises(ModelError, match="one number"):
        read_layer({**lora, "alpha": ones(3)})


# --- the sum


@pytest.mark.parametrize("strength", [1.0, 0.7, -0.5])
def test_a_lora_is_added_times_alpha_by_rank_times_strength(weight, lora, strength):
    change = read_layer({**lora, "alpha": number(5)})
    np.testing.assert_allclose(added(change, weight, strength), matrix(lora) * 5 / RANK * strength, rtol=1e-5, atol=1e-6)


def test_cutting_the_rank_does_not_change_the_scale(weight, draw):
    lora = {"lora_up.weight": draw(OUT, 4), "lora_down.weight": draw(4, IN), "alpha": number(2)}
    first = {"lora_up.weight": lora["lora_up.weight"][:, :3], "lora_down.weight": lora["lora_down.weight"][:3]}
    np.testing.assert_allclose(added(read_layer(lora, dyn=3), weight), matrix(first) * 2 / 4, rtol=1e-5, atol=1e-6)


def test_many_changes_give_the_numbers_of_one_after_another(weight, draw):
    """The order counts: IA3 multiplies what is there."""
    loras = [
        read_layer({"lora_up.weight": draw(OUT, rank), "lora_down.weight": draw(rank, IN), "alpha": number(rank)}) for rank in (1, 2, 3, 4)
    ]
    loras[1] = read_layer({"lora_up.weight": draw(OUT, 4), "lora_down.weight": draw(4, IN), "alpha": number(2)}, dyn=3)
    ia3 = read_layer({"weight": draw(OUT), "on_input": torch.tensor(False)})
    changes = [(loras[0], 0.5), (loras[1], -0.7), (ia3, 1.0), (loras[2], 1.0), (loras[3], 0.3), (ia3, 0.2)]
    together, apart = weight.clone(), weight.clone()
    add_all(together, changes)
    for change, strength in changes:
        change.add_to(apart, strength)
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(apart, weight)


def test_plain_loras_in_a_row_are_one_multiplication(weight, lora, monkeypatch):
    monkeypatch.setattr(LayerChange, "add_to", None)
    result = weight.clone()
    add_all(result, [(read_layer(lora), 0.25)] * 4)
    np.testing.assert_allclose((result.double() - weight.double()).numpy(), matrix(lora), rtol=1e-5, atol=1e-5)


def test_nothing_is_plain_about_dora_and_dense_parts(lora):
    assert read_layer(lora).plain_lora
    assert not read_layer({**lora, "dora_scale": ones(1, IN)}).plain_lora
    assert not read_layer({**lora, "bias": ones(OUT, IN)}).plain_lora


def test_what_lycoris_calls_bias_is_scaled_with_the_change(weight, lora, draw):
    dense = draw(OUT, IN)
    change = read_layer({**lora, "alpha": number(5), "bias": dense})
    np.testing.assert_allclose(added(change, weight), (matrix(lora) + dense.double().numpy()) * 5 / RANK, rtol=1e-5, atol=1e-5)


def test_only_full_differences_and_norms_change_the_layers_bias(lora):
    bias = ones(OUT)
    assert read_layer({"diff": ones(OUT, IN), "diff_b": bias}).bias is bias
    assert read_layer({"w_norm": ones(OUT), "b_norm": bias}).bias is bias
    assert read_layer({**lora, "diff_b": bias}).bias is None


def test_a_half_precision_loha_leaves_a_half_precision_weight(weight, draw):
    """A1111 adds in the dtype of the change; with the weight kept wide, its reference picture is missed."""
    parts = {f"hada_w{n}_{x}": (draw(OUT, RANK) if x == "a" else draw(RANK, IN)).half() for n in "12" for x in "ab"}
    change = read_layer({**parts, "alpha": number(1.4)})
    a1, b1, a2, b2 = (parts[f"hada_w{n}_{x}"].float() for n in "12" for x in "ab")
    step = (a1 @ b1).half() * (a2 @ b2).half()
    step = step * (1.4 / RANK)
    step = step * 0.7
    result = weight.clone()
    change.add_to(result, 0.7)
    assert torch.equal(result, (weight.half() + step).float())


def test_a_half_precision_lora_leaves_the_weight_as_it_is(weight, lora):
    result = weight.clone()
    read_layer({name: tensor.half() for name, tensor in lora.items()}).add_to(result, 0.5)
    assert not torch.equal(result, result.half().float())


# --- DoRA


@pytest.fixture(params=[(OUT, IN), (OUT, IN, 3, 3)], ids=["linear", "convolution"])
def dora(request, draw):
    """A weight, a LoRA of it and its magnitudes, one an input."""
    shape = request.param
    lora = {"lora_up.weight": draw(OUT, RANK), "lora_down.weight": draw(RANK, *shape[1:]), "alpha": number(1)}
    return draw(*shape), lora, draw(1, IN, *(1 for _ in shape[2:])).abs()


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_dora_gives_the_sum_the_lengths_of_its_magnitudes_and_then_counts_by_strength(dora, strength):
    weight, lora, magnitudes = dora
    merged = (
        weight.double().numpy()
        + (lora["lora_up.weight"].double().numpy() @ lora["lora_down.weight"].double().numpy().reshape(RANK, -1)).reshape(weight.shape)
        / RANK
    )
    for column in range(IN):
        merged[:, column] *= float(magnitudes.flatten()[column]) / np.linalg.norm(merged[:, column])
    change = read_layer({**lora, "dora_scale": magnitudes})
    np.testing.assert_allclose(added(change, weight, strength), strength * (merged - weight.double().numpy()), rtol=1e-4, atol=1e-5)


def test_pefts_magnitudes_are_one_an_output(dora):
    weight, lora, _ = dora
    magnitudes = torch.arange(1.0, OUT + 1)
    result = weight.clone()
    read_layer({**lora, "lora_magnitude_vector": magnitudes}).add_to(result, 1.0)
    torch.testing.assert_close(result.flatten(1).norm(dim=1), magnitudes)


def test_dora_works_on_other_kinds_too(weight, draw):
    parts = {"lokr_w1": draw(3, 2), "lokr_w2": draw(2, 2), "dora_scale": draw(1, IN).abs()}
    result = weight.clone()
    read_layer(parts).add_to(result, 1.0)
    torch.testing.assert_close(result.norm(dim=0), parts["dora_scale"][0])


@pytest.mark.parametrize(("magnitudes", "by_row"), [((1, IN + 1), False), ((IN,), False), ((1, IN, 1, 1), False), ((IN,), True)])
def test_magnitudes_of_another_shape_do_not_fit(lora, magnitudes, by_row):
    change = LayerChange(LowRank(*lora.values(), RANK), 1.0, Dora(torch.ones(magnitudes), by_row))
    assert not change.fits((OUT, IN))
    assert LayerChange(change.kind, 1.0).fits((OUT, IN))
