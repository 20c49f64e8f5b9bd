import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.core import record
from webui.core.infotext import write_infotext
from webui.core.infotext_apply import Change, preview_changes, read_paste
from webui.core.metadata import PictureMetadata
from webui.core.parameters import parameters_of
from webui.core.record import NamedModel, Record, picture_settings, settings_of_picture
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, SCHEDULES
from webui.core.settings import Settings

REFERENCE = json.loads((Path(__file__).parent / "data" / "infotexts.json").read_text(encoding="utf-8"))
OWN_SCHEDULE = {sampler.label: sampler.schedule for sampler in SAMPLERS}
GALLERY = (
    "a [cat:dog:0.5], (sunny:1.2)\nNegative prompt: bad\nworse\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 42, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned, "
    "Variation seed: 7, Variation seed strength: 0.25, Seed resize from: 384x448, Clip skip: 2, ENSD: 31337, Eta: 0.68, Version: v1.5.1"
)


def paste(text, **finders):
    return read_paste(text, **finders)


def line(*pairs):
    return f"a\nSteps: 20, Seed: 1, CFG scale: 7{''.join(f', {pair}' for pair in pairs)}"


def settings_from(pasted):
    return Settings().changed(pasted.settings_changes)


def test_a_gallery_infotext_becomes_typed_fields():
    pasted = paste(GALLERY)
    assert GenerationRequest().changed(**pasted.request_changes) == GenerationRequest(
        prompt="a [cat:dog:0.5], (sunny:1.2)", negative_prompt="bad\nworse", steps=28, sampler="DPM++ 2M", schedule="Automatic",
        cfg_scale=6.5, seed=42, width=512, height=768, subseed=7, subseed_strength=0.25, seed_resize_from_w=384, seed_resize_from_h=448,
        checkpoint="v1-5-pruned",
    )  # fmt: skip
    assert settings_from(pasted) == Settings(
        CLIP_stop_at_last_layers=2, eta_noise_seed_delta=31337, eta_ancestral=0.68, use_old_scheduling=True, use_downcasted_alpha_bar=True
    )
    assert (pasted.unknown, pasted.remarks) == ({}, ())


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["name"])
def test_a1111s_own_infotexts_ask_for_what_was_asked(case):
    pasted = paste(case["infotexts"][0])
    wire, overrides = case["request"], case["request"]["override_settings"]
    request = GenerationRequest().changed(**pasted.request_changes)
    assert (request.prompt, request.negative_prompt) == (wire["prompt"].strip(), wire["negative_prompt"].strip())
    for name in ("seed", "steps", "cfg_scale", "width", "height", "subseed_strength", "seed_resize_from_w"):
        assert getattr(request, name) == wire.get(name, parameters_of(GenerationRequest)[name].default)
    assert request.sampler == wire["sampler_name"]
    assert request.schedule == ("Automatic" if wire["scheduler"] == OWN_SCHEDULE[request.sampler] else wire["scheduler"])
    changed = settings_from(pasted)
    for name, value in overrides.items():
        if name in picture_settings() and parameters_of(Settings)[name].infotext:
            assert getattr(changed, name) == value
    assert changed.tiling == wire.get("tiling", False)
    assert changed.eta_ancestral == wire.get("eta", 1.0)
    assert not pasted.remarks


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", None, ("DPM++ 2M", "Automatic")),
        ("DPM++ 2M SDE Exponential", None, ("DPM++ 2M SDE", "Automatic")),
        ("DPM++ 2M SDE Karras", None, ("DPM++ 2M SDE", "Karras")),
        ("Euler a", "Karras", ("Euler a", "Karras")),
        ("LMS Karras", "Uniform", ("LMS", "Karras")),
        ("Euler", "sgm_uniform", ("Euler", "SGM Uniform")),
        ("k_euler_a", None, ("Euler a", "Automatic")),
        ("Euler", "Align Your Steps", ("Euler", "Align Your Steps")),
    ],
)
def test_sampler_and_schedule_are_read_in_every_way_of_naming_them(sampler, schedule, expected):
    pasted = paste(line(f"Sampler: {sampler}", *([f"Schedule type: {schedule}"] if schedule else [])))
    assert (pasted.request_changes["sampler"], pasted.request_changes["schedule"]) == expected


def test_text_alone_is_a_prompt():
    assert paste("a cat\nin a hat").request_changes == {"prompt": "a cat\nin a hat", "negative_prompt": ""}
    assert paste("a\nNegative prompt: b").settings_changes == {}


def test_a_piece_of_an_infotext_leaves_other_things_as_they_are():
    pasted = paste(line())
    assert not {"sampler", "width", "height", "checkpoint", "vae", "batch_size", "batch_count"} & pasted.request_changes.keys()
    assert "eta_ancestral" not in pasted.settings_changes
    pasted = paste("a\nClip skip: 2, Sampler: Euler, RNG: CPU")
    assert not {"steps", "cfg_scale", "seed"} & pasted.request_changes.keys()
    assert pasted.request_changes["sampler"] == "Euler"


def test_what_a_whole_infotext_leaves_out_was_off():
    current = GenerationRequest(subseed_strength=0.5, seed_resize_from_w=64, seed_resize_from_h=64, cfg_rescale=0.7, eta=0.3, s_churn=4)
    settings = Settings(eta_ancestral=0.2, tiling=True, s_min_uncond=3, eta_noise_seed_delta=5, uni_pc_order=2)
    pasted = paste(line("Version: v1.10.1"))
    new = current.changed(**pasted.request_changes)
    assert (new.subseed_strength, new.seed_resize_from_w, new.cfg_rescale, new.eta, new.s_churn) == (0.0, 0, 0.0, None, None)
    assert settings.changed(pasted.settings_changes) == Settings(uni_pc_order=2)


@pytest.mark.parametrize(
    ("pair", "names"),
    [
        ("Steps: 0", "steps"),
        ("Steps: many", "steps"),
        ("CFG scale: nan", "cfg_scale"),
        ("Seed: 1.5", "seed"),
        ("Size: 513x512", "width"),
        ("Size: 99999x512", "width"),
        ("Sampler: Nonsense", "Unknown sampler 'Nonsense'"),
        ("Schedule type: Nonsense", "Unknown schedule type 'Nonsense'"),
        ("Clip skip: 99", "CLIP_stop_at_last_layers"),
        ("RNG: DICE", "randn_source"),
        ("Emphasis: Loud", "emphasis"),
        ("Tiling: perhaps", "tiling"),
        ("Variation seed strength: 2", "subseed_strength"),
    ],
)
def test_a_value_that_is_wrong_is_reported_and_not_applied(pair, names):
    key = pair.split(":")[0]
    others = [other for other in ("Steps: 9", "Seed: 8", "CFG scale: 7.5", "Clip skip: 2") if not other.startswith(key)]
    pasted = paste("a\n" + ", ".join([*others, pair]))
    assert [remark for remark in pasted.remarks if names in remark]
    assert names not in pasted.request_changes | pasted.settings_changes
    changed = GenerationRequest().changed(**pasted.request_changes)
    assert key == "Seed" or changed.seed == 8
    assert key == "Clip skip" or settings_from(pasted).CLIP_stop_at_last_layers == 2


def test_pairs_without_meaning_here_are_named():
    pasted = paste(line("Denoising flavour: 1", "Civitai resources: x", "Lora hashes: x", "Version: v1.10.1", "User: me", "TI hashes: y"))
    assert pasted.unknown == {"Denoising flavour": "1", "Civitai resources": "x"}


@pytest.mark.parametrize(
    ("pair", "name", "value"),
    [
        ("Beta scheduler alpha: 0.7", "beta_dist_alpha", 0.7),
        ("Sampler eta delta: 31337", "eta_noise_seed_delta", 31337),
        ("Pad conds: True", "pad_cond_uncond", True),
        ("NGMS: 3.0", "s_min_uncond", 3.0),
        ("Noise Schedule: Zero Terminal SNR", "sd_noise_schedule", "Zero Terminal SNR"),
    ],
)
def test_settings_are_read_by_their_keys_and_other_programs_keys(pair, name, value):
    assert paste(line(pair)).settings_changes[name] == value


def test_sdnexts_variation_strength_is_read():
    changes = paste(line("Variation seed: 5", "Variation strength: 0.3", "App: SD.Next", "Version: 1.2.3")).request_changes
    assert (changes["subseed"], changes["subseed_strength"]) == (5, 0.3)


def test_only_settings_that_make_the_picture_can_be_pasted():
    keys = [one.infotext for one in parameters_of(Settings).values() if one.infotext]
    hostile = [
        "sd_model_checkpoint: x",
        "outdir_samples: /",
        "samples_filename_pattern: [seed]",
        "enable_pnginfo: False",
        "samples_save: 0",
    ]
    pasted = paste(line(*[f"{key}: 1" for key in keys], *hostile))
    allowed = set(picture_settings())
    assert pasted.settings_changes.keys() <= allowed
    assert not {"sd_model_checkpoint", "sd_vae", "directories_filename_pattern", "samples_save", "add_version_to_infotext"} & allowed
    assert {pair.split(":")[0] for pair in hostile} <= pasted.unknown.keys()


def test_a_setting_that_is_not_of_the_picture_is_not_pasted_even_if_it_has_a_key(monkeypatch):
    monkeypatch.setattr(record, "PICTURE_SECTIONS", frozenset({"Optimizations"}))
    assert paste(line("Clip skip: 2", "NGMS: 3", "Version: v1.10.1")).settings_changes.keys() >= {"s_min_uncond"}
    assert "CLIP_stop_at_last_layers" not in paste(line("Clip skip: 2", "NGMS: 3")).settings_changes


# --- files


FILES = {"6ce0161689": "sd15.safetensors [6ce0161689]", "v1-5-pruned": "other.safetensors", "kl-f8": "kl-f8.vae.pt"}


def test_a_checkpoint_is_looked_up_by_hash_before_name():
    assert paste(GALLERY, find_checkpoint=FILES.get).request_changes["checkpoint"] == "sd15.safetensors [6ce0161689]"
    changes = paste(
        line("Model hash: 0", "Model: v1-5-pruned", "VAE: kl-f8"), find_checkpoint=FILES.get, find_vae=FILES.get
    ).request_changes
    assert (changes["checkpoint"], changes["vae"]) == ("other.safetensors", "kl-f8.vae.pt")


def test_a_checkpoint_that_is_not_here_is_named_and_not_asked_for():
    pasted = paste(line("Model hash: 0", "Model: lost", "VAE: gone"), find_checkpoint=FILES.get, find_vae=FILES.get)
    assert not {"checkpoint", "vae"} & pasted.request_changes.keys()
    assert pasted.remarks == (
        "The checkpoint 'lost' is not here; the present one stays.", "The VAE 'gone' is not here; the present one stays.",
    )  # fmt: skip


def test_a_name_that_is_too_long_is_refused():
    pasted = paste(line(f"Model: {'x' * 600}"))
    assert "checkpoint" not in pasted.request_changes
    assert len(pasted.remarks) == 1


# --- a record


def described(request, settings=None, models=(), **others):
    known = Record(request, settings_of_picture(settings or Settings()), models)
    return PictureMetadata(program="webui", infotext="ignored", record=known, **others)


def test_a_record_is_applied_before_the_text():
    request = GenerationRequest(prompt=" a\r\nNegative prompt: x\nSteps: 1, Seed: 2, CFG scale: 3 ", seed=4, eta=0.5, vae="None")
    settings = Settings(comma_padding_backtrack=0, uni_pc_variant="bh2")
    pasted = paste(described(request, settings, remarks=("said",)), find_vae=FILES.get)
    assert GenerationRequest(prompt="old", s_churn=3).changed(**pasted.request_changes) == request
    assert Settings(tiling=True).changed(pasted.settings_changes) == settings
    assert pasted.remarks == ("said",)


def test_a_record_of_one_picture_says_nothing_of_how_many():
    job = GenerationRequest(batch_count=2, batch_size=3, prompts=("a",) * 6)
    pasted = paste(described(GenerationRequest(prompt="a", prompts=("b",))))
    changed = job.changed(**pasted.request_changes)
    assert (changed.images, changed.prompts, changed.prompt) == (6, (), "b")


def test_a_records_checkpoint_is_looked_up_by_hash_before_name():
    request = GenerationRequest(checkpoint="v1-5-pruned")
    renamed = described(request, models=(NamedModel("checkpoint", "x", "6ce0161689"),))
    assert paste(renamed, find_checkpoint=FILES.get).request_changes["checkpoint"] == "sd15.safetensors [6ce0161689]"
    assert paste(described(request), find_checkpoint=FILES.get).request_changes["checkpoint"] == "other.safetensors"


# --- the preview


def test_the_preview_lists_everything_but_the_prompts_that_would_change():
    changes = preview_changes(paste(GALLERY), GenerationRequest(steps=28, vae="v"), Settings(eta_ancestral=0.68, tiling=True))
    assert [(change.name, change.old, change.new, change.kind) for change in changes] == [
        ("cfg_scale", 7.0, 6.5, "request"),
        ("seed", -1, 42, "request"),
        ("height", 512, 768, "request"),
        ("subseed", -1, 7, "request"),
        ("subseed_strength", 0.0, 0.25, "request"),
        ("seed_resize_from_w", 0, 384, "request"),
        ("seed_resize_from_h", 0, 448, "request"),
        ("checkpoint", "", "v1-5-pruned", "model"),
        ("CLIP_stop_at_last_layers", 1, 2, "setting"),
        ("tiling", True, False, "setting"),
        ("eta_noise_seed_delta", 0, 31337, "setting"),
        ("use_old_scheduling", False, True, "setting"),
        ("use_downcasted_alpha_bar", False, True, "setting"),
    ]
    assert changes[0].title == "CFG Scale"


def test_a_paste_of_what_is_there_changes_nothing():
    request = GenerationRequest().changed(**paste(GALLERY).request_changes)
    assert preview_changes(paste(GALLERY), request, settings_from(paste(GALLERY))) == ()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
lines = st.lists(st.tuples(st.sampled_from(sorted({
    *(one.infotext or name for model in (GenerationRequest, Settings) for name, one in parameters_of(model).items()),
    "Size", "Model hash", "Version", "Hypernet", "First pass size", "Seed resize from", "App",
})), texts | st.integers().map(str) | st.floats().map(str)), max_size=12).map(
    lambda pairs: "p\n" + ", ".join(f"{key}: {value}" for key, value in pairs)
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(texts | lines)
def test_pasting_never_fails_and_what_it_gives_is_valid_and_all_in_the_preview(text):
    pasted = paste(text)
    old, old_settings = GenerationRequest(), Settings()
    new, new_settings = old.changed(**pasted.request_changes), old_settings.changed(pasted.settings_changes)
    listed = {change.name for change in preview_changes(pasted, old, old_settings) if isinstance(change, Change)}
    differing = {name for name in GenerationRequest.model_fields if getattr(old, name) != getattr(new, name)}
    differing |= {name for name in Settings.model_fields if getattr(old_settings, name) != getattr(new_settings, name)}
    assert listed == differing - {"prompt", "negative_prompt"}


words = st.lists(st.text("abc猫,:()[]\"' ", min_size=1, max_size=12).map(str.strip).filter(bool), min_size=1, max_size=3).map("\n".join)
requests = st.builds(
    GenerationRequest,
    prompt=words.filter(lambda text: not text.startswith("Negative prompt:")),
    negative_prompt=st.just("") | words,
    steps=st.integers(1, 1000),
    sampler=st.sampled_from([sampler.label for sampler in SAMPLERS]),
    schedule=st.sampled_from([schedule.label for schedule in SCHEDULES]),
    cfg_scale=st.floats(0, 100),
    seed=st.integers(0, 2**63 - 1),
    width=st.integers(8, 1024).map(lambda side: side * 8),
    height=st.integers(8, 1024).map(lambda side: side * 8),
    cfg_rescale=st.floats(0, 1),
    subseed=st.integers(0, 2**63 - 1),
    subseed_strength=st.floats(0.001, 1),
    prompt_template=words,
    negative_template=words,
    checkpoint=words,
    vae=words,
)


@settings(deadline=None, max_examples=40)
@given(requests)
def test_what_a_text_can_say_of_a_request_survives_the_text_alone(request):
    text = write_infotext(
        request, Settings(), model_name=request.checkpoint, model_hash=None, vae_name=request.vae, vae_hash=None, used={}, version="webui 1"
    )
    expected = request.changed(schedule="Automatic") if request.schedule == OWN_SCHEDULE[request.sampler] else request
    assert GenerationRequest().changed(**paste(text).request_changes) == expected


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        (["Denoising strength: 0.6"], {"enable_hr": False, "denoising_strength": 0.6}),
        (
            ["Hires upscale: 1.5", "Hires upscaler: Latent (nearest)"],
            {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent (nearest)"},
        ),
        (["Hires resize: 768x0"], {"enable_hr": True, "hr_resize_x": 768, "hr_resize_y": 0}),
        (["Hires upscale: 2", "Hires sampler: Heun", "Hires schedule type: Karras"], {"hr_sampler": "Heun", "hr_schedule": "Karras"}),
        (["Hires upscale: 2", "Hires sampler: Use same sampler"], {"hr_sampler": "", "hr_schedule": ""}),
        (["Hires upscale: 2", 'Hires prompt: "x, y"', "Hires steps: 7"], {"hr_prompt": "x, y", "hr_second_pass_steps": 7}),
        (["Mask blur: 6", "Inpaint area: Only masked"], {"mask_blur_x": 6, "mask_blur_y": 6, "inpaint_area": "Only masked"}),
    ],
)
def test_a_second_pass_and_a_mask_are_read(pairs, wanted):
    changes = paste(line(*pairs)).request_changes
    assert {name: changes[name] for name in wanted} == wanted
