import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.core.infotext import read_infotext
from webui.core.infotext_legacy import interpret, parse_version

LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b"


def facts(line=LINE, prompt="a", negative="", **options):
    return interpret(read_infotext(f"{prompt}\nNegative prompt: {negative}\n{line}"), **options)


def test_a_plain_infotext_means_what_a1111s_png_info_answers():
    assert facts() == {
        "Prompt": "a", "Negative prompt": "", "Steps": "20", "Sampler": "Euler a", "CFG scale": "7", "Seed": "965400086",
        "Size-1": "512", "Size-2": "512", "Model hash": "45dee52b", "Clip skip": "1", "Hires resize-1": 0, "Hires resize-2": 0,
        "Hires sampler": "Use same sampler", "Hires schedule type": "Use same scheduler", "Hires checkpoint": "Use same checkpoint",
        "Hires prompt": "", "Hires negative prompt": "", "Mask mode": "Inpaint masked", "Masked content": "original",
        "Inpaint area": "Whole picture", "Masked area padding": 32, "RNG": "GPU", "Schedule type": "Automatic", "Schedule max sigma": 0,
        "Schedule min sigma": 0, "Schedule rho": 0, "VAE Encoder": "Full", "VAE Decoder": "Full", "FP8 weight": "Disable",
        "Refiner switch by sampling steps": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("Clip skip: 2", "Clip skip", "2"),
        ("RNG: NV", "RNG", "NV"),
        ("Schedule type: Karras", "Schedule type", "Karras"),
        ("Schedule rho: 5", "Schedule rho", "5"),
        ("Hires resize: 0x768", "Hires resize-2", "768"),
        ("FP8 weight: Enable", "Cache FP16 weight for LoRA", False),
    ],
)
def test_what_is_given_is_not_replaced_by_its_default(pair, key, value):
    assert facts(f"{LINE}, {pair}")[key] == value


def test_a_value_that_is_empty_counts_as_missing():
    assert facts(f"{LINE}, RNG: , Clip skip:")["RNG"] == "GPU"


@pytest.mark.parametrize(("prompt", "uses"), [("a", False), ("(a)", True), ("[a]", True), ("a BREAK b", False), (r"\(a\)", False)])
def test_the_emphasis_mode_is_told_where_emphasis_is_used(prompt, uses):
    assert facts(prompt=prompt).get("Emphasis") == facts(negative=prompt).get("Emphasis") == ("Original" if uses else None)
    assert facts(f"{LINE}, Emphasis: No norm", prompt=prompt)["Emphasis"] == "No norm"


@pytest.mark.parametrize(("given", "strength"), [("", "1.0"), (", Hypernet strength: 0.4", "0.4")])
def test_a_hypernetwork_becomes_a_tag(given, strength):
    assert facts(f"{LINE}, Hypernet: anime{given}")["Prompt"] == f"a<hypernet:anime:{strength}>"


def test_additional_networks_become_tags():
    line = (
        f"{LINE}, AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: mix_v4(58bed664ee45), AddNet Weight A 1: 0.6, "
        "AddNet Module 2: LoRA, AddNet Model 2: plain, AddNet Module 3: LoCon, AddNet Model 3: other"
    )
    assert facts(line)["Prompt"] == "a\n<lora:mix_v4:0.6><lora:plain:1.0>"


@pytest.mark.parametrize(
    ("first", "size", "resize"),
    [("512x768", (512, 768), (1024, 1536)), ("0x0", (448, 640), (1024, 1536)), ("0x512", (448, 640), (1024, 1536))],
)
def test_the_old_hires_fix_had_the_sizes_the_other_way_round(first, size, resize):
    found = facts(f"{LINE.replace('512x512', '1024x1536')}, First pass size: {first}")
    assert (found["Size-1"], found["Size-2"]) == size
    assert (found["Hires resize-1"], found["Hires resize-2"]) == resize


@pytest.mark.parametrize("size", ["0x0", "99999999999999999999x1", "x", ""])
def test_an_old_hires_fix_of_no_real_size_does_no_harm(size):
    assert facts(f"{LINE.replace('512x512', size)}, First pass size: 0x0")["Prompt"] == "a"


TIMELINES, PADDING, DOWNCAST, REFINER = (
    "Old prompt editing timelines", "Pad conds v0", "Downcast alphas_cumprod", "Refiner switch by sampling steps",
)  # fmt: skip


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("v1.5.2", {TIMELINES, PADDING, DOWNCAST, REFINER}),
        ("1.5.2", {TIMELINES, PADDING, DOWNCAST, REFINER}),
        ("v1.6.0-RC-28-gdeadbeef", {TIMELINES, PADDING, DOWNCAST, REFINER}),
        ("v1.6.0", {DOWNCAST, REFINER}),
        ("v1.6.0-2-g4afaaf8a", {DOWNCAST, REFINER}),
        ("v1.7.0", {DOWNCAST, REFINER}),
        ("v1.7.0-224-gabc", {DOWNCAST, REFINER}),
        ("v1.7.0-225-gabc", {REFINER}),
        ("1.8.0-RC", {REFINER}),
        ("v1.8.0", set()),
        ("v1.10.1", set()),
        ("webui 0.1.0", set()),
        ("webui 1.0", set()),
        ("f0.0.17v1.8.0rc-latest-276-g29be1da7", set()),
        ("ComfyUI", set()),
        ("45dee52b", set()),
        ("", set()),
    ],
)
def test_the_version_brings_back_the_arithmetic_of_its_time(version, old):
    line = f"{LINE.replace('Euler a', 'DDIM')}, Refiner: x, Version: {version}"
    found = facts(line, prompt="[a:b:0.5]")
    assert {key for key in (TIMELINES, PADDING, DOWNCAST, REFINER) if found.get(key)} == old
    unobeyed = facts(line, prompt="[a:b:0.5]", back_compatible=False)
    assert not any(unobeyed.get(key) for key in (TIMELINES, PADDING, DOWNCAST, REFINER))


@pytest.mark.parametrize(
    ("line", "prompt", "absent"),
    [
        (f"{LINE}, Version: v1.5.0", "a", TIMELINES),
        (f"{LINE}, Version: v1.5.0", "[a]", PADDING),
        (f"{LINE}, Version: v1.5.0", "[a]", REFINER),
        (f"{LINE}, Version: 1.5.0, App: SD.Next", "[a]", DOWNCAST),
    ],
)
def test_old_arithmetic_comes_back_only_where_it_shows(line, prompt, absent):
    assert not facts(line, prompt=prompt).get(absent)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.10.1", (1, 10, 1, 0, 0)),
        ("1.7", (1, 7, 0, 0, 0)),
        ("v1.7.0-225-gabc", (1, 7, 0, 0, 225)),
        ("1.8.0-RC", (1, 8, 0, -1, 0)),
        ("x", None),
        ("1" * 50, None),
    ],
)
def test_a_version_is_read_as_numbers(text, version):
    assert parse_version(text) == version


def test_lora_hashes_are_left_to_the_caller():
    assert facts(f'{LINE}, Lora hashes: "a: 0123456789ab, b: ba9876543210"')["Lora hashes"] == "a: 0123456789ab, b: ba9876543210"


keys = st.sampled_from(["Size", "First pass size", "AddNet Model 1", "AddNet Module 1", "Version", "Hypernet", "FP8 weight", "Sampler"])
values = st.text(max_size=20) | st.sampled_from(["LoRA", "0x0", "1x", "v1.5", "9" * 400, "-1", "1e9", "x(ab)"])


@settings(deadline=None)
@given(st.dictionaries(keys, values), st.text(max_size=40))
def test_interpreting_never_fails(pairs, prompt):
    assert isinstance(interpret({**pairs, "Prompt": prompt, "Negative prompt": ""}), dict)


@pytest.mark.parametrize("hostile", ["x" * 300_000, "(" * 300_000 + "f", "x " * 150_000, "1." * 150_000, "1.1.1" + "." * 300_000])
def test_hostile_values_are_read_in_a_moment(hostile):
    started = time.process_time()
    interpret({"Prompt": "a", "Negative prompt": "", "Version": hostile, "AddNet Module 1": "LoRA", "AddNet Model 1": hostile})
    assert time.process_time() - started < 10
