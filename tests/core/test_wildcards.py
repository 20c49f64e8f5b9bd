"""Templates are drawn as sd-dynamic-prompts draws them: the same for the same seed, and never without end."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webui.core.errors import InvalidRequest
from webui.core.wildcards import MAX_CHARACTERS, MAX_REMARKS, Wildcards, has_wildcards

LONG = 100_000
# Seconds of processor time. It takes less than one; quadratic time would take minutes, and machines of CI are slow.
FAR_BELOW_QUADRATIC = 10.0


@pytest.fixture
def wildcards(tmp_path: Path) -> Wildcards:
    root = tmp_path / "wildcards"
    for name, content in {
        "colour.txt": "red\nblue\n",
        "pale/colour.txt": "grey\n",
        "animals/pets.txt": "cat\ndog\n{big|small} horse\n__animals/wild__\n",
        "animals/wild.txt": "wolf\n",
        "weights.txt": "9::often\n1::rarely\n0::never\n",
        "very.txt": "very __very__\ngood\n",
        "loop.txt": "__loop__\n",
        "twice.txt": "__twice2__ __twice2__\n",
        "twice2.txt": "__twice__ __twice__\n",
        "long.txt": "x" * 60_000 + "\n",
        "odd name-2.txt": "odd\n",
        "empty.txt": "# nothing\n",
        "syntax.txt": "<lora:a:1> [a|b] (c:1.2)\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Wildcards(root)


def drawn(wildcards: Wildcards, template: str, seeds: int = 60) -> set[str]:
    return {wildcards.expand(template, seed).text for seed in range(seeds)}


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("{a|b|c}", {"a", "b", "c"}),
        ("x {a|} y", {"x a y", "x  y"}),
        ("{a|b}{c|d}", {"ac", "ad", "bc", "bd"}),
        ("{a|{b|{c|d} e}}", {"a", "b", "c e", "d e"}),
        ("__colour__", {"red", "blue"}),
        ("__pale/colour__ __colour__", {"grey red", "grey blue"}),
        ("__col*__", {"red", "blue"}),
        ("__*colour__", {"red", "blue", "grey"}),
        ("__pets__", {"cat", "dog", "big horse", "small horse", "wolf"}),
        ("__animals/*__", {"cat", "dog", "big horse", "small horse", "wolf"}),
        ("{__colour__|green}", {"red", "blue", "green"}),
        ("__odd name-2__", {"odd"}),
        ("___colour___", {"_red_", "_blue_"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b|c}", {f"{a} and {b}" for a in "abc" for b in "abc" if a != b}),
        ("{2$$$$a|b}", {"ab", "ba"}),
        ("{2$$a|}", {"a"}),
        ("{3$$a||b}", {"a, b", "b, a"}),
        ("{1-2$$; $$a|b}", {"a", "b", "a; b", "b; a"}),
        ("{2-1$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{1-$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{0-1$$a|b}", {"", "a", "b"}),
        ("{0$$a|b}", {""}),
        ("{9$$a|b}", {"a, b", "b, a"}),
        ("{2$$a}", {"a"}),
        ("{2$$__colour__}", {"red, blue", "blue, red"}),
        ("{2$$ & $$ __colour__ }", {"red & blue", "blue & red"}),
        ("{2$$__colour__|green}", {"red, green", "blue, green", "green, red", "green, blue"}),
        ("{5$$__colour__}", {"red, blue", "blue, red"}),
        ("{1::a|0::b}", {"a"}),
        ("{0::a|0::b}", {"a", "b"}),
        ("{2$$0::a|b|c}", {"b, c", "c, b"}),
        ("[{a|b}:__colour__:0.5]", {"[a:red:0.5]", "[a:blue:0.5]", "[b:red:0.5]", "[b:blue:0.5]"}),
        ("(cat:{1.1|1.2})", {"(cat:1.1)", "(cat:1.2)"}),
        ("{<lora:a:1>|[a|b]|(c:1.2)}", {"<lora:a:1>", "[a|b]", "(c:1.2)"}),
        ("{[a|b}", {"[a", "b"}),
        ("__syntax__", {"<lora:a:1> [a|b] (c:1.2)"}),
        (r"{a\|b|c\}}", {r"a\|b", r"c\}"}),
    ],
)
def test_templates_become_all_they_may_and_nothing_else(wildcards: Wildcards, template: str, texts: set[str]) -> None:
    assert has_wildcards(template)
    assert drawn(wildcards, template) == texts
    assert wildcards.expand(template, 1).remarks == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "a cat", "{a}", "{}", "{{a}}", "a {b", "a} {", "[a|b]", "a | b", "(a:1.2)", "<lora:a:1>", r"\{a|b\}", r"\{a|b}", "{a[|]}",
        r"\__colour__", "____", "__ a __", "__a\nb__", "__(a)__", "snake_case_name", "${x}", "$$", "{a$$b}", "\\", "{::}",
    ],
)  # fmt: skip
def test_what_is_no_template_stays_as_it_is(wildcards: Wildcards, text: str) -> None:
    assert not has_wildcards(text)
    expanded = wildcards.expand(text, 1)
    assert (expanded.text, expanded.remarks) == (text, ())


def test_a_part_that_is_no_template_stays_beside_one_that_is(wildcards: Wildcards) -> None:
    assert drawn(wildcards, r"{x} \{ {a|b} [c|d] {e") == {rf"{{x}} \{{ {each} [c|d] {{e" for each in "ab"}


def test_a_seed_draws_the_same_every_time_and_seeds_differ(wildcards: Wildcards) -> None:
    template = " ".join(["{a|b|c|d}", "__pets__", "{2$$a|b|c|d}"] * 10)
    first = [wildcards.expand(template, seed).text for seed in range(50)]
    assert first == [wildcards.expand(template, seed).text for seed in range(50)]
    assert len(set(first)) == 50


def test_a_drawing_is_what_it_was_in_earlier_versions(wildcards: Wildcards) -> None:
    drawings = [wildcards.expand("{a|b|c} __colour__ {2$$d|e|f}", seed).text for seed in (0, 1, 2**32 - 1)]
    assert drawings == ["c blue e, d", "a blue e, f", "b red e, f"]


def test_work_is_characters_read_and_options_weighed(wildcards: Wildcards) -> None:
    plain, template, file = (wildcards.expand(text, 1).work for text in ("x" * 10_000, "{a|" * 5000 + "b" + "}" * 5000, "__long__"))
    assert 10_000 <= plain < 20_000
    assert 20_000 <= template < 50_000
    assert 60_000 <= file < 70_000


def test_weights_say_how_often_an_option_is_drawn(wildcards: Wildcards) -> None:
    for template in ("__weights__", "{9::often|1::rarely|0::never}"):
        counts = Counter(wildcards.expand(template, seed).text for seed in range(2000))
        assert set(counts) == {"often", "rarely"}
        assert counts["often"] == pytest.approx(1800, abs=80)


def test_weights_hold_among_what_is_left_when_several_are_drawn(wildcards: Wildcards) -> None:
    counts = Counter(wildcards.expand("{2$$6::a|3::b|1::c}", seed).text for seed in range(4000))
    # 6/10 * 3/4, 6/10 * 1/4, 3/10 * 6/7, ...
    for text, share in {"a, b": 0.45, "a, c": 0.15, "b, a": 0.2571, "b, c": 0.0429, "c, a": 0.0667, "c, b": 0.0333}.items():
        assert counts[text] / 4000 == pytest.approx(share, abs=0.03)


def test_the_number_of_options_is_drawn_evenly(wildcards: Wildcards) -> None:
    counts = Counter(len(wildcards.expand("{1-3$$a|b|c}", seed).text.split(", ")) for seed in range(3000))
    assert [counts[number] for number in (1, 2, 3)] == pytest.approx([1000] * 3, abs=100)


@pytest.mark.parametrize("name", ["nobody", "../secret", "empty", "zz*", "sub/none"])
def test_an_unknown_name_stays_and_is_told_of(wildcards: Wildcards, name: str) -> None:
    expanded = wildcards.expand(f"a __{name}__ __{name}__ {{2$$__{name}__}}", 1)
    assert expanded.text == f"a __{name}__ __{name}__ __{name}__"
    assert expanded.remarks == (f"There is no wildcard {name!r} in wildcards/; it is drawn as text.",)


def test_a_file_that_cannot_be_read_is_told_of_where_a_name_is_unknown(wildcards: Wildcards, tmp_path: Path) -> None:
    (tmp_path / "wildcards" / "things.yaml").write_text("a: &a [*a]")
    assert wildcards.expand("__colour__", 1).remarks == ()
    assert len(wildcards.expand("__a__", 1).remarks) == 2
    assert "things.yaml" in wildcards.expand("__a__", 1).remarks[1]


def test_remarks_are_few(wildcards: Wildcards) -> None:
    assert len(wildcards.expand(" ".join(f"__no{number}__" for number in range(100)), 1).remarks) == MAX_REMARKS


@pytest.mark.parametrize("name", ["../secret", "../*", "animals/../../secret", "*secret*", "/{root}/secret"])
def test_no_name_leads_out_of_the_folder(wildcards: Wildcards, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("found out")
    template = f"__{name.format(root=tmp_path.as_posix())}__"
    assert wildcards.expand(template, 1).text == template


def test_files_may_name_themselves_and_end(wildcards: Wildcards) -> None:
    assert {"good", "very good", "very very good"} <= drawn(wildcards, "__very__")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("__loop__", "nested deeper than 50"),
        ("__twice__", "nested deeper than 50|too much work"),
        ("__long__ __long__", "more than 100,000 characters"),
        ("{2$$__long__|__long__}", "more than 100,000 characters"),
        ("{a|b}" + "x" * MAX_CHARACTERS, "more than 100,000 characters"),
    ],
)
def test_a_template_that_grows_too_far_is_refused(wildcards: Wildcards, template: str, says: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest, match=says):
        wildcards.expand(template, 1)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


def test_much_drawing_from_a_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text("\n".join(map(str, range(20_000))))
    wildcards = Wildcards(tmp_path)
    began = time.process_time()
    assert len(wildcards.expand("__large__ {3$$__large__}", 1).text.split()) == 4
    with pytest.raises(InvalidRequest, match="too much work"):
        wildcards.expand("{2$$__large__}" * 200, 1)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize(
    "unit",
    [
        "{", "}", "|", "{|", "{|}", "{a|b}", "_", "__", "___", "__a", "__a__", "__colour__", "{2$$", "{2$$a|b}", "{1::a|", "\\", "[", "[|",
        "{[|", "]}", "{[|]}", "1", "{ ", "{1", "$", "__" + "a" * 199, "__" + "a_" * 90 + "a__",
    ],
)  # fmt: skip
def test_a_hostile_template_is_read_in_linear_time(wildcards: Wildcards, unit: str) -> None:
    template = (unit * LONG)[:LONG]
    began = time.process_time()
    has_wildcards(template)
    try:
        wildcards.expand(template, 1)
    except InvalidRequest:
        pass
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize(
    ("opening", "middle", "closing", "text"),
    [("{", "a|a", "}", "{" * 29_999 + "a" + "}" * 29_999), ("{a|", "a", "}", "a"), ("{1$$", "a", "}", "a"), ("[", "{a|a}", "]", None)],
)
def test_braces_may_be_nested_however_deep(wildcards: Wildcards, opening: str, middle: str, closing: str, text: str | None) -> None:
    expected = text or "[" * 30_000 + "a" + "]" * 30_000
    assert wildcards.expand(opening * 30_000 + middle + closing * 30_000, 1).text == expected


PARTS = [*"ab{}|[]\\_$: ", "__", "__colour__", "__nobody__", "{a|b}", "{2$$", "2::", "$$", "__pets__"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(template=st.lists(st.sampled_from(PARTS), max_size=20).map("".join), seed=st.integers(-1, 2**64))
def test_any_template_is_drawn(wildcards: Wildcards, template: str, seed: int) -> None:
    expanded = wildcards.expand(template, seed)
    assert has_wildcards(template) or (expanded.text, expanded.remarks) == (template, ())
    assert wildcards.expand(template, seed) == expanded
    assert all("'nobody'" in remark for remark in expanded.remarks)
