"""Prompt editing and AND mean what A1111 1.10 takes them for: its own parser was run for the examples here."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.core.errors import InvalidRequest
from webui.core.prompt_schedule import Segment, SubPrompt, places_timeline, split_and, timeline

LONG = 100_000
# Seconds of processor time. It takes a tenth of one; quadratic time would take minutes, and machines of CI are slow.
FAR_BELOW_QUADRATIC = 10.0

Spans = list[tuple[int, str]]


def spans(prompt: str, steps: int, hires_steps: int | None = None, *, old: bool = False) -> Spans:
    return [(segment.last_step, segment.text) for segment in timeline(prompt, steps, hires_steps=hires_steps, old=old)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", [(20, "")]),
        ("a cat", [(20, "a cat")]),
        ("a [cat:dog:0.5]", [(10, "a cat"), (20, "a dog")]),
        ("a [cat:dog:5]", [(5, "a cat"), (20, "a dog")]),
        ("a [dog:0.25] x", [(5, "a  x"), (20, "a dog x")]),
        ("a [dog::5] x", [(5, "a dog x"), (20, "a  x")]),
        ("[a:[b:c:10]:5]", [(5, "a"), (10, "b"), (20, "c")]),
        ("[a:b:0]", [(20, "b")]),
        ("[a:b:-1]", [(20, "b")]),
        ("[a:b:0.01]", [(20, "b")]),
        ("[a:b:1]", [(1, "a"), (20, "b")]),
        ("[a:b:1.0]", [(20, "a")]),
        ("[a:b:30]", [(20, "a")]),
        ("[a : b : 0.5]", [(10, "a "), (20, " b ")]),
        ("[a:b:1e-1]", [(20, "b")]),
        ("[a:b]", [(20, "[a:b]")]),
        ("[a:b:x]", [(20, "[a:b:x]")]),
        ("[a:b:c:0.5]", [(20, "[a:b:c:0.5]")]),
        ("[a|b:0.5]", [(20, "[a|b:0.5]")]),
        ("((a]", [(20, "((a]")]),
        ("(a [b:c:0.5]:1.2)", [(10, "(a b:1.2)"), (20, "(a c:1.2)")]),
        (r"[a\:b:c:0.5]", [(10, r"a\:b"), (20, "c")]),
    ],
)
def test_editing_of_the_first_pass(prompt: str, expected: Spans) -> None:
    assert spans(prompt, 20) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[a|b]", ["a", "b", "a", "b", "a"]),
        ("[a|]", ["a", "", "a", "", "a"]),
        ("[a||b]", ["a", "", "b", "a", ""]),
        ("[fe|||]male", ["female", "male", "male", "male", "female"]),
        ("[a|(b:1.1)]", ["a", "(b:1.1)", "a", "(b:1.1)", "a"]),
        ("[a|a]", ["a", "a", "a", "a", "a"]),
        ("[[a|b]|c]", ["a", "c", "a", "c", "a"]),
    ],
)
def test_turns_have_a_segment_for_each_step(prompt: str, expected: list[str]) -> None:
    assert spans(prompt, 5) == list(enumerate(expected, start=1))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[a:b:0.5]", [(10, "b")]),
        ("[a:b:1.5]", [(5, "a"), (10, "b")]),
        ("[a:b:10]", [(10, "b")]),
        ("[a:b:25]", [(5, "a"), (10, "b")]),
        ("[a:b:30]", [(10, "a")]),
        ("[a:b:2.0]", [(10, "a")]),
    ],
)
def test_editing_of_the_hires_pass(prompt: str, expected: Spans) -> None:
    assert spans(prompt, 20, 10) == expected


def test_turns_of_the_hires_pass_begin_anew() -> None:
    assert spans("[a|b] [c:d:1.5]", 21, 4) == [(1, "a c"), (2, "b c"), (3, "a d"), (4, "b d")]


@pytest.mark.parametrize("hires_steps", [None, 10])
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[a:b:0.5]", [(10, "a"), (20, "b")]),
        ("[a:b:1.5]", [(1, "a"), (20, "b")]),
        ("[a:b:1.0]", [(1, "a"), (20, "b")]),
        ("[a:b:1e-1]", [(2, "a"), (20, "b")]),
        ("[a:b:25]", [(20, "a")]),
        ("[a:b:-1]", [(20, "b")]),
    ],
)
def test_old_timelines_tell_fractions_by_size_and_both_passes_are_alike(prompt: str, hires_steps: int | None, expected: Spans) -> None:
    assert spans(prompt, 20, hires_steps, old=True) == expected


# Found by comparing random prompts, where A1111's parser gives the same in every run. Of 4 steps.
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("([:1]e1b]", [(1, "(e1b]"), (4, "(e1b]")]),
        (r"[\\é:[::0.5]:2]", [(2, r"\\é"), (4, "")]),
        ("\n1b2(:[:1]--[a:b:1]", [(1, "\n1b2(:--a"), (4, "\n1b2(:--b")]),
        ("[[a:b:1]1.5(a:1)", [(1, "[a1.5(a:1)"), (4, "[b1.5(a:1)")]),
        ("2a)]([:1]", [(1, "2a)]("), (4, "2a)](")]),
        ("\n(a:1)[0.5[ [([a:b:1]", [(1, "\n(a:1)[0.5[ [(a"), (4, "\n(a:1)[0.5[ [(b")]),
        ("[a:b:1]e1]e1)", [(1, "ae1]e1)"), (4, "be1]e1)")]),
        ("x [a:b:1] [c", [(1, "x a [c"), (4, "x b [c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (4, "((a][:b:c d")]),
        ("a [{b{:.5] c", [(2, "a  c"), (4, "a {b{ c")]),
        ("a [[[b]]:2]", [(2, "a "), (4, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (4, "(a:2)")]),
        ("[a:[b|c]:0.5]", [(1, "a"), (2, "a"), (3, "b"), (4, "c")]),
        (r"[|\]|[\xa: :1.]]", [(1, ""), (2, r"\]"), (3, r"\xa"), (4, "")]),
        ("[a:b:1][a|b])[a|b])", [(1, "aa)a)"), (2, "bb)b)"), (3, "ba)a)"), (4, "bb)b)")]),
        (r"[\||\\|]", [(1, r"\|"), (2, r"\\"), (3, ""), (4, r"\|")]),
        ("[[|\n|([|\t])]]", [(1, "[]"), (2, "[\n]"), (3, "[()]"), (4, "[]")]),
        (r"[:\][[||b]]:0]", [(1, r"\][]"), (2, r"\][]"), (3, r"\][b]"), (4, r"\][]")]),
        ("[a|b][[a:b:1]", [(1, "a[a"), (2, "b[b"), (3, "a[b"), (4, "b[b")]),
        ("[:: 0.5 ]", [(2, ""), (4, "")]),
        ("[:]", [(4, "[:]")]),
        ("[a:0.5 0.6]", [(4, "[a:0.5 0.6]")]),
        ("[a:\u30000.5\n]", [(2, ""), (4, "a")]),
        ("[a:٣]", [(4, "[a:٣]")]),
        ("[a:+1]", [(1, ""), (4, "a")]),
        ("[a:1.5e0]", [(4, "")]),
        ("[a:1e]", [(4, "[a:1e]")]),
        ("[(a:b:c):d:0.5]", [(4, "[(a:b:c):d:0.5]")]),
        ("(a:[b:c:1]:d)", [(1, "(a:b:d)"), (4, "(a:c:d)")]),
        ("[a:([b:c:1):0.5]", [(4, "[a:([b:c:1):0.5]")]),
        ("a | [b:c:1]", [(4, "a | [b:c:1]")]),
        ("(a|b) [b:c:1]", [(4, "(a|b) [b:c:1]")]),
        (r"a \| [b:c:1]", [(1, r"a \| b"), (4, r"a \| c")]),
        ("[a|b", [(4, "[a|b")]),
        ("[b:c:1] [a|b", [(4, "[b:c:1] [a|b")]),
        ("[a) b:c:1]", [(4, "[a) b:c:1]")]),
        ("[a)|b]", [(4, "[a)|b]")]),
        ("(a] b:c) [d:e:2]", [(2, "(a] b:c) d"), (4, "(a] b:c) e")]),
        ("[b:c:1]\\", [(4, "[b:c:1]\\")]),
        ("\\\n[b:c:1]", [(4, "\\\n[b:c:1]")]),
        ("[a|1](\\\\\\\n1)", [(4, "[a|1](\\\\\\\n1)")]),
        ("[1 (: 3):0]", [(4, "1 (: 3)")]),
        ("([{:\\|a:-1]:30)", [(4, "(\\|a:30)")]),
        ("[a:a:2]", [(2, "a"), (4, "a")]),
    ],
)
def test_odd_prompts(prompt: str, expected: Spans) -> None:
    assert spans(prompt, 4) == expected


# A1111's parser takes these for either, by the hash seed of its process; here they are always edits.
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[a:b:1][c", [(1, "a[c"), (4, "b[c")]),
        ("[a:b:1]:", [(1, "a:"), (4, "b:")]),
        ("1[a:b:1][:1]:", [(1, "1a:"), (4, "1b:")]),
        ("(a:1)([a:b:1](0.5", [(1, "(a:1)(a(0.5"), (4, "(a:1)(b(0.5")]),
    ],
)
def test_an_edit_before_a_literal_bracket_or_colon_is_an_edit(prompt: str, expected: Spans) -> None:
    assert spans(prompt, 4) == expected


def test_numbers_beyond_all_bounds_are_numbers() -> None:
    assert spans("[a:b:1e999]", 4) == [(4, "a")]
    assert spans("[a:b:-1.0e999]", 4, 4) == [(4, "b")]


def well_formed(random: Random, level: int) -> tuple[str, list[str]]:
    """A prompt, and what it is in each of 6 steps."""
    prompts, steps = [], []
    for _ in range(random.randint(0, 3)):
        kind = random.choice(["text", "round", "weight", "square", "edit", "appear", "turn"]) if level else "text"
        if kind == "text":
            text = random.choice(["a", " b ", r"\:", "{", "0.5", "\n"])
            prompts.append(text)
            steps.append([text] * 6)
            continue
        children = [well_formed(random, level - 1) for _ in range(random.randint(2, 3))]
        (one, ones), (two, twos) = children[:2]
        last = random.randint(-1, 7)
        drawn = max(last, 0)
        prompt, texts = {
            "round": (f"({one})", [f"({each})" for each in ones]),
            "weight": (f"({one}:{two})", [f"({each}:{other})" for each, other in zip(ones, twos, strict=True)]),
            "square": (f"[{one}]", [f"[{each}]" for each in ones]),
            "edit": (f"[{one}:{two}: {last}]", [*ones[:drawn], *twos[drawn:]]),
            "appear": (f"[{one}:{(last + 0.5) / 6:.3f}]", [*[""] * min(drawn, 6), *ones[drawn:]]),
            "turn": (f"[{'|'.join(each for each, _ in children)}]", [children[step % len(children)][1][step] for step in range(6)]),
        }[kind]
        prompts.append(prompt)
        steps.append(texts)
    return "".join(prompts), ["".join(texts[step] for texts in steps) for step in range(6)]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_well_formed_prompt_is_in_each_step_what_its_parts_are(level: int) -> None:
    for seed in range(200):
        prompt, expected = well_formed(Random(seed), level)
        segments = timeline(prompt, 6)
        assert [next(segment.text for segment in segments if step <= segment.last_step) for step in range(1, 7)] == expected, prompt


PROMPTS = st.lists(st.sampled_from([*"ab ()[]:|\\", "0.5", "2", "[a:b:1]", "[a|b]", ":1]", "AND", "\n"]), max_size=12).map("".join)


@given(PROMPTS, st.integers(1, 9), st.none() | st.integers(1, 9), st.booleans())
def test_any_prompt_has_a_timeline_to_the_last_step(prompt: str, steps: int, hires_steps: int | None, old: bool) -> None:
    segments = timeline(prompt, steps, hires_steps=hires_steps, old=old)
    last_steps = [segment.last_step for segment in segments]
    assert last_steps == sorted(set(last_steps))
    assert last_steps[-1] == (steps if hires_steps is None or old else hires_steps)
    assert last_steps[0] >= 1


@given(st.text(max_size=40), st.integers(1, 9))
def test_text_without_brackets_bars_and_backslashes_is_itself(text: str, steps: int) -> None:
    plain = "".join(character for character in text if character not in "()[]|\\")
    assert timeline(plain, steps) == (Segment(steps, plain),)


@given(PROMPTS, st.data())
def test_a_place_is_there_when_a_letter_put_there_would_be_drawn(prompt: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(prompt)))
    marked = prompt[:place] + "§" + prompt[place:]
    without, texts = spans(prompt, 6), spans(marked, 6)
    found = places_timeline(prompt, (place,), 6)
    assert found[-1][0] == 6
    # A letter within a number, an escape or AND would change how the prompt is read.
    if [(step, text.replace("§", "")) for step, text in texts] == without and "AND" not in prompt:
        for step in range(1, 7):
            is_drawn = "§" in next(text for last, text in texts if step <= last)
            assert next(indices for last, indices in found if step <= last) == ((0,) if is_drawn else ())


def test_a_place_beside_the_number_of_an_edit_is_always_there() -> None:
    assert places_timeline("[a:b:0.5] ", (5, 6, 8), 4) == ((4, (0, 1, 2)),)
    assert places_timeline("[[a:b:0.5]:2]", (6, 9), 4) == ((2, ()), (4, (0, 1)))


def test_places_in_prompts_joined_by_and_are_read_apart() -> None:
    assert places_timeline("| AND [:2]", (0, 7, 10), 4) == ((2, (0, 2)), (4, (0, 1, 2)))
    assert places_timeline("[a:AND:2]", (1, 4, 9), 4) == ((4, (0, 1, 2)),)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat AND a dog", [("a cat", 1), (" a dog", 1)]),
        ("a cat :1.2 AND a dog :-0.5", [("a cat", 1.2), (" a dog", -0.5)]),
        ("a : 1. AND b", [("a", 1), (" b", 1)]),
        ("ANDROID", [("ANDROID", 1)]),
        ("a and b", [("a and b", 1)]),
        ("x AND", [("x", 1), ("", 1)]),
        ("", [("", 1)]),
        ("a:1:2", [("a:1", 2)]),
        ("a:.5\n", [("a", 0.5)]),
        ("a:+1", [("a", 1)]),
        ("a:1e3", [("a:1e3", 1)]),
        ("a:.", [("a:.", 1)]),
        ("(a:1.2)", [("(a:1.2)", 1)]),
        ("a\nb:2 AND\nAND c", [("a\nb", 2), ("", 1), (" c", 1)]),
        (" :3", [("", 3)]),
    ],
)
def test_and_joins_prompts_with_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert split_and(prompt) == tuple(SubPrompt(text, weight) for text, weight in parts)


@pytest.mark.parametrize(
    "unit",
    [
        "(", "[", ")", "]", ":", "|", "\\", "\\\\", " ", "0", "[a|b]", "[a:b:1]", "[a:", "[|", "[[a|b]|c]", "(:", "([)]", "[a:0.5]", "[:1",
        "a AND :1 ", "AND", "(a:b)", "[a:b:" + "1" * 90 + "x]", "[: ", ":1 ",
    ],
)  # fmt: skip
def test_a_hostile_prompt_is_read_in_linear_time(unit: str) -> None:
    prompt = (unit * LONG)[:LONG]
    began = time.process_time()
    timeline(prompt, 1000)
    split_and(prompt)
    places_timeline(prompt, range(0, LONG, 10), 1000)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize(
    ("opening", "middle", "closing", "segments"),
    [("[", "a|b", "]", 20), ("[a|", "b", "]", 20), ("[a:", "b", ":1]", 2), ("(", "[a:b:5]", ")", 2), ("[", "a:b", "]", 1)],
)
def test_brackets_may_be_nested_however_deep(opening: str, middle: str, closing: str, segments: int) -> None:
    assert len(timeline(opening * 30_000 + middle + closing * 30_000, 20)) == segments


def test_a_prompt_with_too_many_long_versions_is_refused() -> None:
    prompt = "".join(f"[a:b:{step}]" for step in range(1, 1000))
    assert len(timeline(prompt, 1000)) == 1000
    with pytest.raises(InvalidRequest, match=r"1,000 versions in 1,000 steps"):
        timeline(prompt + "a" * 10_000, 1000)


def test_equal_versions_are_one_text() -> None:
    segments = timeline("[a|b]" * 10_000 + "c", 1000)
    assert len({id(segment.text) for segment in segments}) == 2
