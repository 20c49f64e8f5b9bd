from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException

from webui.api.json_body import MAX_DEPTH, parse_json


def test_ordinary_json_is_read_unchanged() -> None:
    value = {"prompt": "ein Äpfel 🍎", "list": [1, 2.5, None, True, {"a": []}], "big": 2**63}
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": Infinity}', "[-Infinity]", "1e999", '{"a": [-1e999]}', "9" * 5000, "[" * 100_000, '{"a":' * 5000]
)
def test_numbers_without_end_and_deep_nesting_are_refused_with_400(text: str) -> None:
    with pytest.raises(HTTPException) as caught:
        parse_json(text.encode())
    assert caught.value.status_code == 400


def test_nesting_is_accepted_up_to_the_limit() -> None:
    parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(HTTPException, match="deeper"):
        parse_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(HTTPException, match="UTF-8"):
        parse_json(b'{"prompt": "\xff\xfe"}')


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert parse_json(b'{"a\\ud800": ["\\udfff", "\\ud83c\\udf4e"]}') == {"a?": ["?", "🍎"]}


def test_syntax_errors_are_left_to_the_validation() -> None:
    with pytest.raises(json.JSONDecodeError):
        parse_json(b"{nonsense")
