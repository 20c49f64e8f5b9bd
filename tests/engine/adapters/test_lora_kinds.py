"""Each kind against the formula of its paper, written out in float64 with NumPy and loops."""

import numpy as np
import pytest
import torch

from webui.engine.adapters.lora_kinds import (
    Factors,
    Generalised,
    Hadamard,
    Kronecker,
    LowRank,
    LowRankConvolution,
    Plain,
    Product,
    Rotation,
    Whole,
)

OUT, IN, RANK = 12, 8, 4


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(5)
    return lambda *shape: torch.randn(shape, generator=generator)


def same(ours, theirs):
    np.testing.assert_allclose(ours.double().numpy(), theirs, rtol=1e-5, atol=1e-5)


def exact(tensor):
    return tensor.double().numpy()


@pytest.mark.parametrize(("up", "down", "weight"), [
    ((OUT, RANK), (RANK, IN), (OUT, IN)),
    ((OUT, RANK, 1, 1), (RANK, IN, 1, 1), (OUT, IN)),
    ((OUT, RANK, 1, 1), (RANK, IN, 3, 3), (OUT, IN, 3, 3)),
    ((OUT, RANK), (RANK, IN), (OUT, IN, 1, 1)),
])  # fmt: skip
def test_lora_is_up_times_down_for_linear_layers_and_convolutions(draw, up, down, weight):
    kind = LowRank(draw(*up), draw(*down), RANK)
    assert kind.fits(weight)
    matrix = exact(kind.up).reshape(OUT, RANK) @ exact(kind.down).reshape(RANK, -1)
    same(kind.change(torch.zeros(weight)), matrix)


def test_a_lora_may_be_cut_to_its_first_ranks(draw):
    kind = LowRank(draw(OUT, RANK), draw(RANK, IN), 2)
    same(kind.change(torch.zeros(OUT, IN)), exact(kind.up[:, :2]) @ exact(kind.down[:2]))
    assert not LowRank(kind.up, kind.down, 0).change(torch.zeros(OUT, IN)).any()


def test_a_convolutions_cp_form_is_a_small_convolution_between_two_matrices(draw):
    kind = LowRankConvolution(draw(OUT, RANK, 1, 1), draw(3, IN, 1, 1), draw(RANK, 3, 3, 3))
    assert kind.fits((OUT, IN, 3, 3))
    change = kind.change(torch.zeros(OUT, IN, 3, 3))
    for row in range(3):
        for column in range(3):
            middle = exact(kind.mid[:, :, row, column])
            same(change[:, :, row, column], exact(kind.up[:, :, 0, 0]) @ middle @ exact(kind.down[:, :, 0, 0]))


def tucker(product):
    """The Tucker form, number by number."""
    a, b, core = exact(product.a), exact(product.b), exact(product.core)
    made = np.zeros((a.shape[1], b.shape[1], *core.shape[2:]))
    for r in range(len(a)):
        for s in range(len(b)):
            made += np.multiply.outer(np.outer(a[r], b[s]), core[r, s])
    return made


def test_loha_is_the_product_of_two_low_rank_matrices_number_by_number(draw):
    first, second = (Product(draw(OUT, RANK), draw(RANK, IN * 9), None) for _ in range(2))
    kind = Hadamard(first, second)
    assert kind.fits((OUT, IN, 3, 3))
    same(kind.change(torch.zeros(OUT, IN, 3, 3)), (exact(first.a) @ exact(first.b)) * (exact(second.a) @ exact(second.b)))


def test_lohas_tucker_form_multiplies_two_tucker_products(draw):
    first, second = (Product(draw(RANK, OUT), draw(3, IN), draw(RANK, 3, 3, 3)) for _ in range(2))
    kind = Hadamard(first, second)
    assert kind.fits((OUT, IN, 3, 3))
    same(kind.change(torch.zeros(OUT, IN, 3, 3)), tucker(first) * tucker(second))


def kronecker(first, second):
    """NumPy's, for each place of a convolution apart."""
    if second.ndim == 2:
        return np.kron(first, second)
    height, width = second.shape[2:]
    return np.stack([np.stack([np.kron(first, second[:, :, y, x]) for x in range(width)], -1) for y in range(height)], -2)


@pytest.mark.parametrize("matrices", [
    lambda draw: (Plain(draw(3, 2)), Plain(draw(4, 4))),
    lambda draw: (Product(draw(3, 2), draw(2, 2), None), Plain(draw(4, 4))),
    lambda draw: (Plain(draw(3, 2)), Product(draw(4, 2), draw(2, 4), None)),
    lambda draw: (Plain(draw(3, 2)), Plain(draw(4, 4, 3, 3))),
    lambda draw: (Product(draw(3, 2), draw(2, 2), None), Product(draw(2, 4), draw(5, 4), draw(2, 5, 3, 3))),
])  # fmt: skip
def test_lokr_is_the_kronecker_product_whole_decomposed_and_in_tucker_form(draw, matrices):
    first, second = matrices(draw)

    def whole(matrix):
        if isinstance(matrix, Plain):
            return exact(matrix.whole)
        return tucker(matrix) if matrix.core is not None else exact(matrix.a) @ exact(matrix.b)

    expected = kronecker(whole(first), whole(second))
    assert expected.shape[:2] == (OUT, IN)
    kind = Kronecker(first, second)
    assert kind.fits(expected.shape)
    same(kind.change(torch.zeros(expected.shape)), expected)


@pytest.mark.parametrize("shape", [(OUT, IN), (OUT, IN, 3, 3)])
def test_ia3_adds_multiples_of_rows_or_of_columns(draw, shape):
    weight, rows, columns = draw(*shape), draw(OUT), draw(IN)
    by_row, by_column = Factors(rows, on_input=False), Factors(columns, on_input=True)
    assert by_row.fits(shape)
    assert by_column.fits(shape)
    same(by_row.change(weight), np.stack([exact(weight[o]) * float(rows[o]) for o in range(OUT)]))
    same(by_column.change(weight), np.stack([exact(weight[:, i]) * float(columns[i]) for i in range(IN)], 1))


def test_glora_adds_to_the_weight_and_multiplies_it(draw):
    weight = draw(OUT, IN)
    kind = Generalised(draw(RANK, IN), draw(IN, RANK), draw(3, IN), draw(OUT, 3))
    assert kind.fits((OUT, IN))
    assert kind.fits((OUT, IN, 1, 1))
    same(kind.change(weight), exact(kind.b2) @ exact(kind.b1) + exact(weight) @ exact(kind.a2) @ exact(kind.a1))


def test_a_whole_difference_is_itself(draw):
    difference = draw(OUT, IN)
    assert torch.equal(Whole(difference).change(torch.zeros(OUT, IN)), difference)


def cayley(block, factor=1.0):
    skew = (block - block.T) * factor
    return (np.eye(len(block)) + skew) @ np.linalg.inv(np.eye(len(block)) - skew)


@pytest.mark.parametrize("shape", [(OUT, IN), (OUT, IN, 3, 3)])
def test_oft_turns_blocks_of_rows_and_keeps_their_lengths(draw, shape):
    weight = draw(*shape)
    kind = Rotation(draw(3, 4, 4) * 0.3, is_rotation=False, limit=0.0, rescale=None)
    assert kind.fits(shape)
    turned = exact(kind.change(weight)).reshape(OUT, -1) + exact(weight).reshape(OUT, -1)
    for block in range(3):
        rows = slice(4 * block, 4 * block + 4)
        np.testing.assert_allclose(
            turned[rows], cayley(exact(kind.blocks[block])).T @ exact(weight).reshape(OUT, -1)[rows], rtol=1e-4, atol=1e-4
        )
        lengths = [np.linalg.norm(each[rows]) for each in (turned, exact(weight).reshape(OUT, -1))]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)


def test_constrained_oft_shortens_all_generators_together(draw):
    weight, blocks = draw(OUT, IN), draw(3, 4, 4)
    length = np.linalg.norm(exact(blocks - blocks.transpose(1, 2)))
    limited = Rotation(blocks, is_rotation=False, limit=0.5, rescale=None).change(weight)
    expected = np.concatenate(
        [cayley(exact(block), 0.5 / length).T @ exact(rows) for block, rows in zip(blocks, weight.split(4), strict=True)]
    )
    np.testing.assert_allclose(exact(limited + weight), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(
        Rotation(blocks, is_rotation=False, limit=float(length) * 1.01, rescale=None).change(weight),
        Rotation(blocks, is_rotation=False, limit=0.0, rescale=None).change(weight),
    )


def test_rotations_may_be_given_and_rescaled(draw):
    weight, rescale = draw(OUT, IN), draw(OUT, 1)
    turn = torch.linalg.qr(draw(3, 4, 4))[0]
    change = Rotation(turn, is_rotation=True, limit=0.0, rescale=rescale).change(weight)
    turned = torch.cat([one.T @ rows for one, rows in zip(turn, weight.split(4), strict=True)])
    same(change, exact(turned * rescale - weight))


def test_boft_turns_pairs_of_rows_that_lie_further_apart_from_level_to_level(draw):
    """Blocks of 2: level i pairs rows 2**i apart, as a fast Fourier transform does."""
    rows, levels = 8, 3
    weight = draw(rows, IN)
    blocks = draw(levels, rows // 2, 2, 2) * 0.3
    expected = exact(weight)
    for level in range(levels):
        distance = 2**level
        pairs = [(row, row + distance) for row in range(rows) if not row & distance]
        after = expected.copy()
        for block, pair in zip(blocks[level], sorted(pairs), strict=True):
            after[list(pair)] = cayley(exact(block)) @ expected[list(pair)]
        expected = after
    kind = Rotation(blocks, is_rotation=False, limit=0.0, rescale=None)
    assert kind.fits((rows, IN))
    np.testing.assert_allclose(exact(kind.change(weight) + weight), expected, rtol=1e-4, atol=1e-4)


WRONG = {
    "lora of another width": (lambda draw: LowRank(draw(OUT, RANK), draw(RANK, IN + 1), RANK), (OUT, IN)),
    "lora of another height": (lambda draw: LowRank(draw(OUT, RANK), draw(RANK, IN), RANK), (IN, OUT)),
    "lora whose matrices do not meet": (lambda draw: LowRank(draw(OUT, RANK), draw(RANK + 1, IN), RANK), (OUT, IN)),
    "cp of another kernel": (lambda draw: LowRankConvolution(draw(OUT, 2), draw(3, IN), draw(2, 3, 1, 1)), (OUT, IN, 3, 3)),
    "cp without a middle": (lambda draw: LowRankConvolution(draw(OUT, 2), draw(3, IN), draw(2, 3)), (OUT, IN, 3, 3)),
    "loha of two shapes": (lambda draw: Hadamard(*(Product(draw(OUT, 2), draw(2, width), None) for width in (IN, 3))), (OUT, IN)),
    "loha turned round": (lambda draw: Hadamard(*[Product(draw(IN, 2), draw(2, OUT), None)] * 2), (OUT, IN)),
    "loha that does not meet": (lambda draw: Hadamard(*[Product(draw(OUT, 2), draw(3, IN), None)] * 2), (OUT, IN)),
    "loha with a flat core": (lambda draw: Hadamard(*[Product(draw(2, OUT), draw(2, IN), draw(2, 2))] * 2), (OUT, IN)),
    "lokr of another size": (lambda draw: Kronecker(Plain(draw(3, 2)), Plain(draw(4, 5))), (OUT, IN)),
    "lokr of another height": (lambda draw: Kronecker(Plain(draw(2, 3)), Plain(draw(4, 4))), (OUT, IN)),
    "lokr of vectors": (lambda draw: Kronecker(Plain(draw(OUT)), Plain(draw(IN))), (OUT, IN)),
    "difference of another size": (lambda draw: Whole(draw(OUT, IN + 1)), (OUT, IN)),
    "ia3 of another width": (lambda draw: Factors(draw(OUT), on_input=True), (OUT, IN)),
    "ia3 of a norm": (lambda draw: Factors(draw(OUT), on_input=False), (OUT,)),
    "glora of another width": (lambda draw: Generalised(draw(2, IN), draw(IN, 2), draw(2, OUT), draw(OUT, 2)), (OUT, IN)),
    "glora whose matrices do not meet": (lambda draw: Generalised(draw(2, IN), draw(IN, 3), draw(2, IN), draw(OUT, 2)), (OUT, IN)),
    "oft of too few rows": (lambda draw: Rotation(draw(2, 4, 4), is_rotation=False, limit=0, rescale=None), (OUT, IN)),
    "oft whose blocks are not square": (lambda draw: Rotation(draw(3, 4, 5), is_rotation=False, limit=0, rescale=None), (OUT, IN)),
    "oft with another rescale": (lambda draw: Rotation(draw(3, 4, 4), is_rotation=False, limit=0, rescale=draw(3)), (OUT, IN)),
    "boft with more levels than rows": (lambda draw: Rotation(draw(4, 6, 2, 2), is_rotation=False, limit=0, rescale=None), (OUT, IN)),
    "boft of odd blocks": (lambda draw: Rotation(draw(1, 4, 3, 3), is_rotation=False, limit=0, rescale=None), (OUT, IN)),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_a_weight_says_so(draw, case):
    make, shape = WRONG[case]
    assert not make(draw).fits(shape)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("make", [
    lambda draw: Hadamard(*[Product(draw(OUT, 2), draw(2, IN), None)] * 2),
    lambda draw: Hadamard(*[Product(draw(2, OUT), draw(2, IN), draw(2, 2, 1, 1))] * 2),
    lambda draw: Kronecker(Plain(draw(3, 2)), Product(draw(4, 2), draw(2, 4), None)),
    lambda draw: Whole(draw(OUT, IN)),
    lambda draw: Generalised(draw(2, IN), draw(IN, 2), draw(2, IN), draw(OUT, 2)),
])  # fmt: skip
def test_every_kind_but_lora_is_computed_in_the_files_dtype(draw, make, dtype):
    change = make(lambda *shape: draw(*shape).to(dtype)).change(draw(OUT, IN))
    assert change.dtype == dtype


def test_lora_and_ia3_are_computed_in_the_weights_dtype(draw):
    weight = draw(OUT, IN)
    assert LowRank(draw(OUT, RANK).half(), draw(RANK, IN).half(), RANK).change(weight).dtype == torch.float32
    assert Factors(draw(OUT).half(), on_input=False).change(weight).dtype == torch.float32
