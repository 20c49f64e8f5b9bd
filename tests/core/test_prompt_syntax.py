"""Emphasis is read as A1111 reads it (its own parser was run for these examples), and no prompt takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.core.prompt_syntax import Break, Weighted, parse_emphasis, plain_prompt, without_comments

LONG = 100_000
# Seconds of processor time. It takes a tenth of one; quadratic time would take minutes, and machines of CI are slow.
FAR_BELOW_QUADRATIC = 10.0


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a (b) c", [("a ", 1), ("b", 1.1), (" c", 1)]),
        ("((b))", [("b", 1.21)]),
        ("[b]", [("b", 0.909091)]),
        ("[[b]]", [("b", 0.826446)]),
        ("(b:1.3)", [("b", 1.3)]),
        ("(b: 1.5 )", [("b", 1.5)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(b:-0.5)", [("b", -0.5)]),
        ("(b:+1.5)", [("b", 1.5)]),
        ("((b:1.3))", [("b", 1.43)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        ("(b:1.2", [("b:1.2", 1.1)]),
        ("(a [b", [("a ", 1.1), ("b", 1.0)]),
        ("b)", [("b)", 1)]),
        ("b]", [("b]", 1)]),
        ("(b:)", [("b:", 1.1)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        ("[b:1.2]", [("b:1.2", 0.909091)]),
        (r"\(x\)", [("(x)", 1)]),
        (r"\[x\]", [("[x]", 1)]),
        (r"a\\b", [(r"a\b", 1)]),
        (r"(a\):1.3)", [("a)", 1.3)]),
        ("{a}", [("{a}", 1)]),
        ("ABREAKB", [("ABREAKB", 1)]),
        ("", [("", 1)]),
    ],
)
def test_emphasis(prompt: str, parts: list[tuple[str, float]]) -> None:
    read = parse_emphasis(prompt)
    assert all(isinstance(part, Weighted) for part in read)
    assert [part.text for part in read] == [text for text, _ in parts]
    assert [part.weight for part in read] == pytest.approx([weight for _, weight in parts], rel=1e-5)


@pytest.mark.parametrize("prompt", ["a BREAK b", "a  BREAK   b", "a\nBREAK\n\nb"])
def test_break_is_a_part_of_its_own_and_takes_the_space_around_it(prompt: str) -> None:
    assert parse_emphasis(prompt) == [Weighted("a"), Break(), Weighted("b")]


@pytest.mark.parametrize(
    ("prompt", "weight"), [("(a BREAK b:1.2)", 1.2), ("[a BREAK b]", 1 / 1.1), ("(a BREAK b)", 1.1), ("(a\nBREAK b", 1.1)]
)
def test_break_inside_brackets_is_a_word_of_negative_weight(prompt: str, weight: float) -> None:
    assert parse_emphasis(prompt) == [Weighted("a", weight), Weighted("BREAK", -weight), Weighted("b", weight)]


def test_break_inside_brackets_of_weight_one_is_a_break() -> None:
    assert parse_emphasis("(a BREAK b:1)") == [Weighted("a"), Break(), Weighted("b")]
    assert parse_emphasis("([a BREAK b])") == [Weighted("a"), Break(), Weighted("b")]


def test_break_is_a_word_of_its_own_stretch_of_text() -> None:
    assert parse_emphasis(r"x\(BREAK") == [Weighted("x("), Break()]
    assert parse_emphasis(r"A\BREAK") == [Weighted("A"), Break()]
    assert parse_emphasis("(x:-1)BREAK") == [Weighted("x", -1.0), Break()]


def test_break_without_weight_is_joined_with_its_neighbours() -> None:
    assert parse_emphasis("(a BREAK b:0)") == [Weighted("aBREAKb", 0.0)]


def test_several_breaks_and_breaks_at_the_ends_are_all_kept() -> None:
    assert parse_emphasis("BREAK a BREAK BREAK") == [Break(), Weighted("a"), Break(), Break()]


@pytest.mark.parametrize("weight", ["1.1.1", "x", ".", "-", "1-", "1e1", ""])
def test_a_weight_that_is_no_number_is_text(weight: str) -> None:
    assert parse_emphasis(f"(b:{weight})") == [Weighted(f"b:{weight}", pytest.approx(1.1))]


def test_round_and_square_brackets_are_matched_apart() -> None:
    assert parse_emphasis("(a [b) c] d") == [
        Weighted("a ", pytest.approx(1.1)),
        Weighted("b", pytest.approx(1.0)),
        Weighted(" c", pytest.approx(1 / 1.1)),
        Weighted(" d"),
    ]


def test_neighbours_of_equal_weight_are_one_part() -> None:
    assert parse_emphasis("(a)(b)") == [Weighted("ab", pytest.approx(1.1))]
    assert parse_emphasis("(a:1)b") == [Weighted("ab")]


def test_a_stray_backslash_is_nothing_but_keeps_its_neighbours_apart() -> None:
    assert parse_emphasis(r"(b\a)") == [Weighted("ba", pytest.approx(1.1))]
    assert parse_emphasis(r"a(\:0.5)b") == [Weighted("a"), Weighted("b")]


# Executed by A1111: the last bit counts, because it decides which neighbours are joined.
@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("(((b:1.3)))", [("b", 1.5730000000000004)]),
        ("([b])c", [("bc", 1.0)]),
        ("[(b:0.7)](c)", [("b", 0.6363636363636364), ("c", 1.1)]),
        ("([(b:1.3)]:0.7)", [("b", 0.8272727272727273)]),
        ("[((b:1.3)]:0.7)", [("b", 0.8272727272727273)]),
        ("(([b:1.3) c", [("b", 1.3), (" c", 1.0)]),
    ],
)
def test_weights_are_multiplied_innermost_first(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert parse_emphasis(prompt) == [Weighted(text, weight) for text, weight in parts]


@pytest.mark.parametrize("depth", [16, 17, 40])
def test_deep_brackets_are_multiplied_too(depth: int) -> None:
    (part,) = parse_emphasis("(" * (depth - 1) + "(b:0.5)" + ")" * (depth - 1))
    assert part == Weighted("b", pytest.approx(0.5 * 1.1 ** (depth - 1)))


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("a # c\nb", "a \nb"),
        ("# x\na", "\na"),
        ("a\n# x\nb", "a\nb"),
        ("a#b", "a\n"),
        ("a\n#x\n#y\nb", "a\n\nb"),
        ("a\n#x", "a\n"),
        ("#", "\n"),
        ("a ## b # c\n\n#\nd", "a \n\nd"),
        (r"a \# b", "a \\\n"),
        ("a\r\n# x\r\nb", "a\r\nb"),
        ("a, b", "a, b"),
        ("", ""),
    ],
)
def test_comments_go_as_they_go_in_a1111(prompt: str, left: str) -> None:
    assert without_comments(prompt) == left


def test_without_syntax_the_prompt_is_one_part_as_it_stands() -> None:
    assert plain_prompt("(a:2) BREAK [b]") == [Weighted("(a:2) BREAK [b]")]


@given(st.text(alphabet="ab ()[]\\:.1-+BREAK\n", max_size=60))
def test_any_prompt_can_be_read_and_loses_only_syntax(prompt: str) -> None:
    parts = parse_emphasis(prompt)
    assert parts
    kept = [character for part in parts if isinstance(part, Weighted) for character in part.text if character.isalpha()]
    breaks = 5 * sum(isinstance(part, Break) for part in parts)
    assert len(kept) + breaks == sum(character.isalpha() for character in prompt)


@given(st.text(max_size=40))
def test_text_without_brackets_backslashes_and_breaks_is_itself(text: str) -> None:
    plain = "".join(character for character in text if character not in "()[]\\")
    if "BREAK" not in plain:
        assert parse_emphasis(plain) == [Weighted(plain)]


@pytest.mark.parametrize(
    "unit",
    [
        "(", "[", ")", "]", "\\", ":", "()", "([", "(a:1", "(a:1)", ":1", ": ", ":1.", ":1 ", "(:", "a BREAK ", "BREAK", "((a:1.1)",
        "(a[b)c]", " ", "1", "\n", "#", "\n#", "a:", "(" * 16 + ":a" * 99,
    ],
)  # fmt: skip
def test_a_hostile_prompt_is_read_in_linear_time(unit: str) -> None:
    began = time.process_time()
    parse_emphasis((unit * LONG)[:LONG])
    without_comments((unit * LONG)[:LONG])
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize("end", ["", ")", "1)", "x)"])
@pytest.mark.parametrize("run", [" ", "1", "1.", "\t"])
def test_a_weight_that_never_ends_is_read_in_linear_time(run: str, end: str) -> None:
    began = time.process_time()
    parse_emphasis("(a:" + (run * LONG)[:LONG] + end)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC
