"""Which localisation is chosen, and that no file of one does harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webui.core.extension_points import Assets
from webui.core.localizations import AUTO, MAX_BYTES, choose, find_localizations, own_texts, read_words
from webui.core.paths import standard_paths

THERE = ("de", "en_GB", "zh_CN")


def write(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh_CN"),
        ("zh-TW", "zh_CN"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", ""),
        ("en-GB,en", "en_GB"),
        ("fr,de-AT;q=0.5,zh;q=0.7", "zh_CN"),
        ("fr;q=nonsense,de;q=0.2", "de"),
        ("de;q=0", ""),
        ("fr", ""),
        ("", ""),
        ("," * 100_000, ""),
    ],
)
def test_auto_takes_the_first_language_of_the_browser_that_is_there(accepted: str, expected: str) -> None:
    assert choose(AUTO, THERE, accepted) == expected


@pytest.mark.parametrize("wanted", ["None", "", "fr", "../zh_CN", "/etc/passwd", "zh_CN.json", "ZH_cn"])
def test_a_name_that_is_not_in_the_list_is_english(wanted: str) -> None:
    assert choose(wanted, THERE, "zh-CN") == ""


def test_the_users_words_win_over_an_extensions_and_those_over_the_programs(tmp_path: Path) -> None:
    paths = standard_paths(tmp_path)
    extension = tmp_path / "extensions" / "chinese"
    write(extension / "localizations", "zh_CN.json", {"Seed": "extension's", "Width": "extension's"})
    write(paths.localizations, "zh_CN.json", {"Seed": "mine"})
    found = find_localizations(paths, [Assets("chinese", extension, localizations=("localizations/zh_CN.json",))])
    words = read_words("zh_CN", found["zh_CN"])
    assert words.texts
    assert (words.texts["Seed"], words.texts["Width"], words.texts["Height"]) == ("mine", "extension's", "高度")
    assert (words.tag, words.problems) == ("zh-CN", ())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not JSON",
        "[1, 2]",
        '"text"',
        "[" * 100_000,
        '{"a": ' * 100_000,
        " " * (MAX_BYTES + 1),
        {f"text {n}": "x" for n in range(50_001)},
    ],
    ids=["empty", "no JSON", "list", "string", "deep list", "deep object", "large", "many"],
)
def test_a_file_that_is_no_localisation_is_left_out_and_named(tmp_path: Path, content: object) -> None:
    good, bad = write(tmp_path, "good.json", {"Seed": "Saat"}), write(tmp_path, "bad.json", content)
    words = read_words("xx", [good, bad])
    assert words.texts == {"Seed": "Saat"}
    [problem] = words.problems
    assert "bad.json" in problem
    assert str(tmp_path) not in problem


def test_only_texts_are_taken_of_a_file(tmp_path: Path) -> None:
    content = {"Seed": "Saat", "rtl": True, "Width": 3, "Height": None, "Steps": ["x"], "Skip": " ", "Prompt": "x" * 6000}
    words = read_words("he", [write(tmp_path, "he.json", content)])
    assert words.texts == {"Seed": "Saat"}
    assert words.rtl


def test_a_link_out_of_the_folder_is_no_localisation(tmp_path: Path) -> None:
    paths = standard_paths(tmp_path / "data")
    secret = write(tmp_path, "secret.json", {"Seed": "secret"})
    write(paths.localizations, "good.json", {})
    (paths.localizations / "secret.json").symlink_to(secret)
    assert sorted(find_localizations(paths, [])) == ["good", "zh_CN"]


@pytest.mark.parametrize(("name", "tag"), [("zh_CN", "zh-CN"), ("de", "de"), ("zh-Hans (Stable)", "en"), ("", "en"), ("español", "en")])
def test_a_language_is_told_to_the_browser_by_its_tag(name: str, tag: str) -> None:
    assert read_words(name, []).tag == tag


def test_the_template_has_every_text() -> None:
    assert len(own_texts()) > 900
