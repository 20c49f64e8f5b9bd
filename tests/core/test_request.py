import gc
import math
import pickle
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.parameters import parameters_of
from webui.core.request import SEED_LIMIT, GenerationRequest, read_request
from webui.core.samplers import SAMPLERS, SCHEDULES
from webui.core.settings import Settings

requests = st.builds(
    GenerationRequest,
    prompt=st.text(max_size=50),
    negative_prompt=st.text(max_size=50),
    steps=st.integers(1, 1000),
    sampler=st.sampled_from([sampler.label for sampler in SAMPLERS]),
    schedule=st.sampled_from([schedule.label for schedule in SCHEDULES]),
    cfg_scale=st.floats(0, 100),
    seed=st.integers(-1, 2**63 - 1),
    width=st.integers(8, 1024).map(lambda number: number * 8),
    height=st.integers(8, 1024).map(lambda number: number * 8),
    batch_count=st.integers(1, 1000),
    batch_size=st.integers(1, 64),
    checkpoint=st.text(max_size=20),
    vae=st.text(max_size=20),
)


@settings(deadline=None)
@given(requests)
def test_a_request_survives_json(request):
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request


@settings(deadline=None)
@given(requests)
def test_a_request_survives_pickling(request):
    assert pickle.loads(pickle.dumps(request)) == request


def test_a_request_cannot_be_altered():
    with pytest.raises(ValueError, match="frozen"):
        GenerationRequest().steps = 3


def test_names_are_accepted_by_alias_and_kept_by_label():
    request = GenerationRequest(sampler="k_euler_a", schedule="KARRAS")
    assert (request.sampler, request.schedule) == ("Euler a", "Karras")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"steps": 0}, "steps: got 0; input should be greater than or equal to 1"),
        ({"steps": 1001}, "1000"),
        ({"steps": "many"}, "steps: got 'many'"),
        ({"width": 65}, "width: got 65; input should be a multiple of 8"),
        ({"width": 56}, "width"),
        ({"height": 8200}, "height"),
        ({"cfg_scale": math.nan}, "cfg_scale: got nan"),
        ({"cfg_scale": math.inf}, "cfg_scale: got inf"),
        ({"seed": -2}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"batch_size": 10**9}, "batch_size"),
        ({"batch_count": 10**9}, "batch_count"),
        ({"prompt": "x" * 100_001}, "prompt"),
        ({"prompt": None}, "prompt: got None"),
        ({"checkpoint": "x" * 513}, "checkpoint"),
        ({"outdir": "/etc"}, "outdir: got '/etc'; extra inputs are not permitted"),
    ],
)
def test_a_value_outside_the_rules_is_refused_with_value_and_rule(values, told):
    with pytest.raises(InvalidRequest) as raised:
        read_request(values)
    assert told in str(raised.value)
    assert len(str(raised.value)) < 300


def test_an_unknown_sampler_alone_is_an_unknown_name():
    with pytest.raises(UnknownName, match=r"Unknown sampler 'DPM 2M'\. Did you mean 'DPM\+\+ 2M'"):
        read_request({"sampler": "DPM 2M"})


def test_all_faults_are_told_at_once():
    with pytest.raises(InvalidRequest) as raised:
        read_request({"sampler": "magic", "schedule": "karrass", "steps": 0})
    assert "Unknown sampler 'magic'" in str(raised.value)
    assert "Did you mean 'Karras'" in str(raised.value)
    assert "steps: got 0" in str(raised.value)


def test_nul_is_taken_out_of_texts():
    request = GenerationRequest(prompt="a\0b", checkpoint="\0c")
    assert (request.prompt, request.checkpoint) == ("ab", "c")


@pytest.mark.parametrize("text", ["a\ud800b", "\udcff"])
def test_text_that_cannot_be_stored_is_refused_in_words_that_can(text):
    with pytest.raises(InvalidRequest, match="prompt: got") as raised:
        read_request({"prompt": text})
    assert str(raised.value).encode("utf-8")


def test_a_changed_copy_is_validated():
    request = GenerationRequest(prompt="a")
    assert request.changed(steps=3).steps == 3
    assert request.steps == 20
    with pytest.raises(InvalidRequest, match="steps"):
        request.changed(steps=0)
    with pytest.raises(InvalidRequest, match="stepps"):
        request.changed(stepps=1)


def test_a_real_seed_is_drawn_only_where_there_is_none():
    assert GenerationRequest(seed=5).with_real_seed().seed == 5
    drawn = {GenerationRequest().with_real_seed().seed for _ in range(20)}
    assert len(drawn) > 15
    assert all(0 <= seed < SEED_LIMIT for seed in drawn)


def test_each_picture_of_a_job_has_a_request_of_its_own():
    request = GenerationRequest(seed=10, batch_count=3, batch_size=2, prompt="a")
    assert request.images == 6
    assert request.of_image(5) == GenerationRequest(seed=15, prompt="a")
    assert request.of_image(5).images == 1


def test_seeds_at_the_end_begin_again():
    assert GenerationRequest(seed=2**63 - 1).of_image(1).seed == 0


def test_every_parameter_has_a_title_a_help_and_a_default_that_is_allowed():
    for name, declared in parameters_of(GenerationRequest).items():
        assert declared.title, name
        assert declared.help.endswith("."), name
    assert GenerationRequest() == read_request({})


@pytest.mark.parametrize("seed", ["", "  "])
def test_an_empty_seed_is_a_random_one(seed):
    assert read_request({"seed": seed}).seed == -1


@pytest.mark.parametrize(
    "ask",
    [
        lambda: read_request({"sampler": "no"}), lambda: read_request({"steps": -1}), lambda: read_request({"sampler": "no", "steps": -1}),
        lambda: GenerationRequest().changed(schedule="no"), lambda: Settings().changed({"img2img_background_color": "no"}),
    ],
)  # fmt: skip
def test_a_refused_request_leaves_nothing_in_memory(ask: Callable[[], object]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        ask()
    left = weakref.ref(raised.value)
    del raised
    gc.collect()
    assert left() is None
