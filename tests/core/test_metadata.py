import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webui.core.errors import InvalidRequest
from webui.core.exif import write_exif
from webui.core.images import SAVED_AS, encode_picture, encode_png, read_png_texts
from webui.core.infotext import write_infotext
from webui.core.infotext_apply import preview_changes, read_paste
from webui.core.metadata import read
from webui.core.record import NamedModel, picture_settings, settings_of_picture, write_record
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, SCHEDULES
from webui.core.settings import Settings

RED = Image.new("RGB", (8, 8), (200, 10, 10))
LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b"


def texts_of(request, settings, model="m", used=()):
    infotext = write_infotext(
        request, settings, model_name=model, model_hash=None, vae_name=None, vae_hash=None, used=dict(used), version="webui 1"
    )
    models = [NamedModel("checkpoint", model)]
    return infotext, write_record(request, settings_of_picture(settings), models, infotext=infotext, version="webui 1")


def picture(request, settings=None, suffix="png", **changes):
    infotext, record = texts_of(request, settings or Settings())
    return encode_picture(RED, suffix, **{"infotext": infotext, "record": record, **changes}).data


# --- the round trip

HOSTILE = (
    "x, CFG scale: 1, y", 'x", Steps: 1, y: "', "a\nNegative prompt: b\nSteps: 1, Seed: 2, CFG scale: 3", "Negative prompt: n",
    " a \n\n b ", "Steps: 1, Sampler: DDIM, Seed: 3, Version: v1.0.0", "\r\n", "\u2028\x85", "猫 🐈\u200f", "{a|b}__c__",
    "<lora:x:1>", "[a:b:0.5]", "\ufeff", "\ufffe\u0100", "\x7f\x01", "webui\x1f", "é\xad",
)  # fmt: skip
prompts = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
maybe = st.none() | st.floats(0, 2)
requests = st.builds(
    GenerationRequest,
    prompt=prompts,
    negative_prompt=prompts,
    prompt_template=prompts,
    negative_template=prompts,
    steps=st.integers(1, 1000),
    sampler=st.sampled_from([sampler.label for sampler in SAMPLERS]),
    schedule=st.sampled_from([schedule.label for schedule in SCHEDULES]),
    cfg_scale=st.floats(0, 100),
    seed=st.just(-1) | st.integers(-1, 2**63 - 1),
    subseed=st.just(-1) | st.integers(-1, 2**63 - 1),
    subseed_strength=st.just(0.0) | st.floats(0, 1),
    seed_resize_from_w=st.integers(0, 8192),
    seed_resize_from_h=st.integers(0, 8192),
    width=st.integers(8, 1024).map(lambda side: side * 8),
    height=st.integers(8, 1024).map(lambda side: side * 8),
    cfg_rescale=st.floats(0, 1),
    eta=maybe,
    s_churn=maybe,
    s_tmin=maybe,
    s_tmax=maybe,
    s_noise=maybe,
    s_min_uncond=maybe,
    checkpoint=prompts,
    vae=prompts,
)
overrides = st.fixed_dictionaries({}, optional={
    "CLIP_stop_at_last_layers": st.integers(1, 12),
    "randn_source": st.sampled_from(["GPU", "CPU", "NV"]),
    "emphasis": st.sampled_from(["None", "Ignore", "Original", "No norm"]),
    "eta_noise_seed_delta": st.integers(0, 2**40),
    "eta_ancestral": st.floats(0, 1),
    "rho": st.floats(0, 100),
    "tiling": st.booleans(),
    "uni_pc_order": st.integers(1, 50),
    "use_old_scheduling": st.booleans(),
})  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(requests, overrides, prompts, st.sampled_from(sorted(SAVED_AS)))
def test_request_to_file_to_request_is_the_identity(request, changed, model, suffix):
    wanted = Settings().changed(changed)
    infotext, record = texts_of(request, wanted, model, used=[("Lora hashes", model), ("TI hashes", "a: b, c: d")])
    metadata = read(encode_picture(RED, suffix, infotext=infotext, record=record).data)
    assert (metadata.program, metadata.infotext, metadata.remarks) == ("webui", infotext, ())
    pasted = read_paste(metadata)
    assert GenerationRequest().changed(**pasted.request_changes) == request
    assert Settings().changed(pasted.settings_changes) == wanted
    assert (pasted.remarks, pasted.unknown) == ((), {})


def test_settings_of_the_one_who_pastes_do_not_show_through():
    own = Settings(CLIP_stop_at_last_layers=3, s_noise=1.5, tiling=True, comma_padding_backtrack=0)
    pasted = read_paste(read(picture(GenerationRequest(prompt="a"))))
    assert {change.name for change in preview_changes(pasted, GenerationRequest(), own)} == {
        "CLIP_stop_at_last_layers", "s_noise", "tiling", "comma_padding_backtrack",
    }  # fmt: skip
    assert all(getattr(own.changed(pasted.settings_changes), name) == getattr(Settings(), name) for name in picture_settings())


# --- record and text


@pytest.mark.parametrize("suffix", sorted(SAVED_AS))
def test_a_text_that_was_edited_wins_over_the_record(suffix):
    _, record = texts_of(GenerationRequest(prompt="a", seed=1), Settings())
    metadata = read(encode_picture(RED, suffix, infotext=f"edited\n{LINE}", record=record).data)
    assert metadata.record is None
    assert metadata.infotext == f"edited\n{LINE}"
    assert len(metadata.remarks) == 1
    assert "edited" in metadata.remarks[0]
    assert read_paste(metadata).request_changes["prompt"] == "edited"
    assert read_paste(metadata).remarks == metadata.remarks


def test_a_record_alone_is_enough():
    metadata = read(picture(GenerationRequest(prompt="a", seed=5), infotext=""))
    assert metadata.program == "webui"
    assert metadata.record.request.seed == 5


@pytest.mark.parametrize("record", ["{", '{"schema": 99}', "[" * 100_000])
def test_a_record_that_cannot_be_read_leaves_the_text(record):
    metadata = read(picture(GenerationRequest(prompt="a", seed=5), record=record))
    assert metadata.record is None
    assert (metadata.program, read_paste(metadata).request_changes["seed"]) == ("webui", 5)
    assert len(metadata.remarks) == 1


# --- whose picture


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"a\n{LINE}", "A1111"),
        (f"a\n{LINE}, Version: v1.10.1", "A1111"),
        (f"a\n{LINE}, Version: webui 0.1.0", "webui"),
        (f"a\n{LINE}, Version: f2.0.1v1.10.1-previous-635-gf5330788", "Forge"),
        (f"a\n{LINE}, Version: neo", "Forge"),
        (f"a\n{LINE}, App: SD.Next, Version: 45dee52b", "SD.Next"),
        (f"a\n{LINE}, Version: ComfyUI", "ComfyUI"),
        (f"a\n{LINE}, Version: Fooocus v2.5.5", "Fooocus"),
        ("a photograph", ""),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_program_is_told_by_what_it_wrote(text, program, suffix):
    metadata = read(encode_picture(RED, suffix, infotext=text).data)
    assert (metadata.program, metadata.infotext, metadata.record, metadata.remarks) == (program, text, None, ())


def test_other_texts_are_kept_as_items():
    metadata = read(encode_png(RED, {"parameters": f"a\n{LINE}", "postprocessing": "Upscale: 2", "webui": "{}"}))
    assert metadata.items == {"postprocessing": "Upscale: 2"}


def test_a_gifs_comment_is_its_infotext():
    buffer = io.BytesIO()
    RED.save(buffer, "GIF", comment=f"a\n{LINE}")
    metadata = read(buffer.getvalue())
    assert (metadata.program, metadata.infotext) == ("A1111", f"a\n{LINE}")


def test_a_picture_without_texts_says_nothing():
    metadata = read(encode_picture(RED, "png").data)
    assert (metadata.program, metadata.infotext, metadata.items, metadata.remarks) == ("", "", {}, ())
    assert read_paste(metadata).request_changes == {"prompt": "", "negative_prompt": ""}


def test_what_is_no_picture_is_refused():
    with pytest.raises(InvalidRequest):
        read(b"Steps: 20")


def test_a1111s_text_is_read_before_a_workflow_that_is_left_over():
    data = encode_png(
        RED, {"parameters": f"a\n{LINE}", "prompt": '{"3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2, "cfg": 3}}}'}
    )
    assert (read(data).program, read(data).infotext) == ("A1111", f"a\n{LINE}")


WORDS = ("inputs", "class_type", "image", "model", "prompt", "uc", "loras", "3", "nodes", "links", "sampler", "id", "caption", "v4_prompt")
json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["KSampler", "positive", "3", "k_euler"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
KEYS = ("parameters", "webui", "prompt", "workflow", "Comment", "Software", "invokeai_metadata", "sd-metadata", "fooocus_scheme", "comment")


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYS), st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | json_texts.map(json.dumps)))
def test_no_text_in_a_picture_can_make_reading_or_pasting_fail(texts):
    metadata = read(encode_png(RED, {key: text.replace("\0", "") for key, text in texts.items()}))
    GenerationRequest().changed(**read_paste(metadata).request_changes)


def test_exif_and_chunks_are_read_together():
    buffer = io.BytesIO()
    RED.save(buffer, "PNG", exif=write_exif(f"of EXIF\n{LINE}"))
    assert read(buffer.getvalue()).infotext == f"of EXIF\n{LINE}"
    assert read_png_texts(buffer.getvalue()) == {}
