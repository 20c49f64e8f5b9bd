"""Styles are put around prompts and found again as A1111 does it, and a file of styles loses nothing when it is saved."""

from __future__ import annotations

import csv
import io
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.core.errors import InvalidRequest, NotFound
from webui.core.styles import (
    MAX_BYTES,
    Style,
    StyleStore,
    apply_styles,
    extract_styles,
    read_styles,
    write_styles,
)

FAR_BELOW_QUADRATIC = 10.0
BOM = b"\xef\xbb\xbf"

PHOTO = Style("photo", "photo of {prompt}, 4k", "drawing")
LOUD = Style("loud", "LOUD")
GOOD = Style("good", "masterpiece", "bad, {prompt}")


@pytest.mark.parametrize(
    ("style", "prompt", "result"),
    [
        ("masterpiece", "cat", "cat, masterpiece"),
        ("photo of {prompt}, 4k", "cat", "photo of cat, 4k"),
        ("{prompt} and {prompt}", "cat", "cat and cat"),
        ("masterpiece", "", "masterpiece"),
        ("", " cat ", "cat"),
        (" a ", " cat ", "cat, a"),
        ("{prompt}", " cat ", " cat "),
    ],
)
def test_a_style_takes_the_prompt_in_or_follows_it(style: str, prompt: str, result: str) -> None:
    assert apply_styles(prompt, prompt, [Style("s", style)])[0] == result
    assert apply_styles(prompt, prompt, [Style("s", "", style)])[1] == result


def test_styles_are_applied_one_after_the_other() -> None:
    assert apply_styles("cat", "", [GOOD, PHOTO]) == ("photo of cat, masterpiece, 4k", "bad,, drawing")
    assert apply_styles("cat", "", [PHOTO, GOOD]) == ("photo of cat, 4k, masterpiece", "bad, drawing")


def test_styles_that_double_the_prompt_are_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(InvalidRequest, match="longer than 1,000,000"):
        apply_styles("cat", "", [Style("double", "{prompt}{prompt}")] * 100)


@pytest.mark.parametrize(
    ("content", "styles"),
    [
        (b"", []),
        (b"name,prompt,negative_prompt\n", []),
        (b"name,prompt,negative_prompt\r\na,b,c\r\n", [Style("a", "b", "c")]),
        (BOM + b"name,prompt,negative_prompt\na,b,c", [Style("a", "b", "c")]),
        (b"name,text\na,b\n", [Style("a", "b")]),
        (b"name,text,prompt\na,old,new\n", [Style("a", "new")]),
        (b"prompt,name\nb,a\n", [Style("a", "b")]),
        (b"name,prompt,negative_prompt\n# c,x,y\n\na\n,q,\n", [Style("a")]),
        (b'name,prompt\n"a ""b""","x,\ny"\n', [Style('a "b"', "x,\ny")]),
        (b'name, prompt\na, "b, c"\n', [Style("a", "b, c")]),
        (b"name,prompt\na,1\nb,2\na,3\n", [Style("a", "3"), Style("b", "2")]),
        (b'name,prompt\n=1+1,"@SUM(A1)"\n', [Style("=1+1", "@SUM(A1)")]),
        (b"name,prompt\na,x\0y\n", [Style("a", "xy")]),
        ("name,prompt\nÄ,猫\n".encode(), [Style("Ä", "猫")]),
        (b'name,prompt\na,"never closed\n', [Style("a", "never closed\n")]),
        (b"name,prompt\na,b,c,d,e\n", [Style("a", "b")]),
    ],
)
def test_files_of_styles_are_read(content: bytes, styles: list[Style]) -> None:
    assert read_styles(content) == tuple(styles)


@pytest.mark.parametrize(
    ("content", "says"), [(b"a,b\nc,d\n", "the columns 'a, b'"), (b"name,prompt\n\xff,x\n", "UTF-8"), (b"\x89PNG\r\n", "UTF-8")]
)
def test_a_file_that_is_none_of_styles_says_why(content: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read_styles(content)


ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TEXT = ANY | st.text(alphabet=' a,"\r\n=#', max_size=8)
NAME = TEXT.filter(lambda name: name and not name.startswith("#"))
STYLES = st.lists(st.builds(Style, NAME, TEXT, TEXT), unique_by=lambda style: style.name)


@given(STYLES)
def test_what_is_written_is_read_again_here_and_by_python(styles: list[Style]) -> None:
    content = write_styles(styles)
    assert read_styles(content) == tuple(styles)
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True))
    assert rows == [["name", "prompt", "negative_prompt"], *([style.name, style.prompt, style.negative_prompt] for style in styles)]


@given(st.lists(st.sampled_from(["a", ",", '"', '""', "\n", "\r\n", " ", '",', '\n"', "#"]), max_size=14).map("".join))
def test_any_text_is_read_as_python_reads_it(text: str) -> None:
    expected: dict[str, Style] = {}
    for row in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True):
        name, prompt = [*row, "", ""][:2]
        if name and not name.startswith("#"):
            expected[name] = Style(name, prompt)
    assert read_styles(b"name,prompt\n" + text.encode()) == tuple(expected.values())


@pytest.mark.parametrize("unit", ['"', '""', ",", "\n", " ", '" "', "a", '",', "a,b\n", '"a'])
def test_a_hostile_file_is_read_in_linear_time(unit: str) -> None:
    content = b"name,prompt\n" + (unit * 300_000)[:300_000].encode()
    began = time.process_time()
    read_styles(content)
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


@pytest.mark.parametrize(
    ("prompt", "negative", "result"),
    [
        ("cat, masterpiece", "bad, x", (("good",), "cat", "x")),
        ("photo of cat, 4k", "drawing", (("photo",), "cat", "")),
        ("photo of cat, masterpiece, 4k", "bad, x, drawing", (("good", "photo"), "cat", "x")),
        ("photo of cat, 4k, masterpiece", "bad, drawing", (("photo", "good"), "cat", "")),
        ("masterpiece", "bad, x", (("good",), "", "x")),
        ("cat, LOUD", "", (("loud",), "cat", "")),
        ("cat, Masterpiece", "bad, x", ((), "cat, Masterpiece", "bad, x")),
        ("cat, masterpiece", "fine", ((), "cat, masterpiece", "fine")),
        (" cat ", "", ((), "cat", "")),
        ("amasterpiece", "bad, x", ((), "amasterpiece", "bad, x")),
    ],
)
def test_styles_are_found_in_the_prompts_they_made(prompt: str, negative: str, result: tuple[tuple[str, ...], str, str]) -> None:
    assert extract_styles(prompt, negative, [GOOD, PHOTO, LOUD]) == result


def test_a_style_with_the_prompt_in_it_twice_is_found() -> None:
    twice = Style("twice", "{prompt} in front of {prompt}")
    assert extract_styles("a cat in front of a cat", "", [twice]) == (("twice",), "a cat", "")
    assert extract_styles("a cat in front of a dog", "", [twice]) == ((), "a cat in front of a dog", "")


@pytest.mark.parametrize("style", [Style("empty"), Style("same", "{prompt}"), Style("both", "{prompt}", "{prompt}")])
def test_a_style_that_changes_nothing_is_never_found(style: Style) -> None:
    assert extract_styles("a cat", "b", [style]) == ((), "a cat", "b")


WORDS = st.sampled_from(["cat", "a", "photo of {prompt}", "{prompt}, 4k", "x, {prompt}", "", "{prompt}{prompt}", " "])


@given(st.lists(st.tuples(WORDS, WORDS), max_size=4), WORDS, WORDS)
def test_applying_what_was_found_gives_the_prompts_again(texts: list[tuple[str, str]], prompt: str, negative: str) -> None:
    styles = [Style(str(number), *pair) for number, pair in enumerate(texts)]
    names, *prompts = extract_styles(prompt, negative, styles)
    known = {style.name: style for style in styles}
    applied = apply_styles(*prompts, [known[name] for name in names])
    assert [text.strip() for text in applied] == [prompt.strip(), negative.strip()]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two files: styles.csv with "a" and "both", more.csv with "b" and "both"."""
    first, second = tmp_path / "styles.csv", tmp_path / "more.csv"
    first.write_bytes(write_styles([Style("a", "1"), Style("both", "2")]))
    second.write_bytes(write_styles([Style("both", "3"), Style("b", "4")]))
    return first, second


def test_a_store_reads_all_files_and_knows_where_each_style_is_from(files: tuple[Path, Path]) -> None:
    store = StyleStore(files)
    assert store.styles() == (Style("a", "1"), Style("both", "3"), Style("b", "4"))
    assert [store.file_of(name) for name in ("a", "both", "b", "c")] == [files[0], files[1], files[1], None]
    assert [path for path, _ in store.files()] == list(files)
    assert store.problems() == ()


def test_files_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    store = StyleStore([tmp_path / "none.csv"])
    assert (store.styles(), store.problems()) == ((), ())
    store.save(Style("a", "b"))
    assert read_styles((tmp_path / "none.csv").read_bytes()) == (Style("a", "b"),)
    assert not (tmp_path / "none.csv.bak").exists()


def test_making_a_store_reads_nothing(tmp_path: Path) -> None:
    StyleStore([tmp_path])


def test_a_style_is_saved_where_it_is_from_and_the_old_file_stays_beside_it(files: tuple[Path, Path]) -> None:
    store, old = StyleStore(files), files[1].read_bytes()
    store.save(Style("b", "5", "6"))
    assert store.styles() == (Style("a", "1"), Style("both", "3"), Style("b", "5", "6"))
    assert read_styles(files[1].read_bytes()) == (Style("both", "3"), Style("b", "5", "6"))
    assert files[1].with_name("more.csv.bak").read_bytes() == old
    store.save(Style("new", "7"))
    assert store.file_of("new") == files[0]
    store.save(Style("newer", "8"), files[1])
    assert store.file_of("newer") == files[1]


def test_a_deleted_style_is_gone_from_the_file_it_was_from(files: tuple[Path, Path]) -> None:
    store = StyleStore(files)
    store.delete("both")
    assert store.styles() == (Style("a", "1"), Style("both", "2"), Style("b", "4"))
    with pytest.raises(NotFound, match="'nobody'"):
        store.delete("nobody")


def test_saving_keeps_comments_other_columns_and_the_order_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "styles.csv"
    path.write_bytes(b"name,text,colour\r\n# mine,,\r\na,1,red\r\nb,2,blue\r\na,3,green\r\n")
    store = StyleStore([path])
    store.save(Style("a", "x", "y"))
    assert path.read_bytes() == BOM + b"name,prompt,colour,negative_prompt\r\n# mine,,\r\nb,2,blue\r\na,x,green,y\r\n"
    store.delete("b")
    assert path.read_bytes() == BOM + b"name,prompt,colour,negative_prompt\r\n# mine,,\r\na,x,green,y\r\n"


@pytest.mark.parametrize("name", ["", " ", "#1"])
def test_a_name_that_would_not_be_read_again_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="as the name of a style"):
        StyleStore([tmp_path / "styles.csv"]).save(Style(name, "x"))


def test_a_path_that_is_none_of_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"other\.csv is none of the files"):
        StyleStore([tmp_path / "styles.csv"]).save(Style("a"), tmp_path / "other.csv")


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe", b"name,prompt\n" + b"a" * MAX_BYTES])
def test_an_unreadable_file_is_told_of_and_never_written_to(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "styles.csv"
    path.write_bytes(content)
    store = StyleStore([path])
    assert store.styles() == ()
    assert store.problems()[0].startswith("styles.csv: it ")
    with pytest.raises(InvalidRequest):
        store.save(Style("a", "b"))
    assert path.read_bytes() == content


def test_a_file_that_changed_is_read_again(files: tuple[Path, Path]) -> None:
    store = StyleStore(files)
    for number in range(20):
        files[0].write_bytes(write_styles([Style("a", f"{number:02}")]))
        assert store.styles()[0] == Style("a", f"{number:02}")


def test_styles_saved_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    store = StyleStore([tmp_path / "styles.csv"])
    threads = [threading.Thread(target=store.save, args=(Style(f"style {number}"),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {style.name for style in store.styles()} == {f"style {number}" for number in range(16)}
