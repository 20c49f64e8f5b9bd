"""What is malformed in a prompt is marked where it is, and what is not is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webui.core.prompt_problems import MAX_PROBLEMS, problems
from webui.core.prompt_schedule import Segment, timeline

LONG = 100_000
# Seconds of processor time. It takes half a second; quadratic time would take minutes, and machines of CI are slow.
FAR_BELOW_QUADRATIC = 10.0


def marked(prompt: str) -> list[tuple[str, str]]:
    """What is marked, and the message."""
    return [(prompt[problem.start : problem.end], problem.message) for problem in problems(prompt)]


@pytest.mark.parametrize(
    ("prompt", "text", "message"),
    [
        ("a (b c", "(", "This '(' is not closed, so all that follows counts 1.1 times."),
        ("a [b c", "[", "This '[' is not closed, so all that follows counts 0.91 times."),
        ("a b) c", ")", "This ')' closes nothing, so it is drawn as text."),
        ("a b] c", "]", "This ']' closes nothing, so it is drawn as text."),
        ("(a [b) c]", "(a [b)", "A bracket of the other kind crosses these; both are weights, but prompt editing here is drawn as text."),
        ("(b:x)", ":x", "'x' is no weight like 1.2, so it is drawn as text; the words here count 1.1 times."),
        ("(b:1.1.1)", ":1.1.1", "'1.1.1' is no weight like 1.2"),
        ("(b: 1,5)", ": 1,5", "' 1,5' is no weight like 1.2"),
        ("(b:)", ":", "'' is no weight like 1.2"),
        ("[a:b]", "[a:b]", "The last part of this is no step like 10 and no part of the steps like 0.5, so it is drawn as text."),
        ("[a:b:x]", "[a:b:x]", "The last part of this is no step"),
        ("[a:b:1 2]", "[a:b:1 2]", "The last part of this is no step"),
        ("[a:b:c:0.5]", "[a:b:c:0.5]", "This has more than two ':', so it is drawn as text."),
        ("[a|b:0.5]", "[a|b:0.5]", "This has both ':' and '|', so it is drawn as text."),
        ("[(a:b:1.2):c:0.5]", "[(a:b:1.2):c:0.5]", "There is something malformed within this, so it is drawn as text."),
        ("[(a|b)|c]", "[(a|b)|c]", "There is something malformed within this"),
        ("a | b [c:d:0.5]", "|", "This '|' is in no [a|b], so all [a:b:n] and [a|b] of the prompt are drawn as text."),
        ("(a|b) [c|d]", "|", "This '|' is in no [a|b]"),
        ("[c:d:0.5] \\", "\\", "This '\\' ends a line, so all [a:b:n] and [a|b] of the prompt are drawn as text."),
        ("a \\\n [c:d:0.5]", "\\", "This '\\' ends a line"),
        ("a <lora:b:1", "<lora:", "This network has no '>', so it is drawn as text."),
        ("a <lora:b:1 <lora:c:1>", "<lora:b:1 <lora:c:1>", "There is a '<' within this network, which is taken to reach to the '>'"),
        ("<lora:b:x>", "<lora:b:x>", "This network is left out: <lora:b:x>: got 'x' for te"),
        ("<hypernet:b:x>", "<hypernet:b:x>", "This network is left out: <hypernet:b:x>: got 'x' for strength"),
        ("a {b|c", "{", "This '{' has no '}', so it is drawn as text."),
        ("{a {b|c}", "{", "This '{' has no '}'"),
        ("a AND (b", "(", "This '(' is not closed"),
        ("a (b AND c", "(", "This '(' is not closed"),
    ],
)
def test_what_is_malformed_is_marked(prompt: str, text: str, message: str) -> None:
    ((found, says),) = marked(prompt)
    assert found == text
    assert says.startswith(message)
    assert says.count(". ") == 0


@pytest.mark.parametrize(
    "prompt",
    [
        "", "a cat", "(a:1.2) [b] ((c)) [[d]]", "(a:.5) (b:-1) (c: 1. )", "(in 16:9 format)", "(a (b:1.2))", "(a:(b:1.2))", "a: b", "a | b",
        "a | b AND [c:d:0.5]", "[a:b:0.5] [a:5] [a::5] [a|b] [a|]", "[a:[b:c:10]:5]", "(a [b:c:0.5]:1.2)", r"\( \[ \) \] \{ \|", "a\\ b",
        "<lora:a:1> <lora:a:0@0,1@1> <hypernet:b:1> <other:x", "[<lora:a:1>:<lora:b:1>:0.5]", "[<lora:a|b:1>:0.5]", "<3", "<lora:a(:1>",
        "{a|b} [c:d:0.5]", "{2$$, $$a|2::b|[c:d:2]}", "(a:{1.1|1.2})", "[a:b:{0.3|0.5}]",
        "[{2$$: $$a|b}:0.5]", "[({2$$3::a|b}:1.2):0.5]", "[a:b:__step__]", "(a:__weight__)", "{[a|b]|c}",
        "# ( [ { <lora:\na", "a # :)", "{a} {}", "a:b:c", "[a:b:0.5<lora:x:1>]", "}",
    ],
)  # fmt: skip
def test_what_is_not_is_left_alone(prompt: str) -> None:
    assert marked(prompt) == []


def test_a_turn_that_is_not_closed_makes_all_editing_text() -> None:
    (unclosed, _), (bar, message) = marked("[c:d:1] [a|b")
    assert (unclosed, bar) == ("[", "|")
    assert message.startswith("This '|' is in no [a|b]")


def test_an_edit_around_crossing_brackets_is_text() -> None:
    assert [text for text, _ in marked("[(a [b) c:d:0.5]")] == ["[", "[(a [b) c:d:0.5]", "(a [b)"]


def test_problems_come_in_order_with_their_places() -> None:
    prompt = "a) (b:x) <lora:c:y> {d [e:f]"
    found = problems(prompt)
    assert [prompt[problem.start : problem.end] for problem in found] == [")", ":x", "<lora:c:y>", "{", "[e:f]"]
    assert [problem.start for problem in found] == [1, 5, 9, 20, 23]


PIECES = st.sampled_from(["a", " ", r"\(", "0.5", "é", "<lora:a:1>", "__x__"])
WELL_FORMED = st.recursive(
    PIECES,
    lambda inner: st.one_of(
        st.builds("({})".format, inner),
        st.builds("({}:1.2)".format, inner),
        st.builds("[{}]".format, inner),
        st.builds("[{}:{}: 0.5]".format, inner, inner),
        st.builds("[{}:7]".format, inner),
        st.builds("[{}|{}]".format, inner, inner),
        st.builds("{{{}|2::{}}}".format, inner, inner),
        st.builds("{} {}".format, inner, inner),
    ),
    max_leaves=8,
)


@given(WELL_FORMED)
def test_a_well_formed_prompt_has_no_problems(prompt: str) -> None:
    assert marked(prompt) == []


@given(WELL_FORMED, st.randoms(use_true_random=False))
def test_without_one_of_its_brackets_it_has(prompt: str, random: object) -> None:
    places = [place for place, character in enumerate(prompt) if character in "()[]" and prompt[place - 1 : place] != "\\"]
    assume(places)
    place = random.choice(places)  # type: ignore[attr-defined]
    assert problems(prompt[:place] + prompt[place + 1 :])


ANY = st.lists(st.sampled_from([*"ab ()[]:|\\{}<>\n#", "0.5", "[a:b:1]", "[a|b]", ":1]", "<lora:", "AND", "$$"]), max_size=14).map("".join)


@given(ANY)
def test_any_prompt_is_looked_through(prompt: str) -> None:
    found = problems(prompt)
    assert all(0 <= problem.start < problem.end <= len(prompt) for problem in found)
    assert sorted(found, key=lambda problem: (problem.start, problem.end)) == list(found)


@given(ANY)
def test_where_all_editing_is_said_to_be_text_it_is(prompt: str) -> None:
    plain = prompt.translate({ord(character): None for character in "{}<>#"}).replace("AND", "")
    if any("of the prompt are drawn as text" in problem.message for problem in problems(plain)):
        assert timeline(plain, 20) == (Segment(20, plain),)


def test_problems_are_few() -> None:
    assert len(problems("(" * 1000)) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "[",
        ")",
        "[:",
        "(:",
        "{",
        "{|",
        "<lora:",
        "<lora:x:y>",
        "|",
        "[|",
        "\\",
        "#",
        "([)]",
        "([",
        "{2$$",
        "AND ",
        "[a|b]|",
        "{[|",
        "<",
    ],
)
def test_a_hostile_prompt_is_looked_through_in_linear_time(unit: str) -> None:
    began = time.process_time()
    problems((unit * LONG)[:LONG])
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize("closing", ["]", ":x]", ":1]", "|a]", ")", ":1)"])
@pytest.mark.parametrize("opening", ["[", "[a:", "(", "(a:", "[("])
def test_deep_brackets_are_looked_through_in_linear_time(opening: str, closing: str) -> None:
    began = time.process_time()
    problems(opening * 10_000 + "a" + closing * 10_000)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC
