"""The rules of docs/architecture.md hold, and the checker of them can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import find_breaches

ROOT = Path(__file__).resolve().parents[1]


def test_the_house_keeps_its_rules() -> None:
    files = [ROOT / "launch.py", *sorted((ROOT / "webui").rglob("*.py"))]
    sources = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    assert len(sources) > 20
    breaches = find_breaches(sources)
    assert not breaches, "\n" + "\n".join(breaches)


def breaches_of(source: str, path: str = "webui/core/thing.py", **others: str) -> list[str]:
    """Breaches in one file, beside others given as core_errors="..." for webui/core/errors.py."""
    tree = {f"webui/{name.replace('_', '/')}.py": text for name, text in others.items()}
    return find_breaches({path: source, **tree}, late_imports={})


@pytest.mark.parametrize(
    ("path", "source", "says"),
    [
        ("webui/core/a.py", "import webui.catalog.scan", "webui/core/a.py:1: core imports webui.catalog.scan; core may import nothing"),
        ("webui/catalog/a.py", "\nfrom webui.engine.noise import x", "webui/catalog/a.py:2: catalog imports webui.engine.noise"),
        ("webui/jobs/a.py", "from webui.engine import engine", "jobs imports webui.engine; jobs may import catalog, core"),
        ("webui/api/a.py", "from webui.jobs.queue import JobQueue", "api may import app, core"),
        ("webui/ui/a.py", "from webui import api", "ui imports webui.api"),
        ("webui/app.py", "from webui.api.server import build_server", "app imports webui.api.server"),
        ("launch.py", "from webui.core.paths import Paths", "launch may import cli, flags"),
        ("webui/jobs/a.py", "def f():\n    import torch", "jobs imports torch, which belongs in engine"),
        ("webui/engine/a.py", "import gradio as gr", "engine imports gradio, which belongs in ui"),
        ("webui/ui/a.py", "from fastapi import FastAPI", "ui imports fastapi, which belongs in api and cli"),
        ("webui/core/a.py", "from . import errors", "imports relatively"),
    ],
)
def test_an_import_against_the_arrows_is_named_with_file_and_line(path: str, source: str, says: str) -> None:
    assert any(says in breach for breach in breaches_of(source, path))


@pytest.mark.parametrize(
    "source",
    [
        "CACHE = {}",
        "NAMES: list[str] = []",
        "SEEN = set()",
        "PAIRS = ([1, 2], 3)",
        "TABLE = MappingProxyType({'a': []})",
        "TABLE: Mapping[str, list] = {'a': []}",
        "TABLE: dict[str, int] = {'a': 1}",
        "class A:\n    cached = [None]",
        "LOCK = threading.Lock()",
        "STATE = State()",
        "DATA = json.loads('{}')",
        "def f(x=[]): ...",
        "def f(*, now=time.time()): ...",
        "print('hello')",
        "for x in (1, 2):\n    pass",
        "with open('x') as file:\n    pass",
        "if True:\n    CACHE = {}",
        "def f():\n    global x\n    x = 1",
        "def f():\n    import json",
        "def f():\n    return importlib.import_module('json')",
        "class A:\n    def f(self):\n        from json import loads",
        "\n" * 401,
        "def f():\n" + "    x = 1\n" * 60,
    ],
)
def test_state_and_work_in_modules_late_imports_and_sizes_are_breaches(source: str) -> None:
    assert breaches_of(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Docstring."""\nfrom __future__ import annotations',
        "log = logging.getLogger(__name__)",
        "WORD = re.compile('a+')",
        "T = TypeVar('T', bound=int)",
        "HERE = Path(__file__).resolve().parents[1] / 'data'",
        "NAMES = ('a', 'b')",
        "KNOWN = frozenset({'a', 'b'})",
        "WORDS = tuple('a b'.split())",
        "TABLE = MappingProxyType({'a': 1})",
        "TABLE: Mapping[str, int] = {'a': 1}",
        "Sampling = Callable[[], int]",
        "TABLE = MappingProxyType({name: len(name) for name in ('a', 'b')})",
        "KEY = lambda x: [x]",
        "@dataclass(frozen=True)\nclass Row:\n    options: dict = field(default_factory=dict)\n\nROWS = (Row({'a': 1}), Row())",
        "class Model(BaseModel):\n    model_config = ConfigDict(frozen=True)\n    steps: int = parameter(20, choices=('a',))",
        "if TYPE_CHECKING:\n    import json",
        "__all__ = ['a']",
        "def f(x=(), *, y=time.time):\n    cache = {}\n    return cache",
        "def f():\n" + "    x = 1\n" * 59,
    ],
)
def test_constants_and_declarations_are_no_breaches(source: str) -> None:
    assert breaches_of(source) == []


def test_a_circle_of_imports_is_named() -> None:
    found = breaches_of("from webui.core.errors import E", core_errors="import json\nfrom webui.core import thing")
    assert len(found) == 1
    assert "closes a circle of imports: webui.core.errors -> webui.core.thing -> webui.core.errors" in found[0]
    assert found[0].startswith("webui/core/thing.py:1:")


def test_an_import_for_types_alone_closes_no_circle() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from webui.core.errors import E"
    assert breaches_of(source, core_errors="from webui.core.thing import x") == []


def test_an_allowed_late_import_passes_and_a_stale_permission_does_not() -> None:
    sources = {"webui/core/thing.py": "def f():\n    import json"}
    assert find_breaches(sources, late_imports={("webui/core/thing.py", "f"): "because"}) == []
    stale = find_breaches(sources, late_imports={("webui/core/thing.py", "f"): "because", ("webui/core/thing.py", "g"): "once"})
    assert len(stale) == 1
    assert "LATE_IMPORTS allows g" in stale[0]
