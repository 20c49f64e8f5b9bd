"""Libraries that an extension brought: its own, whatever other extensions brought or the program has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.folders import install
from webui.core.request import GenerationRequest
from webui.plugins.host import Host

REQUEST = GenerationRequest(prompt="a", seed=1)


@pytest.fixture(autouse=True)
def _forget_extensions() -> Iterator[None]:
    before = list(sys.meta_path)
    yield
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name.startswith("webui_extensions.")]:
        del sys.modules[name]


def bring(folder: Path, files: dict[str, str]) -> None:
    """Put modules into an extension's own libraries, by their path."""
    for path, text in files.items():
        file = folder / ".site-packages" / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def loaded(folder: Path) -> Host:
    host = Host(folder)
    host.load()
    assert [extension.error for extension in host.extensions()] == [None] * len(host.extensions())
    return host


def telling(expression: str, imports: str) -> str:
    return f"{imports}\n@hookimpl\ndef change_request(request):\n    return request.changed(prompt=request.prompt + ' ' + {expression})\n"


def test_two_extensions_have_two_versions_of_one_library(tmp_path: Path) -> None:
    for name, version in {"a": "1.0", "b-2.0": "2.0"}.items():
        folder = install(tmp_path, name, telling("shape_lib.VERSION", "import shape_lib"))
        bring(folder, {"shape_lib": f"VERSION = {version!r}"})
    assert loaded(tmp_path).change_request(REQUEST).prompt == "a 1.0 2.0"
    assert "shape_lib" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("shape_lib")


@pytest.mark.parametrize(
    ("imports", "expression"),
    [
        ("import shape_lib", "shape_lib.NAME"),
        ("import shape_lib.deep.part", "shape_lib.deep.part.NAME"),
        ("import shape_lib.deep.part as part", "part.NAME"),
        ("from shape_lib import NAME", "NAME"),
        ("from shape_lib.deep import part", "part.NAME"),
        ("from shape_lib.deep.part import *", "NAME"),
        ("from shape_lib.user import found", "found()"),
        ("from .near import found", "found()"),
        ("def late():\n    import shape_lib\n    return shape_lib.NAME", "late()"),
        ("import json, shape_lib", "json.loads('\"brought\"')"),
    ],
)
def test_every_way_to_import_finds_what_was_brought(tmp_path: Path, imports: str, expression: str) -> None:
    code = "import shape_lib\nfrom other_lib import helper\n"
    code += "def found():\n    from shape_lib.deep.part import NAME\n    return NAME if helper() else ''\n"
    folder = install(tmp_path, "a", telling(expression, imports), near_dot_py=code)
    libraries = {
        "shape_lib/__init__": "NAME = 'brought'",
        "shape_lib/deep/__init__": "from . import part",
        "shape_lib/deep/part": "NAME = 'brought'\nfrom .. import deep",
        "shape_lib/user": code,
        "other_lib": "import shape_lib\ndef helper():\n    return shape_lib.NAME == 'brought'",
    }
    bring(folder, libraries)
    assert loaded(tmp_path).change_request(REQUEST).prompt == "a brought"


def test_another_extension_does_not_see_it(tmp_path: Path) -> None:
    folder = install(tmp_path, "a", "import shape_lib")
    bring(folder, {"shape_lib": ""})
    install(tmp_path, "b", "import shape_lib")
    install(tmp_path, "c", "")
    bring(tmp_path / "c", {"other": ""})
    host = Host(tmp_path)
    host.load()
    assert [extension.error for extension in host.extensions()] == [None, "ModuleNotFoundError: No module named 'shape_lib'", None]


def test_what_the_program_has_stays_the_programs(tmp_path: Path) -> None:
    folder = install(tmp_path, "a", telling("type(numpy.float32(1)).__name__ + str(hasattr(json, 'BROUGHT'))", "import json, numpy"))
    bring(folder, {"numpy": "raise RuntimeError('another numpy')", "json": "BROUGHT = 1"})
    assert loaded(tmp_path).change_request(REQUEST).prompt == "a float32False"


def test_an_error_in_a_brought_library_disables_that_extension_alone(tmp_path: Path) -> None:
    folder = install(tmp_path, "a", "import shape_lib")
    bring(folder, {"shape_lib": "1 / 0"})
    install(tmp_path, "b", telling("'fine'", ""))
    host = Host(tmp_path)
    host.load()
    assert [extension.error for extension in host.extensions()] == ["ZeroDivisionError: division by zero", None]
    assert host.change_request(REQUEST).prompt == "a fine"
    assert not [name for name in sys.modules if name.startswith("webui_extensions.a")]
