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


# The reference's names of what a request has here; what its other keys ask for, the engine tells in `used`.
FIELDS = {
    **{name: name for name in ("prompt", "negative_prompt", "seed", "steps", "width", "height", "cfg_scale", "batch_size", "eta")},
    **{name: name for name in ("subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h")},
    "sampler_name": "sampler", "scheduler": "schedule", "n_iter": "batch_count",
}  # fmt: skip


def reference_pictures():
    pictures = []
    for case in REFERENCE["cases"]:
        for index, text in enumerate(case["infotexts"]):
            pictures.append(pytest.param(case, index, text, id=f"{case['name']}-{index}"))
    return pictures


@pytest.mark.parametrize(("case", "index", "text"), reference_pictures())
def test_infotext_is_a1111s_byte_for_byte(case, index, text):
    wire = case["request"]
    request = GenerationRequest(**{FIELDS[key]: value for key, value in wire.items() if key in FIELDS})
    overrides = {key: value for key, value in wire["override_settings"].items() if key in Settings.model_fields}
    settings = Settings(**overrides, tiling=wire.get("tiling", False))
    assert text == write_infotext(
        request.of_image(index), settings, model_name=REFERENCE["model_name"], model_hash=REFERENCE["model_hash"],
        vae_name=None, vae_hash=None, used=case["used"], version=REFERENCE["version"],
    )  # fmt: skip


def test_all_reference_runs_are_among_the_cases():
    assert len(REFERENCE["cases"]) == 63
    assert len(reference_pictures()) >= 66


def test_keys_stand_in_a1111s_order():
    request = GenerationRequest(
        prompt="(a)", seed=3, sampler="Euler a", width=64, height=128, subseed=4, subseed_strength=0.5, seed_resize_from_w=72,
        seed_resize_from_h=80, cfg_rescale=0.7, prompt_template="{(a)|b}", negative_template="__x__",
    )  # fmt: skip
    settings = Settings(CLIP_stop_at_last_layers=2, randn_source="CPU", eta_noise_seed_delta=31337, tiling=True)
    used = {
        "Lora hashes": "a: 1, b: 2", "Eta": "0.5", "Denoising strength": "0.3", "Schedule type": "Karras", "Image CFG scale": "1.5",
        "Face restoration": "CodeFormer", "FP8 weight": "Enable", "Cache FP16 weight for LoRA": "True", "Token merging ratio": "0.1",
        "Token merging ratio hr": "0.2", "Init image hash": "ab", "Conditional mask weight": "0.5",
    }  # fmt: skip
    assert line(
        request, settings, model_hash="0123456789abcdef", vae_name="v.safetensors", vae_hash="fedcba9876543210", used=used, user="me"
    ) == (
        "Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7.0, Image CFG scale: 1.5, Seed: 3, Face restoration: CodeFormer, "
        "Size: 64x128, Model hash: 0123456789, Model: m, FP8 weight: Enable, Cache FP16 weight for LoRA: True, VAE hash: fedcba9876, "
        "VAE: v.safetensors, Variation seed: 4, Variation seed strength: 0.5, Seed resize from: 72x80, Denoising strength: 0.3, "
        "Conditional mask weight: 0.5, Clip skip: 2, ENSD: 31337, Token merging ratio: 0.1, Token merging ratio hr: 0.2, "
        'Init image hash: ab, RNG: CPU, Tiling: True, Lora hashes: "a: 1, b: 2", Eta: 0.5, CFG rescale: 0.7, Template: {(a)|b}, '
        "Negative Template: __x__, Version: 1, User: me"
    )


@pytest.mark.parametrize(
    ("sampler", "eta", "eta_ancestral", "shown"),
    [
        ("Euler a", None, 1.0, True),
        ("Euler a", None, 0.0, False),
        ("Euler a", 0.0, 1.0, False),
        ("Euler a", 0.5, 0.0, True),
        ("Euler", None, 1.0, False),
        ("DPM++ SDE", None, 1.0, False),
        ("DDIM", 1.0, 1.0, False),
    ],
)
def test_the_seed_delta_is_shown_where_it_acts(sampler, eta, eta_ancestral, shown):
    settings = Settings(eta_noise_seed_delta=5, eta_ancestral=eta_ancestral)
    assert (", ENSD: 5," in line(GenerationRequest(seed=1, sampler=sampler, eta=eta), settings)) is shown


@pytest.mark.parametrize(("width", "height"), [(0, 64), (64, 0), (0, 0)])
def test_a_seed_resize_without_both_sides_is_none(width, height):
    assert "Seed resize" not in line(GenerationRequest(seed=1, seed_resize_from_w=width, seed_resize_from_h=height))


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


@pytest.mark.parametrize("settings", [Settings(emphasis="No norm"), Settings(eta_ancestral=0.5, eta_ddim=0.5, s_churn=3)])
def test_what_only_the_engine_knows_the_use_of_is_left_to_it(settings):
    assert line(GenerationRequest(prompt="(a)", seed=1, sampler="Euler a"), settings) == line(GenerationRequest(seed=1, sampler="Euler a"))


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
    assert case["used"].items() <= fields.items()
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


@pytest.mark.parametrize("key", ["Template", "Negative Template", "Model", "VAE", "User"])
def test_a_name_or_prompt_like_a_size_is_no_size(key):
    assert read_infotext(f"a\nSteps: 1, Seed: 2, {key}: 10x20")[key] == "10x20"


def test_half_a_character_is_not_read():
    assert read_infotext('a\nSteps: 1, Seed: 2, Model: "\\ud800,"')["Model"] == "?,"


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
    assert time.perf_counter() - started < 20
