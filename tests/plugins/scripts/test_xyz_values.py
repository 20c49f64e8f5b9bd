"""Values of an axis as A1111's users write them."""

from __future__ import annotations

import pytest

from webui.core.errors import InvalidRequest
from webui.plugins.scripts.xyz_values import join_list, read_booleans, read_floats, read_integers, split_list


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2, 3", [1, 2, 3]), ("1-5", [1, 2, 3, 4, 5]), ("1-10 (+2)", [1, 3, 5, 7, 9]), ("10-5 (-3)", [10, 7]),
        ("1-10 [5]", [1, 3, 5, 7, 10]), ("-1", [-1]), ("-3 - -1", [-3, -2, -1]), ("7-7", [7]), ("1-2, 9", [1, 2, 9]), ("5[1]", None),
        ("1-3 [1]", [1]), ("10-1 [4]", [10, 7, 4, 1]), ("0-100 (+50)", [0, 50, 100]),
    ],
)  # fmt: skip
def test_whole_numbers_and_their_ranges(text: str, values: list[int] | None) -> None:
    if values is None:
        with pytest.raises(InvalidRequest, match="write whole numbers"):
            read_integers(split_list(text))
    else:
        assert list(read_integers(split_list(text))) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5, 7", [0.5, 7.0]), ("1-3", [1.0, 2.0, 3.0]), ("0-1 (+0.25)", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("1-3 [5]", [1.0, 1.5, 2.0, 2.5, 3.0]),
        ("0.1-0.4 (+0.1)", [0.1, 0.2, 0.3, 0.4]), ("1-0 (-0.5)", [1.0, 0.5, 0.0]), (".5-1.5", [0.5, 1.5]),
    ],
)  # fmt: skip
def test_numbers_and_their_ranges(text: str, values: list[float]) -> None:
    assert list(read_floats(split_list(text))) == values


@pytest.mark.parametrize(
    "text", ["a", "1-10 (0)", "10-1", "1-10 (-1)", "1-100000", "1-2 [0]", "1-2 [5000]", "1e999", "nan", ",".join(["1"] * 1001)]
)
def test_what_is_no_list_of_numbers_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_floats(split_list(text))


def test_commas_within_quotation_marks_belong_to_a_value() -> None:
    texts = split_list('red, "blue, and green",\n  last ,,')
    assert texts == ("red", "blue, and green", "last")
    assert split_list(join_list(texts)) == texts


def test_booleans_have_several_words() -> None:
    assert read_booleans(("True", "no", "1", "Off")) == (True, False, True, False)
    with pytest.raises(InvalidRequest, match="perhaps"):
        read_booleans(("perhaps",))
