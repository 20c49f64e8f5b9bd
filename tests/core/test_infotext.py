import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.core.infotext import quote, read_infotext, unquote, write_infotext
from webui.core.request import GenerationRequest
from webui.core.settings import Settings

REFERENCE = json.loads((Path(__file__).parent / "data" / "infotexts.json").read_text(encoding="utf-8"))


def written(request=None, settings=None, **changes):
    """The infotext of a picture whose every other property is plain."""
    others = {"model_name": "m", "model_hash": None, "vae_name": None, "vae_hash": None, "used": {}, "version": "1"}
    return write_infotext(request or GenerationRequest(seed=1), settings or Settings(), **{**others, **changes})


def line(*arguments, **changes):
    return written(*arguments, **changes).split("\n")[-1]


def reference_pictures():
    pictures = []
    for case in REFERENCE["cases"]:
        for index, text in enumerate(case["infotexts"]):
            pictures.append(pytest.param(case["request"], index, text, id=f"{case['name']}-{index}"))
    return pictures


@pytest.mark.parametrize(("wire", "index", "text"), reference_pictures())
def test_infotext_is_a1111s_byte_for_byte(wire, index, text):
    names = {"sampler_name": "sampler", "scheduler": "schedule", "n_iter": "batch_count"}
    apart = ("override_settings", "eta")
    request = GenerationRequest(**{names.get(key, key): value for key, value in wire.items() if key not in apart})
    settings = Settings(**wire["override_settings"])
    if "eta" in wire:
        settings = settings.changed({"eta_ancestral": wire["eta"], "eta_ddim": wire["eta"]})
    assert text == write_infotext(
        request.of_image(index), settings, model_name=REFERENCE["model_name"], model_hash=REFERENCE["model_hash"],
        vae_name=None, vae_hash=None, used={}, version=REFERENCE["version"],
    )  # fmt: skip


def test_every_kind_of_reference_is_among_the_cases():
    kinds = {(case["request"]["sampler_name"], case["request"]["scheduler"]) for case in REFERENCE["cases"]}
    assert {"Euler", "Euler a", "Heun", "DDIM", "DPM++ 2M"} == {sampler for sampler, _ in kinds}
    assert {"Automatic", "Karras", "Uniform"} == {schedule for _, schedule in kinds}
    assert len(reference_pictures()) >= 20


def test_keys_stand_in_a1111s_order():
    request = GenerationRequest(prompt="(a)", seed=3, sampler="Euler a", width=64, height=128)
    settings = Settings(CLIP_stop_at_last_layers=2, randn_source="CPU", emphasis="Ignore", eta_ancestral=0.5)
    assert line(
        request, settings, model_hash="0123456789abcdef", vae_name="v.safetensors", vae_hash="fedcba9876543210", used={"Extra": "1"}
    ) == (
        "Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 3, Size: 64x128, Model hash: 0123456789, Model: m, "
        "VAE hash: fedcba9876, VAE: v.safetensors, Clip skip: 2, RNG: CPU, Emphasis: Ignore, Eta: 0.5, Extra: 1, Version: 1"
    )


def test_what_the_engine_used_replaces_a_value_in_its_place():
    assert "Sampler: DPM++ 2M, Schedule type: Uniform, CFG scale" in line(used={"Schedule type": "Uniform"})


def test_the_negative_prompts_line_is_left_out_when_it_is_empty():
    assert written(GenerationRequest(prompt="a", seed=1)).startswith("a\nSteps: 20")
    assert written(GenerationRequest(prompt="a", negative_prompt="b", seed=1)).startswith("a\nNegative prompt: b\nSteps: 20")


def test_an_empty_prompt_leaves_the_line_alone():
    assert written().startswith("Steps: 20")


def test_a_pair_whose_key_is_its_value_is_written_once():
    assert ", Model, Version" in line(model_name="Model")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"add_model_name_to_info": False}, "Model:"),
        ({"add_model_hash_to_info": False}, "Model hash"),
        ({"add_version_to_infotext": False}, "Version"),
    ],
)
def test_a_setting_leaves_its_pair_out(changes, key):
    assert key in line(model_hash="ab")
    assert key not in line(settings=Settings(**changes), model_hash="ab")


@pytest.mark.parametrize("missing", [None, ""])
def test_unknown_hashes_are_left_out(missing):
    assert "hash" not in line(model_hash=missing, vae_name="v", vae_hash=missing)


def test_a_vae_hash_without_a_vae_is_left_out():
    assert "VAE" not in line(vae_hash="ab")


@pytest.mark.parametrize(("prompt", "shown"), [("a (b)", True), ("[a]", True), ("a", False)])
def test_emphasis_is_named_when_the_prompt_uses_it(prompt, shown):
    settings = Settings(emphasis="No norm")
    assert ("Emphasis: No norm" in line(GenerationRequest(prompt=prompt, seed=1), settings)) is shown
    assert ("Emphasis: No norm" in line(GenerationRequest(negative_prompt=prompt, seed=1), settings)) is shown


@pytest.mark.parametrize(("sampler", "pair"), [("DDIM", "Eta DDIM: 0.5"), ("Euler a", "Eta: 0.7"), ("Euler", None)])
def test_eta_is_named_for_samplers_that_take_it(sampler, pair):
    text = line(GenerationRequest(sampler=sampler, seed=1), Settings(eta_ddim=0.5, eta_ancestral=0.7))
    assert [part for part in text.split(", ") if part.startswith("Eta")] == ([pair] if pair else [])


# --- quoting, and what tries to get past it (attacks.md 18)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a,b", '"a,b"'), ("a:b", '"a:b"'), ('x"y', 'x"y'), ('x"y,z', '"x\\"y,z"'), ("a\nb", '"a\\nb"'), ("ü,", '"ü,"'), ("plain", "plain")],
)
def test_quoting_is_a1111s(value, text):
    assert quote(value) == text
    assert unquote(text) == value


@settings(deadline=None)
@given(st.text())
def test_any_value_survives_quoting(value):
    assert unquote(quote(value)) == value


@pytest.mark.parametrize("text", ['"', '"a', 'a"', '"a"b"', '"\\x"', ""])
def test_what_is_not_well_quoted_is_returned_as_it_is(text):
    assert unquote(text) == text


HOSTILE = [
    "x, CFG scale: 1, y", 'x", CFG scale: 1, y: "', "x\nSteps: 1, Sampler: DDIM, CFG scale: 1", "x\rSteps: 1", '"', '"x', "10x20",
    " x ", "\\", "x\\",
]  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40) | st.sampled_from(HOSTILE)


@settings(deadline=None)
@given(model=names, vae=names)
def test_no_model_name_can_add_or_change_a_field(model, vae):
    fields = read_infotext(written(GenerationRequest(prompt="p", seed=1), model_name=model, vae_name=vae))
    expected = {
        "Prompt": "p", "Negative prompt": "", "Steps": "20", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "7.0",
        "Seed": "1", "Size-1": "512", "Size-2": "512", "Model": model, "VAE": vae, "Version": "1",
    }  # fmt: skip
    if model == "Model":
        del expected["Model"]
    if vae == "VAE":
        del expected["VAE"]
    assert fields == expected


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.just("a\nSteps: 1, Sampler: DDIM, CFG scale: 1, Seed: 9"))
def test_no_prompt_can_add_or_change_a_field(prompt):
    request = GenerationRequest(prompt=prompt, seed=1)
    fields = read_infotext(written(request))
    assert (fields["Steps"], fields["Sampler"], fields["Seed"], fields["Model"]) == ("20", "DPM++ 2M", "1", "m")
    assert len(fields) == 11


# --- reading


def test_what_was_written_is_read_back():
    request = GenerationRequest(prompt="a cat,\n(sunny: day)", negative_prompt="bad\nworse", seed=5, width=64, sampler="Euler a")
    assert read_infotext(written(request, vae_name="a, b.safetensors", vae_hash="0123")) == {
        "Prompt": "a cat,\n(sunny: day)", "Negative prompt": "bad\nworse", "Steps": "20", "Sampler": "Euler a",
        "Schedule type": "Automatic", "CFG scale": "7.0", "Seed": "5", "Size-1": "64", "Size-2": "512", "Model": "m",
        "VAE hash": "0123", "VAE": "a, b.safetensors", "Version": "1",
    }  # fmt: skip


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["name"])
def test_a1111s_own_infotexts_are_read(case):
    fields = read_infotext(case["infotexts"][0])
    assert fields["Prompt"] == case["request"]["prompt"].strip()
    assert fields["Negative prompt"] == case["request"]["negative_prompt"].strip()
    assert (int(fields["Size-1"]), int(fields["Size-2"])) == (case["request"]["width"], case["request"]["height"])
    assert int(fields["Steps"]) == case["request"]["steps"]


def test_a_last_line_of_two_pairs_belongs_to_the_prompt():
    assert read_infotext("a\nSteps: 1, Seed: 2") == {"Prompt": "a\nSteps: 1, Seed: 2", "Negative prompt": ""}
    assert read_infotext("a\nSteps: 1, Seed: 2, Size: 3x4")["Prompt"] == "a"


def test_the_negative_prompt_begins_with_its_first_line_and_goes_on():
    fields = read_infotext("a\nb\nNegative prompt: c\nd\nSteps: 1, Seed: 2, CFG scale: 3")
    assert (fields["Prompt"], fields["Negative prompt"]) == ("a\nb", "c\nd")


def test_the_parameter_line_cannot_replace_the_prompts():
    fields = read_infotext("a\nSteps: 1, Seed: 2, CFG scale: 3, Prompt: evil, Negative prompt: worse")
    assert (fields["Prompt"], fields["Negative prompt"]) == ("a", "")


def test_keys_of_one_character_are_no_keys():
    assert "x" not in read_infotext("a\nSteps: 1, Seed: 2, CFG scale: 3, x: 4")


@pytest.mark.parametrize("text", ["", " ", "\n\n", "Negative prompt: x", '::,,""'])
def test_anything_at_all_can_be_read(text):
    fields = read_infotext(text)
    assert {"Prompt", "Negative prompt"} <= fields.keys()


@settings(deadline=None)
@given(st.text())
def test_reading_never_fails(text):
    assert isinstance(read_infotext(text), dict)


@pytest.mark.parametrize("text", ["a" * 300_000, 'a: "' * 75_000, " " * 300_000 + "x", 'a: "\\' * 60_000, "ab:" * 100_000, '"' * 300_000])
def test_a_hostile_line_is_read_in_a_moment(text):
    started = time.perf_counter()
    read_infotext(text)
    assert time.perf_counter() - started < 5
