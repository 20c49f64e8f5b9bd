"""Tags of extra networks are taken out as A1111 takes them out, and say when and how strongly a network acts."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.core.errors import InvalidRequest
from webui.core.extra_networks import (
    Curve,
    HypernetWish,
    LoraWish,
    NetworkTag,
    find_networks,
    networks_timeline,
    read_hypernet_tag,
    read_lora_tag,
    take_networks,
)

LONG = 100_000
# Seconds of processor time. It takes a tenth of one; quadratic time would take minutes, and machines of CI are slow.
FAR_BELOW_QUADRATIC = 10.0


def only_tag(prompt: str) -> NetworkTag:
    (tag,) = take_networks(prompt)[1]
    return tag


def always(weight: float) -> Curve:
    return Curve(((1.0, weight),))


def acting(prompt: str, steps: int, hires_steps: int | None = None, *, old: bool = False) -> list[tuple[int, str]]:
    _, segments = networks_timeline(prompt, steps, hires_steps=hires_steps, old=old)
    return [(segment.last_step, " ".join(tag.name for tag in segment.tags)) for segment in segments]


@pytest.mark.parametrize(
    ("prompt", "text", "tags"),
    [
        ("a cat <lora:x>, b", "a cat , b", [NetworkTag("lora", "x")]),
        ("<lora:x:0.5><hypernet:y:1>", "", [NetworkTag("lora", "x", ("0.5",)), NetworkTag("hypernet", "y", ("1",))]),
        ("<lora:x:te=0.5:unet=1>", "", [NetworkTag("lora", "x", (), (("te", "0.5"), ("unet", "1")))]),
        ("<lora:x:te=1:0.3:te=2>", "", [NetworkTag("lora", "x", ("0.3",), (("te", "2"),))]),
        ("<lora:x:a=b=c>", "", [NetworkTag("lora", "x", ("a=b=c",))]),
        ("<lora:te=1:x>", "", [NetworkTag("lora", "x", (), (("te", "1"),))]),
        ("<lora:te=1>", "", [NetworkTag("lora", "", (), (("te", "1"),))]),
        ("<unheard:of>", "", [NetworkTag("unheard", "of")]),
        ("<lora:a <b:c>", "", [NetworkTag("lora", "a <b", ("c",))]),
        ("<lora:a\n:1>", "", [NetworkTag("lora", "a\n", ("1",))]),
        ("<3 love>", "<3 love>", []),
        ("<lora:>", "<lora:>", []),
        ("<lora:><lora:a>", "<lora:>", [NetworkTag("lora", "a")]),
        ("<lora:x", "<lora:x", []),
        ("<a-b:c>", "<a-b:c>", []),
        ("<<lora:x>>", "<>", [NetworkTag("lora", "x")]),
        (r"\<lora:x\>", "\\", [NetworkTag("lora", "x\\")]),
    ],
)
def test_tags_are_taken_out_and_read(prompt: str, text: str, tags: list[NetworkTag]) -> None:
    assert take_networks(prompt) == (text, tuple(tags))


TAGGED = st.lists(st.sampled_from([*"a<>:=1 \n[]|", "<lora:", "<lora:a:1>", "AND", ":0.5]"]), max_size=14).map("".join)


@given(TAGGED)
def test_what_is_left_is_what_the_pattern_of_a1111_leaves(prompt: str) -> None:
    left = re.sub(r"<(\w+):([^>]+)>", "", prompt)
    assert take_networks(prompt)[0] == left
    assert networks_timeline(prompt, 5)[0] == left


@given(TAGGED)
def test_tags_stand_where_they_are_found(prompt: str) -> None:
    for start, end, tag in find_networks(prompt):
        assert prompt[start:end].startswith(f"<{tag.kind}:")
        assert prompt.index(">", start) == end - 1
        assert tag.name in prompt[start:end]


@given(TAGGED)
def test_tags_outside_brackets_always_act(prompt: str) -> None:
    plain = prompt.translate({ord(character): None for character in "[]|"})
    segments = networks_timeline(plain, 7)[1]
    assert [(segment.last_step, segment.tags) for segment in segments] == [(7, take_networks(plain)[1])]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [(6, "")]),
        ("a <lora:a:1> [b:c:0.5] <lora:b:1>", [(6, "a b")]),
        ("[<lora:a:1>:<lora:b:1>:0.5]", [(3, "a"), (6, "b")]),
        ("[cat <lora:a:1>:dog <lora:b:1>:2] <lora:c:1>", [(2, "a c"), (6, "b c")]),
        ("[<lora:a:1>:4]", [(4, ""), (6, "a")]),
        ("[<lora:a:1>::4]", [(4, "a"), (6, "")]),
        ("[[<lora:a:1>:2]:<lora:b:1>:4]", [(2, ""), (4, "a"), (6, "b")]),
        ("[<lora:a:1>|<lora:b:1>|]", [(1, "a"), (2, "b"), (3, ""), (4, "a"), (5, "b"), (6, "")]),
        ("[<lora:a:1>|<lora:a:1>]", [(6, "a")]),
        ("([x<lora:a:1>:2]:1.2)", [(2, ""), (6, "a")]),
        ("[<lora:a:1>:<lora:b:1>]", [(6, "a b")]),
        ("[<lora:a:1>:<lora:b:1>:0.5] |", [(6, "a b")]),
        ("| AND [<lora:a:1>:2] AND <lora:b:1>", [(2, "b"), (6, "a b")]),
        ("[a:b:<lora:a:1>2]", [(6, "a")]),
        ("[a:b:2<lora:a:1>]", [(6, "a")]),
        ("[a:<lora:a:1>b:2", [(6, "a")]),
        ("[<lora:a|b:1>:2]", [(2, ""), (6, "a|b")]),
        ("[<lora:a[b:1>:2]", [(2, ""), (6, "a[b")]),
        ("[:<lora:a:1>2]", [(6, "a")]),
        ("[<lora:a:1>:7]", [(6, "")]),
    ],
)
def test_tags_within_prompt_editing_act_in_its_steps(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert acting(prompt, 6) == expected


def test_hires_and_old_timelines_are_those_of_the_text() -> None:
    prompt = "[<lora:a:1>:<lora:b:1>:1.5]"
    assert acting(prompt, 6, 4) == [(2, "a"), (4, "b")]
    assert acting(prompt, 6, 4, old=True) == [(1, "a"), (6, "b")]
    assert acting("a", 6, 4) == [(4, "")]


@pytest.mark.parametrize(
    ("prompt", "wish"),
    [
        ("<lora:x>", LoraWish("x", always(1), always(1))),
        ("<lora:x:0.8>", LoraWish("x", always(0.8), always(0.8))),
        ("<lora:x:0.8:0.3>", LoraWish("x", always(0.8), always(0.3))),
        ("<lora:x:0.8:0.3:64>", LoraWish("x", always(0.8), always(0.3), 64)),
        ("<lora:x:0.8:te=-1>", LoraWish("x", always(-1), always(-1))),
        ("<lora:x:0.8:unet=0.1>", LoraWish("x", always(0.8), always(0.1))),
        ("<lora:x:unet=0.1:dyn=8>", LoraWish("x", always(1), always(0.1), 8)),
        ("<lora:x: 1 :dyn= 8 >", LoraWish("x", always(1), always(1), 8)),
        ("<lyco:x:2>", LoraWish("x", always(2), always(2))),
        ("<lora:x:0@0,1@0.5>", LoraWish("x", Curve(((0, 0), (0.5, 1))), Curve(((0, 0), (0.5, 1))))),
        ("<lora:x:1:1@1;0@.2>", LoraWish("x", always(1), Curve(((0.2, 0), (1, 1))))),
        ("<lora:x:te=1:unet=0@0,1>", LoraWish("x", always(1), Curve(((0, 0), (1, 1))))),
    ],
)
def test_lora_tags_are_read(prompt: str, wish: LoraWish) -> None:
    assert read_lora_tag(only_tag(prompt)) == wish


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("<lora:x:y>", "<lora:x:y>: got 'y' for te"),
        ("<lora:x:>", "got '' for te"),
        ("<lora:x:1:unet=z>", "got 'z' for unet"),
        ("<lora:x:nan>", "got 'nan' for te"),
        ("<lora:x:inf@0,1@1>", "got 'inf@0' for te"),
        ("<lora:x:0@0,1@5>", "got '1@5' for te"),
        ("<lora:x:0@0,1@-1>", "the part of the steps, 0 to 1"),
        ("<lora:x:0@nan>", "got '0@nan' for te"),
        ("<lora:x:0@>", "got '0@' for te"),
        ("<lora:x:0@0,>", "got '' for te"),
        ("<lora:x:1:1:1.5>", "got '1.5' for dyn"),
        ("<lora:te=1>", "it names no file"),
    ],
)
def test_a_lora_tag_that_cannot_be_followed_says_why(prompt: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        read_lora_tag(only_tag(prompt))


def test_hypernet_tags_are_read() -> None:
    assert read_hypernet_tag(only_tag("<hypernet:x>")) == HypernetWish("x", always(1))
    assert read_hypernet_tag(only_tag("<hypernet:x:0.5>")) == HypernetWish("x", always(0.5))
    with pytest.raises(InvalidRequest, match="got 'y' for strength"):
        read_hypernet_tag(only_tag("<hypernet:x:y>"))


@pytest.mark.parametrize(
    ("points", "values"),
    [
        ("0.5", {0: 0.5, 0.3: 0.5, 1: 0.5}),
        ("0@0,1@0.5", {0: 0, 0.25: 0.5, 0.5: 1, 0.75: 1, 1: 1}),
        ("0.25@0.5,1@1", {0: 0.25, 0.5: 0.25, 0.75: 0.625, 1: 1}),
        ("1@0.4,0@0.4", {0: 1, 0.39: 1, 0.4: 0, 1: 0}),
        ("0@0,1@0.5,0@1", {0: 0, 0.25: 0.5, 0.5: 1, 0.9: 0.2, 1: 0}),
        ("2@0,1@1,3@1", {0.5: 1.5, 1: 3}),
    ],
)
def test_a_curve_is_linear_between_its_points_and_constant_outside(points: str, values: dict[float, float]) -> None:
    curve = read_lora_tag(only_tag(f"<lora:x:{points}>")).te
    assert [curve.at(fraction) for fraction in values] == pytest.approx(list(values.values()))


@pytest.mark.parametrize("tag", ["<lora:x>", "<lora:x:0.5:1>", "<lora:x:0@0,1@1:te=1:unet=2>"])
def test_a_tag_is_written_as_it_is_read(tag: str) -> None:
    assert str(only_tag(tag)) == tag


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<a:",
        "<a:>",
        "<a:b>",
        "[<lora:a:1>|x] AND ",
        "[<a:b>|<c:d>|]",
        "<a:b>[",
        "[<a:b>:7]",
        "<" + "a" * 50,
        "<a:" + "b=" * 30,
        ":",
        "a",
    ],
)
def test_a_hostile_prompt_is_read_in_linear_time(unit: str) -> None:
    prompt = (unit * LONG)[:LONG]
    began = time.process_time()
    networks_timeline(prompt, 1000)
    for tag in take_networks(prompt)[1][:10]:
        str(tag)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize("unit", ["1", "1@1,", ",", "@", "1@1;", ":", "te=1:"])
def test_a_long_tag_is_read_in_linear_time(unit: str) -> None:
    tag = only_tag("<lora:x:" + (unit * LONG)[:LONG] + ">")
    began = time.process_time()
    try:
        read_lora_tag(tag)
    except InvalidRequest:
        pass
    assert time.process_time() - began < FAR_BELOW_QUADRATIC
