"""A job as a script's methods see it, and scripts of A1111's shape outside a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plugins.folders import install
from webui.core.errors import InvalidRequest
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.plugins.host import Host
from webui.plugins.script import Processing, Script

REQUEST = GenerationRequest(prompt="a cat", seed=5, batch_count=2, batch_size=2, steps=9)


def processing(**changes: Any) -> Processing:
    return Processing(REQUEST.changed(**changes), Settings())


def test_every_parameter_is_an_attribute_also_under_a1111s_name() -> None:
    p = processing()
    assert (p.prompt, p.steps, p.n_iter, p.batch_count, p.sampler_name) == ("a cat", 9, 2, 2, REQUEST.sampler)
    p.n_iter = 3
    p.prompt += ", drawn"
    assert (p.request.batch_count, p.request.prompt, REQUEST.prompt) == (3, "a cat, drawn", "a cat")


def test_what_is_no_parameter_cannot_be_kept_on_it() -> None:
    p = processing()
    with pytest.raises(AttributeError, match="no parameter 'my_state'"):
        p.my_state = 1
    with pytest.raises(AttributeError, match="no parameter 'sd_model'"):
        _ = p.sd_model


def test_a_value_against_the_rules_is_refused_when_the_job_is_read() -> None:
    p = processing()
    p.steps = 10**9
    with pytest.raises(InvalidRequest, match="steps: got 1000000000"):
        _ = p.request


def test_prompts_and_seeds_are_there_for_each_picture() -> None:
    p = processing()
    assert (p.all_prompts, p.all_seeds, p.all_negative_prompts) == (["a cat"] * 4, [5, 6, 7, 8], [""] * 4)
    p.all_prompts = [f"cat {seed}" for seed in p.all_seeds]
    assert p.request.of_image(2).prompt == "cat 7"
    assert processing(prompts=["a", "b", "c", "d"]).all_prompts == ["a", "b", "c", "d"]


def test_pairs_are_kept_as_texts_and_an_unchanged_job_is_the_same_object() -> None:
    p = processing()
    assert p.request is p.request
    p.extra_generation_params["Number"] = 3
    assert p.request.extension_pairs == {"Number": "3"}


ADDING = """
from webui.plugins.script import Script
class Adding(Script):
    def title(self): return "Adding"
    def show(self, is_img2img): return {shown}
    def {method}(self, p): {code}
@hookimpl
def register_scripts(): return [Adding()]
"""


def loaded(folder: Path) -> Host:
    host = Host(folder)
    host.load()
    assert [extension.error for extension in host.extensions()] == [None]
    return host


@pytest.mark.parametrize("method", ["setup", "before_process", "process"])
def test_a_job_made_invalid_is_refused_with_the_extensions_name(tmp_path: Path, method: str) -> None:
    install(
        tmp_path, "adding", ADDING.format(shown="AlwaysVisible", method=method, code="p.width = -1").replace("import Script", "import *")
    )
    host = loaded(tmp_path)
    with pytest.raises(InvalidRequest, match=rf"Extension 'adding' made the request invalid in {method}. width: got -1"):
        host.settle(host.begin(REQUEST, Settings()), Settings())


def test_all_stations_before_the_queue_come_in_a1111s_order(tmp_path: Path) -> None:
    for name in ("a", "b"):
        code = ADDING.format(shown="AlwaysVisible", method="setup", code="p.prompt += ' setup'").replace("import Script", "import *")
        for method in ("before_process", "process"):
            code = code.replace("@hookimpl", f"    def {method}(self, p): p.prompt += ' {method}'\n@hookimpl")
        install(tmp_path, name, code.replace('"Adding"', f'"Adding {name}"').replace("+= ' ", f"+= ' {name}-"))
    host = Host(tmp_path)
    host.load()
    begun = host.begin(REQUEST.changed(prompt=""), Settings())
    settled = host.settle(host.change_request(begun), Settings())
    assert settled.prompt.split() == ["a-setup", "b-setup", "a-before_process", "b-before_process", "a-process", "b-process"]
    again = host.settle(host.change_request(host.begin(settled, Settings())), Settings())
    assert again == settled


@pytest.mark.parametrize(
    ("shown", "acts"), [("AlwaysVisible if is_img2img else False", False), ("False if is_img2img else AlwaysVisible", True)]
)
def test_a_script_acts_where_it_is_shown(tmp_path: Path, shown: str, acts: bool) -> None:
    code = ADDING.format(shown=shown, method="process", code="p.prompt = 'changed'").replace("import Script", "import *")
    install(tmp_path, "adding", code)
    assert (loaded(tmp_path).settle(REQUEST, Settings()).prompt == "changed") is acts


def test_the_empty_methods_do_nothing() -> None:
    script, p = Script(), processing()
    for method in ("setup", "before_process", "process"):
        assert getattr(script, method)(p) is None
    with pytest.raises(NotImplementedError, match="needs a title"):
        script.title()
    (draw,) = script.run(p)
    assert draw.request == REQUEST
