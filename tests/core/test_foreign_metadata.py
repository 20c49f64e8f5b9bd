import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webui.core.exif import write_exif
from webui.core.foreign_metadata import translate
from webui.core.foreign_names import SAMPLERS as FOREIGN_SAMPLERS
from webui.core.foreign_names import SCHEDULES as FOREIGN_SCHEDULES
from webui.core.foreign_names import as_number, load_object, lora_tag, sampling
from webui.core.images import encode_png
from webui.core.infotext import read_infotext
from webui.core.infotext_apply import read_paste
from webui.core.infotext_legacy import interpret
from webui.core.metadata import read
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, SCHEDULES
from webui.core.settings import Settings

RED = Image.new("RGB", (8, 8))


def translated(**texts):
    """The metadata of a PNG with these chunks; values that are no text are written as JSON."""
    chunks = {key.replace("sd_metadata", "sd-metadata"): text if isinstance(text, str) else json.dumps(text) for key, text in texts.items()}
    return read(encode_png(RED, chunks))


def fields(metadata):
    return read_infotext(metadata.infotext)


# --- names


def test_every_name_is_translated_into_a_label_that_there_is():
    assert set(FOREIGN_SAMPLERS.values()) <= {sampler.label for sampler in SAMPLERS}
    assert set(FOREIGN_SCHEDULES.values()) <= {schedule.label for schedule in SCHEDULES}


@pytest.mark.parametrize(
    ("sampler", "schedule", "labels"),
    [
        ("dpmpp_2m", "karras", ("DPM++ 2M", "Karras")),
        ("dpmpp_2m_sde_gpu", "exponential", ("DPM++ 2M SDE", "Exponential")),
        ("euler_ancestral", "normal", ("Euler a", "Normal")),
        ("k_dpm_2_ancestral", None, ("DPM2 a", None)),
        ("kdpm_2_a", None, ("DPM2 a", None)),
        ("dpmpp_2m_k", None, ("DPM++ 2M", "Karras")),
        ("dpmpp_2m_sde_k", None, ("DPM++ 2M SDE", "Karras")),
        ("ddim", "ddim_uniform", ("DDIM", "DDIM")),
        ("res_multistep", "linear_quadratic", ("res_multistep", "linear_quadratic")),
        (None, 5, (None, None)),
    ],
)
def test_samplers_and_schedules_are_named_as_a1111_does(sampler, schedule, labels):
    pairs = sampling(sampler, schedule)
    assert (pairs["Sampler"], pairs["Schedule type"]) == labels


def test_unipcs_other_variant_is_told():
    assert sampling("uni_pc_bh2")["UniPC variant"] == "bh2"
    assert "UniPC variant" not in sampling("uni_pc")


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        (("sub/detail.safetensors", 0.8), "<lora:detail:0.8>"),
        (("a\\b.pt", 1, 1), "<lora:b:1>"),
        (("x", 0.8, 0), "<lora:x:0:0.8>"),
        (("x", "bad"), "<lora:x:1>"),
        (("<lora:y:9>", 1), "<lora:loray9:1>"),
        ((None, 1), ""),
    ],
)
def test_a_loras_tag_has_its_weights(given, tag):
    assert lora_tag(*given) == tag


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, "5"), (5.5, "5.5"), ("42", "42"), (True, None), (float("nan"), None), (float("inf"), None), ("5, Seed: 1", None), ([], None)],
)
def test_only_numbers_are_numbers(value, number):
    assert as_number(value) == number


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a":' * 100_000, "9" * 5000, '{"a": ' + "9" * 5000 + "}", '{"a": 1}' + " " * 5_000_000])
def test_what_is_no_usable_object_is_empty(text):
    assert load_object(text) == {}


# --- NovelAI

NOVELAI = {
    "steps": 28, "height": 768, "width": 512, "scale": 11.0, "uncond_scale": 1.0, "cfg_rescale": 0.0, "seed": 1234567890, "n_samples": 1,
    "noise_schedule": "native", "sampler": "k_euler_ancestral", "uc": "lowres, bad", "strength": 0.69, "noise": 0.667,
}  # fmt: skip


def test_a_novelai_picture_gives_what_a1111_makes_of_it():
    metadata = translated(
        Title="AI generated image", Description="1girl, {smile}", Software="NovelAI", Source="SD 1D44365E", Comment=NOVELAI
    )
    assert metadata.program == "NovelAI"
    assert metadata.infotext == (
        "1girl, {smile}\nNegative prompt: lowres, bad\n"
        "Steps: 28, Sampler: Euler a, CFG scale: 11.0, Seed: 1234567890, Size: 512x768, Clip skip: 2, ENSD: 31337"
    )
    assert len(metadata.remarks) == 1
    assert metadata.items["Source"] == "SD 1D44365E"
    pasted = read_paste(metadata)
    assert GenerationRequest().changed(**pasted.request_changes) == GenerationRequest(
        prompt="1girl, {smile}", negative_prompt="lowres, bad", steps=28, sampler="Euler a", cfg_scale=11.0, seed=1234567890, width=512,
        height=768,
    )  # fmt: skip
    assert (pasted.settings_changes["CLIP_stop_at_last_layers"], pasted.settings_changes["eta_noise_seed_delta"]) == (2, 31337)


def test_novelais_fourth_version_keeps_its_characters():
    caption = {"base_caption": "a park", "char_captions": [{"char_caption": "girl, red hair", "centers": []}, {"char_caption": "boy"}]}
    v4 = {"v4_prompt": {"caption": caption}, "v4_negative_prompt": {"caption": {"base_caption": "lowres", "char_captions": []}}}
    comment = {**NOVELAI, **v4, "noise_schedule": "karras", "sampler": "k_dpmpp_2m", "cfg_rescale": 0.4}
    found = fields(translated(Software="NovelAI", Description="a park", Comment=comment))
    assert found["Prompt"] == "a park\ngirl, red hair\nboy"
    assert (found["Negative prompt"], found["Sampler"], found["Schedule type"]) == ("lowres", "DPM++ 2M", "Karras")
    assert found["CFG rescale"] == "0.4"


def test_novelais_webp_has_its_keys_in_exif():
    wrapped = {"Software": "NovelAI", "Description": "a", "Comment": json.dumps(NOVELAI)}
    buffer = io.BytesIO()
    RED.save(buffer, "WEBP", exif=write_exif(json.dumps(wrapped)))
    metadata = read(buffer.getvalue())
    assert (metadata.program, fields(metadata)["Seed"]) == ("NovelAI", "1234567890")


# --- InvokeAI

INVOKEAI = {
    "generation_mode": "txt2img", "positive_prompt": "a cabin", "negative_prompt": "blurry", "width": 768, "height": 512, "seed": 27182,
    "rand_device": "cpu", "cfg_scale": 7.5, "cfg_rescale_multiplier": 0.3, "steps": 30, "scheduler": "dpmpp_2m_sde_k",
    "seamless_x": True, "seamless_y": True, "clip_skip": 1,
}  # fmt: skip
V3 = {
    "model": {"model_name": "sd15", "base_model": "sd-1"},
    "vae": {"model_name": "mse"},
    "loras": [{"lora": {"model_name": "det"}, "weight": 0.6}],
}
V4 = {
    "model": {"key": "1", "hash": "blake3:ab", "name": "sd15", "base": "sd-1"},
    "vae": {"name": "mse"},
    "loras": [{"model": {"name": "det"}, "weight": 0.6}],
}


@pytest.mark.parametrize("files", [V3, V4])
def test_both_spellings_of_invokeais_metadata_are_read(files):
    metadata = translated(invokeai_metadata={**INVOKEAI, **files, "app_version": "5.4.2"}, invokeai_graph="{}")
    assert metadata.program == "InvokeAI"
    assert metadata.infotext == (
        "a cabin <lora:det:0.6>\nNegative prompt: blurry\nSteps: 30, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 7.5, "
        "Seed: 27182, Size: 768x512, Model: sd15, VAE: mse, Clip skip: 2, RNG: CPU, Tiling: True, CFG rescale: 0.3"
    )


@pytest.mark.parametrize("prompt", ["a robot [blurry] [text]", [{"prompt": "a robot [blurry]", "weight": 1.0}, {"prompt": "[text]"}]])
def test_invokeai_2_had_its_negative_prompt_in_brackets(prompt):
    image = {
        "prompt": prompt,
        "steps": 50,
        "cfg_scale": 7.5,
        "height": 512,
        "width": 640,
        "seed": 1618,
        "seamless": False,
        "sampler": "k_lms",
    }
    metadata = translated(sd_metadata={"model_weights": "stable-diffusion-1.5", "model_hash": "cc6cb27103417325ff", "image": image})
    assert (metadata.program, metadata.infotext) == (
        "InvokeAI",
        "a robot\nNegative prompt: blurry, text\nSteps: 50, Sampler: LMS, CFG scale: 7.5, Seed: 1618, Size: 640x512, "
        "Model hash: cc6cb27103, Model: stable-diffusion-1.5",
    )


# --- Fooocus

FOOOCUS = {
    "base_model": "juggernautXL", "base_model_hash": "aeb7e9e689", "full_negative_prompt": ["ugly"],
    "full_prompt": ["cinematic cat", "sharp"], "guidance_scale": 4, "loras": [["sd_xl_offset", 0.1, "4852686128"]],
    "negative_prompt": "", "prompt": "cat",
    "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "6148", "steps": 30,
    "vae": "Default (model)", "version": "Fooocus v2.5.5",
}  # fmt: skip


@pytest.mark.parametrize("scheme", [{}, {"fooocus_scheme": "fooocus"}])
def test_fooocus_own_scheme_is_read(scheme):
    metadata = translated(parameters=FOOOCUS, **scheme)
    assert (metadata.program, metadata.infotext) == (
        "Fooocus",
        "cinematic cat, sharp <lora:sd_xl_offset:0.1>\nNegative prompt: ugly\nSteps: 30, Sampler: DPM++ 2M SDE, Schedule type: Karras, "
        "CFG scale: 4, Seed: 6148, Size: 1152x896, Model hash: aeb7e9e689, Model: juggernautXL, RNG: CPU, Version: Fooocus v2.5.5",
    )
    assert metadata.remarks


def test_older_keys_of_fooocus_are_read():
    facts = {"Prompt": "cat", "Negative Prompt": "ugly", "Guidance Scale": 4, "Steps": 30, "Seed": 1, "Resolution": "1152×896"}
    assert fields(translated(parameters=facts, fooocus_scheme="fooocus")).items() >= {
        "Prompt": "cat", "Negative prompt": "ugly", "CFG scale": "4", "Size-1": "1152", "Size-2": "896",
    }.items()  # fmt: skip


# --- A1111's kin


def test_forge_and_sdnext_texts_are_read_as_they_are():
    forge = (
        "a\nSteps: 20, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 5, Seed: 1, Size: 832x1216, Model hash: ab12, Model: m, "
        "Distilled CFG Scale: 3.5, Module 1: vae, Version: f2.0.1v1.10.1-previous-635-gf5330788"
    )
    pasted = read_paste(translated(parameters=forge))
    assert pasted.request_changes["schedule"] == "Karras"
    assert pasted.unknown == {"Distilled CFG Scale": "3.5", "Module 1": "vae"}
    assert pasted.settings_changes["use_downcasted_alpha_bar"] is False
    sdnext = (
        "a\nNegative prompt: b\nSteps: 20, Size: 512x768, Sampler: Euler a, Seed: 3, CFG scale: 6, CFG rescale: 0.5, Clip skip: 2, "
        "Batch: 2x1, App: SD.Next, Version: 1234567, Pipeline: StableDiffusionPipeline, Operations: txt2img, Model: m, "
        "Variation seed: 4, Variation strength: 0.2, Sampler eta delta: 7, Sampler sigma: karras"
    )
    metadata = translated(parameters=sdnext)
    pasted = read_paste(metadata)
    assert metadata.program == "SD.Next"
    request = GenerationRequest().changed(**pasted.request_changes)
    assert (request.height, request.cfg_rescale, request.subseed_strength, request.schedule) == (768, 0.5, 0.2, "Karras")
    assert Settings().changed(pasted.settings_changes).eta_noise_seed_delta == 7
    assert pasted.unknown.keys() == {"Batch-1", "Batch-2", "Pipeline", "Operations"}


# --- hostile files


def test_too_few_pairs_are_not_taken_for_prompt():
    metadata = translated(invokeai_metadata={"positive_prompt": "a", "steps": 5})
    assert metadata.infotext == "a"


@pytest.mark.parametrize("key", ["prompt", "workflow", "invokeai_metadata", "sd-metadata", "Comment", "parameters"])
@pytest.mark.parametrize("text", ['{"a":' * 50_000, '{"3":{"inputs":' + "[" * 50_000, "{}", '{"image": {}}', '{"nodes": 1, "links": {}}'])
def test_deep_and_empty_json_is_nobodys(key, text):
    assert translate({key: text}) is None


CAPTIONS = {"caption": {"base_caption": "a", "char_captions": [{"char_caption": "b"}]}}
SAMPLES = {
    "Comment": {**NOVELAI, "v4_prompt": CAPTIONS, "v4_negative_prompt": CAPTIONS},
    "invokeai_metadata": {**INVOKEAI, **V4},
    "sd-metadata": {"model_weights": "m", "model_hash": "ab", "image": {"prompt": [{"prompt": "a", "weight": 1}], "steps": 5, "seed": 1}},
    "parameters": FOOOCUS,
}  # fmt: skip
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value, path=()):
    """The path to everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_whatever_stands_in_place_of_a_value_it_is_read_without_failing(data):
    key = data.draw(st.sampled_from(list(SAMPLES)))
    content = json.loads(json.dumps(SAMPLES[key]))
    *path, last = data.draw(st.sampled_from(places(content)[1:]))
    inside = content
    for step in path:
        inside = inside[step]
    inside[last] = data.draw(odd)
    found = translate({key: json.dumps(content), "fooocus_scheme": "fooocus"})
    assert found is None or found.infotext.encode() is not None


def test_a_name_cannot_add_a_field():
    hostile = "m, Steps: 1, Seed: 9, CFG scale: 1"
    found = fields(translated(invokeai_metadata={**INVOKEAI, "model": {"name": hostile}, "scheduler": hostile}))
    assert (found["Model"], found["Sampler"], found["Seed"], found["Steps"]) == (hostile, hostile, "27182", "30")
    assert interpret(found)["Seed"] == "27182"
