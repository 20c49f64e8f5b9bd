"""Lists every text of the page that can be translated, as a template for a localisation, or what one lacks.

    PYTHONPATH=. python tools/list_texts.py                     a template: {"English text": ""}
    PYTHONPATH=. python tools/list_texts.py --check zh_CN       what webui/localizations/zh_CN.json lacks, and what it has too many

What a text has in it that differs is {1}, {2}, ... in the order of the code.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tools.javascript_literals import literals
from webui.app import App
from webui.core.declared import declared_model
from webui.core.extras import ExtrasRequest
from webui.core.localizations import OWN
from webui.core.model_jobs import DownloadRequest, MergeRequest
from webui.core.parameters import parameters_of
from webui.core.paths import standard_paths
from webui.core.request import GenerationRequest
from webui.core.request_parts.control import ControlUnit
from webui.core.settings import Settings
from webui.ui.layout import build_page
from webui.ui.theme import ASSETS, SCRIPTS

DECLARATIONS: tuple[type[BaseModel], ...] = (GenerationRequest, Settings, ExtrasRequest, ControlUnit, MergeRequest, DownloadRequest)
# What gradio writes by itself.
OF_GRADIO = ("Clear", "number input for {1}", "range slider for {1}")
LOOKED_AT = ("label", "info", "placeholder")
SLOTS = re.compile(r"(?:\{\d\})+")
# What stands before a literal that no one reads: classes, selectors, names of keys, modes.
BEFORE_CODE = re.compile(
    r"(className: |className = |[sS]elector(All)?\(\s*|closest(\?\.)?\(|matches(\?\.)?\(|\.key [!=]== |\.key\) \? |classList\.\w+\(|"
    r"style: |style\.\w+ = |toggle\(|\.code === |type: |key: |import\(|tagName [!=]== |getContext\(|transform = |localStorage\.\w+\()$"
)
# Selectors, addresses, classes, names of keys.
CODE = re.compile(
    r"[a-z-]+/[\w{}/.-]+|[\w{}-]*\{\d\}[\w{}.-]*|[#.\[].*|[a-z]+\[.*|textarea, .*|[\w-]+\(.*\)|[a-z-]+: \{\d\}.*|tool (small|always).*|"
    r"use strict|tool always|Arrow\w+|Home|End|Control|Meta|Tab|Escape|Enter|Carriage Return|Line Feed"
)
# Modules of the page's server side whose sentences are no errors.
SPEAKING = ("verification.py", "queue_tab.py")
TEMPLATE = re.compile(r"`[^`\n]*\$\{[^`\n]*`")
# One of two words, by a number.
NUMBERED = re.compile(r'=== 1 \? "([^"]+)" : "([^"]+)"')
EDGES = " ·,;:"
# Between facts that stand in one line.
FACTS = " · "


def javascript_texts(source: str) -> Iterator[str]:
    """The texts of a script that read like words of the page."""
    for before, text in literals(source):
        words = SLOTS.sub(" ", text).strip()
        is_phrase = " " in words or (" " in text.strip() and len(words) > 2) or re.match(r"[A-Z][a-z]+", words) is not None
        if re.search(r"[A-Za-z]{2}", words) and is_phrase and not CODE.fullmatch(text) and not BEFORE_CODE.search(before):
            yield from keys_of(text)
    for one, several in NUMBERED.findall(source):
        yield from (*keys_of(one), *keys_of(several))


def inline_texts(source: str) -> Iterator[str]:
    """The texts that differ in the JavaScript within a Python source: labels that say what is chosen."""
    for template in TEMPLATE.findall(source.replace("{{", "{").replace("}}", "}")):
        yield from javascript_texts(template)


def python_texts(source: str) -> Iterator[str]:
    """The phrases that a module tells the page, but for its docstrings."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    silent = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and isinstance(node.body[0], ast.Expr)}
    silent |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{1}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            text = node.value
        if re.match(r"(\{1\}[ ,]|[A-Z][a-z]|[A-Z]{3}).*[A-Za-z]{3}", text):
            yield from keys_of(text)


def keys_of(text: str) -> Iterator[str]:
    """A text as the page looks it up: each fact between " · " alone, slots that touch as one, without what only joins it to others."""
    for fact in filter(str.strip, text.split(FACTS)):
        parts = SLOTS.split(fact.strip(EDGES))
        yield parts[0] + "".join(f"{{{place}}}{part}" for place, part in enumerate(parts[1:], start=1))


class _Html(HTMLParser):
    """Gathers what a reader hears of a template."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if value and name in ("aria-label", "title", "placeholder")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def component_texts(components: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The texts of gradio's components, as `Blocks.get_config_file` has them."""
    for component in components:
        properties = component["props"]
        yield from (properties[name] for name in LOOKED_AT if isinstance(properties.get(name), str))
        if component["type"] in ("button", "uploadbutton") and isinstance(properties.get("value"), str):
            yield properties["value"]
        if component["type"] == "html":
            parser = _Html()
            parser.feed(f"{properties.get('html_template') or ''} {properties.get('value') or ''}")
            yield from (text for text in parser.texts if "${" not in text)


def choices_of(components: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What controls offer: words of the page, and names, which none must translate."""
    for component in components:
        for choice in component["props"].get("choices") or ():
            yield str(choice[0] if isinstance(choice, list | tuple) else choice)
    for declared in (one for kind in DECLARATIONS for one in parameters_of(kind).values()):
        yield from map(str, declared.choices or ())


def declared_texts() -> Iterator[str]:
    """Titles, helps and headings of everything that is declared."""
    for declared in (one for kind in DECLARATIONS for one in parameters_of(kind).values()):
        yield from (declared.title, declared.help or "", declared.section or "")


def step_texts(app: App) -> Iterator[str]:
    """The steps of the Extras tab that are the program's own, and what their controls say."""
    for step in app.host.postprocessors():
        yield step.name
        for declared in parameters_of(declared_model(step.name, step.controls)).values():
            yield from (declared.title, declared.help or "", *map(str, declared.choices or ()))


def page_texts(app: App) -> tuple[frozenset[str], frozenset[str]]:
    """Every text of the page that a complete localisation has, and those that it may have."""
    components = build_page(app).get_config_file()["components"]
    scripts = [text for name in SCRIPTS for text in javascript_texts((ASSETS / name).read_text(encoding="utf-8"))]
    scripts += [text for file in ASSETS.parent.glob("*.py") for text in inline_texts(file.read_text(encoding="utf-8"))]
    scripts += [text for name in SPEAKING for text in python_texts((ASSETS.parent / name).read_text(encoding="utf-8"))]
    needed = {" ".join(text.split()) for text in (*OF_GRADIO, *component_texts(components), *declared_texts(), *step_texts(app), *scripts)}
    needed = {text for text in needed if re.search(r"[A-Za-z]{2}", SLOTS.sub("", text))}
    return frozenset(needed), frozenset(choices_of(components)) - needed


def compare(texts: dict[str, str], needed: frozenset[str], possible: frozenset[str]) -> tuple[list[str], list[str]]:
    """What a localisation lacks, and what it has that the page has not."""
    return sorted(needed - texts.keys()), sorted(texts.keys() - needed - possible)


def main() -> int:
    """Print a template, or check a localisation of the program's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="NAME", help="a file of webui/localizations, without .json")
    name = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        app = App(standard_paths(Path(folder)), hashing=False)
        needed, possible = page_texts(app)
        app.close()
    if not name:
        print(json.dumps(dict.fromkeys(sorted(needed), ""), ensure_ascii=False, indent=1))
        return 0
    missing, extra = compare(json.loads((OWN / f"{name}.json").read_text(encoding="utf-8")), needed, possible)
    print(json.dumps({"missing": missing, "too many": extra}, ensure_ascii=False, indent=1))
    return 1 if missing or extra else 0


if __name__ == "__main__":
    sys.exit(main())
