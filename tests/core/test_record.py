import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.core.record import (
    MAX_NAMED,
    MAX_RECORD,
    SCHEMA,
    NamedModel,
    picture_settings,
    read_record,
    settings_of_picture,
    storable,
    write_record,
)
from webui.core.request import GenerationRequest
from webui.core.settings import Settings

REQUEST = GenerationRequest(prompt="a", seed=5)


def written(request=REQUEST, settings=None, models=(), infotext="a\nSteps: 20", **others):
    return write_record(request, settings_of_picture(settings or Settings()), models, infotext=infotext, version="webui 1", **others)


def changed(**changes):
    return json.dumps({**json.loads(written()), **changes})


def test_a_record_is_read_as_it_was_written():
    models = (NamedModel("checkpoint", 'x, CFG scale: 1, "y"', "0123abcd"), NamedModel("lora", "猫"))
    found = read_record(written(REQUEST, Settings(s_churn=3, tiling=True), models, device="NVIDIA H200"))
    assert found.remarks == ()
    assert found.record.request == REQUEST
    assert found.record.settings == settings_of_picture(Settings(s_churn=3, tiling=True))
    assert (found.record.models, found.record.version, found.record.device) == (models, "webui 1", "NVIDIA H200")
    assert (found.record.model("lora"), found.record.model("vae")) == (models[1], None)


def test_a_record_describes_the_infotext_beside_it_and_no_other():
    record = read_record(written(infotext="one, 猫")).record
    assert record.describes("one, 猫")
    assert not record.describes("one, 猫 ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ('{"schema":' + "[" * 200_000, "is not JSON"),
        ("9" * 5000, "is not JSON"),
        ("[]", "schema 1"),
        ("null", "schema 1"),
        ("{}", "schema 1"),
        (changed(schema=SCHEMA + 1), "schema 1"),
        (changed(schema="1"), "schema 1"),
        (changed(request=None), "request"),
        (changed(request={"steps": 0}), "steps: got 0"),
        (changed(request={"sampler": "Nonsense"}), "Unknown sampler 'Nonsense'"),
        (changed(request={"unheard_of": 1}), "unheard_of"),
        (changed(request={"prompt": "\ud800"}), "prompt"),
        (changed(request={"prompt": "x" * 100_001}), "prompt"),
        (changed(settings=[]), "settings"),
        (changed(models=[{"kind": "weapon", "name": "x"}]), "kind"),
        (changed(models=[{"kind": "lora", "name": "x" * 2000}]), "name"),
        (changed(models=[{"kind": "lora", "name": "x", "hash": "<script>"}]), "hash"),
        (changed(models=[{"kind": "lora", "name": "x"}] * 1001), "models"),
        (changed(infotext_sha256="x"), "infotext_sha256"),
        (changed(version="x" * 201), "version"),
        ("x" * (MAX_RECORD + 1), "at most"),
    ],
)
def test_a_record_that_cannot_be_used_is_none_with_the_reason(text, reason):
    found = read_record(text)
    assert found.record is None
    assert len(found.remarks) == 1
    assert reason in found.remarks[0]
    assert len(found.remarks[0]) < 600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sd_model_checkpoint", "x"),
        ("sd_vae", "x"),
        ("samples_filename_pattern", "[seed]"),
        ("samples_save", False),
        ("unheard_of", 1),
        ("tiling", "perhaps"),
        ("s_churn", -1),
        ("randn_source", "DICE"),
    ],
)
def test_a_setting_that_no_picture_may_set_is_left_out_and_named(name, value):
    content = json.loads(written(settings=Settings(rho=5)))
    content["settings"][name] = value
    found = read_record(json.dumps(content))
    assert found.record.request == REQUEST
    assert found.record.settings["rho"] == 5
    assert name not in found.record.settings
    assert len(found.remarks) == 1
    assert name in found.remarks[0]


def test_every_setting_that_makes_the_picture_is_kept():
    names = picture_settings()
    assert {"CLIP_stop_at_last_layers", "randn_source", "s_noise", "pad_cond_uncond", "use_old_scheduling"} <= set(names)
    assert json.loads(written())["settings"].keys() == set(names)


def test_what_no_file_can_hold_is_replaced():
    text = written(models=[NamedModel("lora", "x\ud800")], infotext="\ud800")
    assert text.encode()
    assert read_record(text).record.model("lora").name == "x?"
    assert read_record(text).record.describes(storable("\ud800"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SHAPE = json.loads(written())


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from([*SHAPE, "other"]), json_values, max_size=4), st.text(max_size=20))
def test_reading_never_fails(changes, text):
    found = read_record(json.dumps({**SHAPE, **changes}))
    assert found.record or found.remarks
    read_record(text)


def test_a_record_of_thousands_of_settings_is_read_in_a_moment():
    started = time.process_time()
    found = read_record(changed(settings={f"x{number}": number for number in range(100_000)}))
    assert time.process_time() - started < 10
    assert len(found.remarks) == MAX_NAMED
