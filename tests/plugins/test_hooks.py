"""The hooks outside the engine, each by what it changes; and that every hook has a test, a section in the docs, and a caller."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fake_engine import FakeEngine
from tests.plugins.folders import install
from webui.app import App, Job
from webui.core.errors import UnknownName
from webui.core.events import Failed, Finished
from webui.core.paths import PROGRAM, Paths
from webui.core.request import GenerationRequest
from webui.plugins import hookspecs
from webui.plugins.host import Host
from webui.plugins.scripts.xyz_axes import all_axes

SMALL = {"prompt": "a cat", "seed": 7, "steps": 2, "width": 64, "height": 64}
NOTE = """
import pathlib
NOTES = pathlib.Path(__file__).parent / "notes.txt"
def note(*words):
    with NOTES.open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
"""


@pytest.fixture
def opened(paths: Paths) -> Iterator[Any]:
    apps: list[App] = []

    def start(**options: Any) -> App:
        app = App(paths, engine=FakeEngine(), hashing=False, **options)
        apps.append(app)
        app.start()
        return app

    yield start
    for app in apps:
        app.close()


def ended(app: App, **wishes: Any) -> Job:
    job = app.submit(GenerationRequest(**{**SMALL, **wishes}))
    assert isinstance(job.wait(20), Finished), job.log.latest(Failed)
    return job


def notes(paths: Paths, name: str = "noting") -> list[str]:
    file = paths.extensions / name / "notes.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_hook_startup_and_hook_shutdown_are_called_once_around_everything(paths: Paths, opened: Any) -> None:
    code = NOTE + "@hookimpl\ndef startup(app):\n    note('up', app.paths.extensions.name)\n@hookimpl\ndef shutdown():\n    note('down')\n"
    install(paths.extensions, "noting", code)
    install(paths.extensions, "bad", "@hookimpl\ndef startup():\n    1 / 0\n@hookimpl\ndef shutdown():\n    1 / 0\n")
    app = opened()
    assert notes(paths) == ["up extensions"]
    assert [extension.enabled for extension in app.host.extensions()] == [True, True]
    app.close()
    assert notes(paths) == ["up extensions", "down"]


def test_hook_before_job_hears_of_a_job_that_begins(paths: Paths, opened: Any) -> None:
    install(paths.extensions, "noting", NOTE + "@hookimpl\ndef before_job(job_id, request):\n    note(job_id, request.prompt)\n")
    job = ended(opened())
    assert notes(paths) == [f"{job.id} a cat"]


def test_hook_image_saved_and_hook_job_finished_hear_of_files_and_results(paths: Paths, opened: Any) -> None:
    code = "@hookimpl\ndef image_saved(picture):\n    note(picture.path.is_file(), picture.index)\n"
    code += "@hookimpl\ndef job_finished(job_id, result):\n    note(job_id, len(result.pictures))\n"
    install(paths.extensions, "noting", NOTE + code)
    app = opened()
    job = ended(app, batch_count=2)
    app.close()
    assert notes(paths) == ["True 0", "True 1", f"{job.id} 2"]


def test_hook_after_image_gives_another_picture(paths: Paths, opened: Any) -> None:
    code = "@hookimpl\ndef after_image(image, index):\n    return image.convert('L').convert('RGB') if index else None\n"
    install(paths.extensions, "grey", code)
    first, second = ended(opened(), batch_count=2, seed=3).pictures
    with Image.open(first.path) as coloured, Image.open(second.path) as grey:
        assert len(set(coloured.convert("RGB").getpixel((5, 5)))) > 1  # type: ignore[arg-type]
        assert len(set(grey.convert("RGB").getpixel((5, 5)))) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", ["1", "'picture'", "image.tobytes()"])
def test_an_answer_that_is_no_picture_fails_the_job(paths: Paths, opened: Any, answer: str) -> None:
    install(paths.extensions, "odd", f"@hookimpl\ndef after_image(image):\n    return {answer}\n")
    end = opened().submit(GenerationRequest(**SMALL)).wait(20)
    assert isinstance(end, Failed)
    assert end.message.startswith("Extension 'odd' gave a ")


def test_hook_infotext_written_adds_pairs_that_cannot_be_mistaken_for_others(paths: Paths, opened: Any) -> None:
    code = "@hookimpl\ndef infotext_written(pairs, request, index):\n    return {'Mood': 'calm, Steps: 99', 'Number': index}\n"
    install(paths.extensions, "moods", code)
    app = opened()
    infotext = ended(app).pictures[0].infotext
    assert 'Mood: "calm, Steps: 99"' in infotext
    assert "Number: 0" in infotext
    assert app.read_paste(infotext).request_changes["steps"] == 2


def test_hook_infotext_pasted_adds_parameters_and_a_bad_one_is_left_out_and_told(paths: Paths, opened: Any) -> None:
    install(
        paths.extensions,
        "moods",
        "@hookimpl\ndef infotext_pasted(infotext, changes):\n    return {'cfg_scale': 3} if 'Mood: calm' in infotext else None\n",
    )
    install(paths.extensions, "worse", "@hookimpl\ndef infotext_pasted():\n    return {'steps': -1}\n")
    install(paths.extensions, "worst", "@hookimpl\ndef infotext_pasted():\n    1 / 0\n")
    pasted = opened().read_paste("a cat\nSteps: 5, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Mood: calm")
    assert (pasted.request_changes["cfg_scale"], pasted.request_changes["steps"]) == (3.0, 5)
    told = " ".join(pasted.remarks)
    assert "Extension 'worse' refused the request: steps: got -1" in told
    assert "Extension 'worst' failed in infotext_pasted: ZeroDivisionError" in told


def test_hook_register_scripts_adds_scripts_of_both_kinds(paths: Paths, opened: Any) -> None:
    code = """
from webui.core.scripts import Draw, Plan, Script, ScriptArguments
from webui.plugins import script

class Ours(Script[ScriptArguments]):
    title, arguments = "Ours", ScriptArguments
    def plan(self, request, arguments, desk):
        return Plan(1, 1, 1)
    def run(self, request, arguments, desk):
        yield Draw(request.without_script().changed(prompt="by ours"))

class Shaped(script.Script):
    def title(self):
        return "Shaped"

@hookimpl
def register_scripts():
    return [Ours(), Shaped()]
"""
    install(paths.extensions, "both", code)
    app = opened()
    assert [one.title for one in app.host.always_on()] == ["Shaped"]
    assert "Ours" in [script.title for script in app.scripts]
    assert ended(app, script="ours").pictures[0].request.prompt == "by ours"


SCRIPT = "from webui.plugins.script import Script\nclass S(Script):\n    def title(self): return {title!r}\n"
GIVEN = "\n@hookimpl\ndef register_scripts(): return [S()]"
LISTED = "    def show(self, is_img2img): return True"
SETTING = "from webui.core.parameters import parameter\n"
POINTS = "from webui.core.extension_points import NewSampler\n"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("@hookimpl\ndef register_scripts(): return [1]", "1 is no script"),
        ("@hookimpl\ndef register_scripts(): return 7", "return a list of script objects"),
        (SCRIPT.format(title="X/Y/Z plot") + LISTED + GIVEN, "a script 'X/Y/Z plot' already"),
        (SCRIPT.format(title="") + GIVEN, "a script's title is ''"),
        (SCRIPT.format(title="S") + "    def ui(self, is_img2img): return {'a': 3}" + GIVEN, "'a': 3 is no parameter"),
        (SCRIPT.format(title="S") + "    def ui(self, is_img2img): 1 / 0" + GIVEN, "ZeroDivisionError"),
        (SETTING + "@hookimpl\ndef register_settings(): return {'sd_vae': parameter('', title='', help='')}", "a setting 'sd_vae' already"),
        ("@hookimpl\ndef register_samplers(): return ['Euler']", "'Euler' is no NewSampler"),
        (POINTS + "@hookimpl\ndef register_samplers(): return [NewSampler('a @ b', print)]", "give one without '@'"),
        ("@hookimpl\ndef register_prompt_syntax(): return {'lora': print}", "a kind of tag 'lora' already"),
        ("@hookimpl\ndef register_extra_network_kinds(): return {'two words': print}", "give a function for a kind of one word"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_disables_the_extension_and_says_why(tmp_path: Path, code: str, says: str) -> None:
    install(tmp_path, "bad", code)
    install(tmp_path, "good", "@hookimpl\ndef change_request(request): return request.changed(prompt='good')")
    host = Host(tmp_path)
    host.load()
    bad, good = host.extensions()
    assert (bad.enabled, good.enabled) == (False, True)
    assert says in (bad.error or "")
    assert [one.extension for one in host.additions()] == ["good"]
    assert host.change_request(GenerationRequest()).prompt == "good"


def test_the_later_of_two_with_one_title_is_disabled_and_the_other_goes_on(tmp_path: Path) -> None:
    for name in ("a", "b"):
        install(tmp_path, name, SCRIPT.format(title="Same") + "@hookimpl\ndef register_scripts(): return [S()]")
    host = Host(tmp_path)
    host.load()
    assert [extension.enabled for extension in host.extensions()] == [True, False]
    assert [one.extension for one in host.always_on()] == ["a"]


def test_a_slow_hook_is_reported_with_its_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(tmp_path, "lazy", "import time\n@hookimpl\ndef change_request():\n    time.sleep(0.06)\n")
    install(tmp_path, "quick", "@hookimpl\ndef change_request():\n    pass\n")
    host = Host(tmp_path, slow_seconds=0.05)
    host.load()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        host.change_request(GenerationRequest())
    assert re.search(r"Extension 'lazy' took \d+\.\d s in change_request", caplog.text)
    assert "lazy" not in caplog.text.replace("'lazy' took", "")


def test_an_extension_of_files_alone_is_enabled(tmp_path: Path) -> None:
    (tmp_path / "looks" / "javascript").mkdir(parents=True)
    (tmp_path / "looks" / "javascript" / "a.js").write_text("")
    host = Host(tmp_path)
    host.load()
    assert [extension.enabled for extension in host.extensions()] == [True]
    assert [(one.extension, one.scripts) for one in host.assets()] == [("looks", ("javascript/a.js",))]


def test_safe_mode_serves_no_files_and_adds_nothing(paths: Paths, opened: Any) -> None:
    install(paths.extensions, "looks", SCRIPT.format(title="S") + "@hookimpl\ndef register_scripts(): return [S()]", style_dot_css="a {}")
    app = opened(safe_mode=True)
    assert (app.host.assets(), app.host.additions(), app.host.always_on()) == ((), (), ())
    ended(app)


def specified() -> dict[str, Any]:
    return {name: value for name, value in vars(hookspecs).items() if hasattr(value, "webui_spec")}


def test_every_hook_has_a_test_and_a_section_with_its_arguments() -> None:
    tests = "".join(file.read_text(encoding="utf-8") for file in (PROGRAM / "tests").rglob("test_*.py"))
    docs = (PROGRAM / "docs" / "extensions.md").read_text(encoding="utf-8")
    for name, function in specified().items():
        assert f"hook_{name}" in tests, f"no test is named after the hook {name}"
        arguments = ", ".join(inspect.signature(function).parameters)
        assert f"### {name}({arguments})" in docs, f"docs/extensions.md has no section '### {name}({arguments})'"
        assert function.__doc__


def test_every_hook_is_called_by_somebody() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in (PROGRAM / "webui").rglob("*.py") if file.name != "hookspecs.py")
    for name in specified():
        assert f'"{name}"' in code, f"nobody calls the hook {name}"


def test_values_for_a_script_that_is_not_there_are_refused(paths: Paths, opened: Any) -> None:
    install(paths.extensions, "shapes", SCRIPT.format(title="Shaped") + GIVEN)
    app = opened()
    with pytest.raises(UnknownName, match=r"Unknown always-on script 'Shapes'. Did you mean 'Shaped'"):
        app.submit(GenerationRequest(**SMALL, always_on={"Shapes": {}}))


def test_what_extensions_do_to_a_request_is_no_axis_of_a_plot() -> None:
    assert not {axis.label for axis in all_axes(needs_picture=True)} & {
        "Always-on scripts",
        "Changed by extensions",
        "Extensions' infotext",
    }


def test_closing_twice_tells_once(paths: Paths) -> None:
    install(paths.extensions, "noting", NOTE + "@hookimpl\ndef shutdown():\n    note('down')\n")
    with closing(App(paths, engine=FakeEngine(), hashing=False)) as app:
        app.start()
        app.close()
    assert notes(paths) == ["down"]
