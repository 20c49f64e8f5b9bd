"""File names: A1111's patterns, and that no text whatever leads out of its folder."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.stand_ins import request
from webui.core.errors import InvalidRequest
from webui.jobs.filenames import NameFacts, file_stem, folder_parts, make_folder_inside, next_number, render, safe_name

HOSTILE = [
    "../../etc/passwd", "..", ".", "...", "a/../../b", "/etc/passwd", "C:\\Windows\\x", "\\\\server\\share", "file:stream",
    "a\x00b", "a\nb\r\tc", "con", "NUL.txt", "com1", "LPT¹.x", "aux .b", "name. . .", "  .hidden", "x" * 5000, "é" * 5000, "🍎" * 5000,
    "gpj.\u202eexe", "\ud800", "{0.__class__}", "%s%n", "$(rm -rf /)", "`x`", "con" + " " * 300 + "x",
]  # fmt: skip
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³")}


def facts(prompt: str = "a red apple, shining", index: int = 0, **job: object) -> NameFacts:
    whole = request(prompt, **{"seed": 5, "sampler": "DPM++ 2M", "steps": 20, "cfg_scale": 7.5, "width": 512, "height": 768, **job})
    return NameFacts(
        job=whole,
        picture=whole.of_image(index),
        index=index,
        model_name="sub_model",
        model_hash="0123456789",
        vae_name="best.vae.safetensors",
        started=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        now=datetime(2025, 6, 7, 8, 9, 10, tzinfo=UTC),
    )


def assert_is_safe(name: str) -> None:
    assert len(name.encode()) <= 200
    assert not set(name) & set('#<>:"/\\|?*')
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in name)
    assert unicodedata.normalize("NFC", name) == name
    assert name == name.lstrip(" .").rstrip(" .")
    assert name.partition(".")[0].strip().lower() not in RESERVED


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_a_safe_name(text: str) -> None:
    assert_is_safe(safe_name(text))


@given(st.text(st.characters()))
def test_any_text_becomes_a_safe_name(text: str) -> None:
    assert_is_safe(safe_name(text))


@given(st.text(st.sampled_from("conNULaux1.¹ /\\..é\u0301🍎"), max_size=12), st.integers(4, 12))
def test_any_text_becomes_a_safe_name_wherever_it_is_cut(text: str, max_bytes: int) -> None:
    name = safe_name(text, max_bytes=max_bytes)
    assert_is_safe(name)
    assert len(name.encode()) <= max_bytes


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("a red apple, (shining:1.2)"[:14], "Apfel für Jürgen", "林檎", "a.b-c_d"):
        assert safe_name(text) == text


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[seed]-[steps]-[cfg]", "5-20-7.5"),
        ("[width]x[height]", "512x768"),
        ("[sampler]|[scheduler]|[sampler_scheduler]", "DPM++ 2M|Karras|DPM++ 2M Karras"),
        ("[model_name] [model_hash] [vae_filename]", "sub_model 0123456789 best"),
        ("[date]", "2025-06-07"),
        ("[datetime]", "20250607080910"),
        ("[datetime<%Y_%m>]", "2025_06"),
        ("[datetime<%H:%M><Asia/Tokyo>]", "17:09"),
        ("[datetime<><Asia/Tokyo>]", "20250607170910"),
        ("[job_timestamp]", "20240102030405"),
        ("[prompt]", "a_red_apple,_shining"),
        ("[prompt_spaces]", "a red apple, shining"),
        ("[prompt_words]", "a red apple shining"),
        ("[prompt_hash]", hashlib.sha256(b"a red apple, shining").hexdigest()[:8]),
        ("[prompt_hash<12>]", hashlib.sha256(b"a red apple, shining").hexdigest()[:12]),
        ("[SEED]", "5"),
        ("[none]", ""),
        ("x-[unknown]-[seed<3>]-[]-[", "x-[unknown]-[seed<3>]-[]-["),
        ("[seed]-[batch_number]-[generation_number]", "5"),
        ("[seed_first]-[seed_last]", "5"),
    ],
)
def test_patterns_mean_what_they_mean_in_a1111(pattern: str, expected: str) -> None:
    assert render(pattern, facts()) == expected


def test_patterns_of_a_batch_tell_its_pictures_apart() -> None:
    batch = facts(index=4, batch_count=3, batch_size=2)
    pattern = "[seed] [batch_number] [generation_number] [seed_first]-[seed_last] [batch_size]"
    assert render(pattern, batch) == "9 1 5 5-10 2"


def test_a_prompt_that_looks_like_a_pattern_is_not_read_as_one() -> None:
    assert render("[prompt_spaces]", facts("[seed] {0} %Y [datetime<%Y>]")) == "[seed] {0} %Y [datetime<%Y>]"


@pytest.mark.parametrize(
    "template", ["%", "%Q", "%100000000d", "%-", "\x00", "%Y\ud800", "{0.__class__}", "%E", "%Oy", "%:z", "%" * 190], ids=repr
)
def test_strange_time_templates_stay_text(template: str) -> None:
    assert_is_safe(safe_name(render(f"[datetime<{template}><../../etc/passwd>]", facts())))


def test_file_stem_is_number_and_pattern() -> None:
    assert file_stem(7, "[seed]", facts()) == "00007-5"
    assert file_stem(7, "[none]", facts()) == "00007"
    assert file_stem(123456, "../[seed]", facts()) == "123456-_5"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_patterns_and_prompts_stay_inside_the_root(text: str, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    for pattern in ("[prompt]", "[prompt_spaces]/[prompt]", text[:200], f"../{text[:100]}/[prompt]", f"/{text[:100]}"):
        about = facts(prompt=text.encode(errors="replace").decode())
        folder = make_folder_inside(root, folder_parts(pattern, about))
        path = folder / f"{file_stem(0, pattern, about)}.png"
        path.write_bytes(b"")
        assert path.resolve().is_relative_to(root.resolve())
        assert len(path.name.encode()) <= 255


def test_only_separators_of_the_pattern_itself_make_folders() -> None:
    assert folder_parts("[date]/[prompt_spaces]\\x//", facts("a/b\\c")) == ["2025-06-07", "a_b_c", "x"]
    assert folder_parts("../..", facts()) == []


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "outputs", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "inside").mkdir()
    (root / "link").symlink_to(outside)
    (root / "near").symlink_to(root / "inside")
    with pytest.raises(InvalidRequest, match="leads out of 'outputs'"):
        make_folder_inside(root, ["link", "x"])
    assert not list(outside.iterdir())
    assert make_folder_inside(root, ["near", "x"]).is_dir()


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    make_folder_inside(tmp_path / "outputs", ["a"])
    assert (tmp_path / "disk" / "a").is_dir()


def test_the_next_number_is_one_above_the_highest(tmp_path: Path) -> None:
    assert next_number(tmp_path) == 0
    for name in ("00003-1.png", "00012.png", "grid-0099.png", "7x.png", "99999999999999999999-1.png", ".00050-x.part"):
        (tmp_path / name).touch()
    assert next_number(tmp_path) == 13
