"""Option files are read as sd-dynamic-prompts reads them, and no file of a stranger does harm."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from webui.core.wildcard_files import MAX_BYTES, Options, WildcardFolder, split_weight

FAR_BELOW_QUADRATIC = 10.0


def folder(root: Path, **files: str) -> WildcardFolder:
    """Files by name, "animals__pets_txt" for animals/pets.txt."""
    for name, content in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = root / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return WildcardFolder(root)


def test_a_text_file_has_an_option_a_line(tmp_path: Path) -> None:
    files = folder(tmp_path, colour_txt="# colours\nred\n\n  blue \r\n2::dark green\n #no\n0.5::{a|b}\nred\n3::red\n")
    assert files.find("colour") == Options(("red", "blue", "dark green", "{a|b}"), (1.0, 1.0, 2.0, 0.5))
    assert files.names() == ("colour",)


@pytest.mark.parametrize(
    ("option", "result"),
    [
        ("red", ("red", 1.0)),
        ("2::red", ("red", 2.0)),
        (" .5::red", ("red", 0.5)),
        ("3.::", ("", 3.0)),
        ("0::red", ("red", 0.0)),
        ("x::red", ("x::red", 1.0)),
        ("-1::red", ("-1::red", 1.0)),
        ("1:red", ("1:red", 1.0)),
        ("[a::5]", ("[a::5]", 1.0)),
        ("9" * 400 + "::red", ("9" * 400 + "::red", 1.0)),
    ],
)
def test_an_option_may_begin_with_its_weight(option: str, result: tuple[str, float]) -> None:
    assert split_weight(option) == result


YAML = """
clothes:
  warm: [coat, 2::scarf, {text: hat, weight: 3}, {content: cap}, 5, yes, null, "", ~, [nested]]
  cold:
    - |
      many
      lines
  none:
  number: 7
1234: 5678
list: ["1"]
"""
JSON = """{"clothes": {"warm": ["coat", "2::scarf", {"text": "hat", "weight": 3}, {"content": "cap"}, 5, true, null, "", ["nested"]],
"cold": ["many\\nlines"], "none": null, "number": 7}, "1234": 5678, "list": ["1"]}"""


@pytest.mark.parametrize(("suffix", "content", "yes"), [("yaml", YAML, ("yes",)), ("yml", YAML, ("yes",)), ("json", JSON, ())])
def test_a_tree_of_lists_is_named_by_its_keys(tmp_path: Path, suffix: str, content: str, yes: tuple[str, ...]) -> None:
    files = folder(tmp_path, **{f"things_{suffix}": content})
    assert files.names() == ("clothes/cold", "clothes/warm", "list")
    assert files.find("clothes/warm") == Options(("coat", "scarf", "hat", "cap", "5", *yes), (1, 2, 3, 1, 1, *(1 for _ in yes)))
    assert files.find("clothes/cold").texts == ("many\nlines",)
    assert files.damage() == ()


@pytest.mark.parametrize(("suffix", "content"), [("yaml", "- a\n- b\n"), ("json", '["a", "b"]')])
def test_a_list_is_named_like_its_file(tmp_path: Path, suffix: str, content: str) -> None:
    assert folder(tmp_path, **{f"sub__pets_{suffix}": content}).find("sub/pets").texts == ("a", "b")


def test_a_tree_in_a_subfolder_is_named_with_the_folder(tmp_path: Path) -> None:
    assert folder(tmp_path, sub__things_yaml="a: {b: [c]}").names() == ("sub/a/b",)


def test_files_of_one_name_are_one(tmp_path: Path) -> None:
    files = folder(tmp_path, pets_txt="cat\ndog", pets_yaml="[dog, cow]", all_json='{"pets": ["pig"]}')
    assert sorted(files.find("pets").texts) == ["cat", "cow", "dog", "pig"]


def test_a_pattern_finds_several_names(tmp_path: Path) -> None:
    files = folder(tmp_path, colours_warm_txt="red", colours_cold_txt="blue", sub__colours_txt="grey", other_txt="x")
    assert files.find("colours*").texts == ("blue", "red")
    assert files.find("*colours*").texts == ("blue", "red", "grey")
    assert files.find("sub/*").texts == ("grey",)
    assert files.find("colours_????").texts == ("blue", "red")
    assert files.find("c?").texts == ()


def test_a_name_that_is_not_there_is_looked_for_in_subfolders(tmp_path: Path) -> None:
    files = folder(tmp_path, a__b__pets_txt="cat", c__pets_txt="dog", c__d_txt="x")
    assert files.find("pets").texts == ("cat", "dog")
    assert files.find("b/pets").texts == ("cat",)
    assert files.find("ets").texts == ()


@pytest.mark.parametrize("name", ["", "..", "../secret", "/etc/hostname", "sub/../../secret", "./x", "x.txt", "C:\\x", "\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    assert folder(tmp_path / "wildcards", x_txt="fine", sub__y_txt="fine").find(name).texts == ()


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "deep.txt").write_text("secret")
    files = folder(tmp_path / "wildcards", x_txt="fine")
    try:
        (tmp_path / "wildcards" / "leak.txt").symlink_to(tmp_path / "secret.txt")
        (tmp_path / "wildcards" / "leak.yaml").symlink_to(tmp_path / "secret.txt")
        (tmp_path / "wildcards" / "leaks").symlink_to(tmp_path / "secrets", target_is_directory=True)
        (tmp_path / "wildcards" / "within.txt").symlink_to(tmp_path / "wildcards" / "x.txt")
    except OSError:
        pytest.skip("this system makes no links")
    assert files.find("*").texts == ("fine",)
    assert files.find("within").texts == ("fine",)
    assert files.damage() == (
        "wildcards/leak.yaml is left out: it is a link that leads out of the folder.",
        "wildcards/leak.txt is left out: it is a link that leads out of the folder.",
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / ".hidden.txt").write_text("x")
    assert WildcardFolder(tmp_path).names() == ()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bomb_yaml", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases"),
        ("self_yaml", "&a [*a]", "aliases"),
        ("deep_yaml", "[" * 100_000, "nested deeper than 20"),
        ("tree_yaml", "{a: " * 100_000, "nested deeper than 20"),
        ("deep_json", "[" * 100_000 + "]" * 100_000, "left out"),
        ("tree_json", '{"a": ' * 30 + "[]" + "}" * 30, "nested deeper than 20"),
        ("bad_yaml", "a: [b\nc: d", "expected"),
        ("bad_json", '{"a": [', "Expecting"),
        ("number_json", "[" + "1" * 5000 + "]", "integer"),
        ("nul_yaml", "a: [\0]", "not allowed"),
        ("large_yaml", "#" * (MAX_BYTES + 1), "more than 20,000,000 bytes"),
    ],
)
def test_a_harmful_file_is_left_out_and_said_why(tmp_path: Path, name: str, content: str, says: str) -> None:
    began = time.process_time()
    files = folder(tmp_path, fine_txt="x", **{name: content})
    assert files.names() == ("fine",)
    (sentence,) = files.damage()
    assert sentence.startswith(f"{tmp_path.name}/{name.replace('_', '.')} is left out: ")
    assert says in sentence
    assert len(sentence) < 300
    assert time.process_time() - began < FAR_BELOW_QUADRATIC


def test_tags_of_yaml_do_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    files = folder(tmp_path, evil_yaml=f"a: [!!python/object/apply:os.mkdir ['{mark}'], !!int x, b]")
    assert files.find("a").texts == ("x", "b")
    assert not mark.exists()


def test_a_text_file_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    files = folder(tmp_path, large_txt="a" * (MAX_BYTES + 1))
    assert files.find("large").texts == ()
    assert "large.txt is left out" in files.damage()[0]


def test_text_that_is_not_utf_8_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfr\xe9d\nblue")
    assert WildcardFolder(tmp_path).find("a").texts == ("r\ufffdd", "blue")


def test_making_a_folder_reads_nothing_and_it_need_not_be_there(tmp_path: Path) -> None:
    files = WildcardFolder(tmp_path / "none")
    assert (files.names(), files.damage(), files.find("x").texts) == ((), (), ())
    folder(tmp_path / "none", x_txt="now")
    assert files.find("x").texts == ("now",)


def settle(root: Path, seconds: int = 60) -> None:
    """As if all in the folder had last changed some time ago."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, ns=(0, time.time_ns() - seconds * 1_000_000_000))


def test_what_changed_is_read_again(tmp_path: Path) -> None:
    files = folder(tmp_path, a_txt="one", sub__b_txt="two", c_yaml="{c: [three]}")
    settle(tmp_path)
    assert files.names() == ("a", "c", "sub/b")
    assert [files.find(name).texts for name in ("a", "b", "c")] == [("one",), ("two",), ("three",)]
    folder(tmp_path, a_txt="new", c_yaml="{c: [newer]}", sub__d_txt="newest")
    assert [files.find(name).texts for name in ("a", "b", "c", "d")] == [("new",), ("two",), ("newer",), ("newest",)]
    (tmp_path / "a.txt").unlink()
    assert files.find("a").texts == ()


def test_what_did_not_change_is_read_once(tmp_path: Path) -> None:
    files = folder(tmp_path, a_txt="one", b_yaml="{b: [two]}")
    settle(tmp_path)
    first = files.find("a"), files.find("b")
    assert files.find("a") is first[0]
    assert files.find("b") is first[1]


def test_threads_may_read_at_the_same_time(tmp_path: Path) -> None:
    files = folder(tmp_path, **{f"n{number}_txt": str(number) for number in range(30)})
    found: list[tuple[str, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(files.find("n*").texts)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {frozenset(texts) for texts in found} == {frozenset(map(str, range(30)))}
    assert len(found) == 8
