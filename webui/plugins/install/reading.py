"""What an extension's files say about what it will do, read without running any of it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from webui.core.extensions import NATIVE, PYTHON, SheetFile

ENTRY = "extension.py"
# What an extension can be made of without an extension.py, as A1111's are.
BROUGHT_FILES = ("style.css",)
BROUGHT_FOLDERS = ("javascript", "localizations")
A1111_FOLDER = "scripts"
INSTALL_SCRIPT = "install.py"
MAX_SOURCE = 2 * 10**6
# Modules with which a program reaches beyond itself.
REACHING = frozenset({
    "aiohttp", "cffi", "ctypes", "ftplib", "http", "httpx", "marshal", "multiprocessing", "os", "paramiko", "pickle", "pty", "requests",
    "shutil", "smtplib", "socket", "ssl", "subprocess", "urllib", "urllib3", "websockets",
})  # fmt: skip


def is_extension(folder: Path) -> bool:
    """Whether there is anything in a folder that this program, or A1111, takes for an extension."""
    files = (folder / name for name in (ENTRY, *BROUGHT_FILES))
    return any(file.is_file() for file in files) or any((folder / name).is_dir() for name in (*BROUGHT_FOLDERS, A1111_FOLDER))


def hooks_in(folder: Path, files: Sequence[SheetFile]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of hooks that the Python files implement, the telling modules they import, and the files that cannot be read as Python.

    A hook is a function marked @hookimpl; of a class made from Script, its methods are told as Script.method.
    """
    hooks: set[str] = set()
    modules: set[str] = set()
    unreadable = []
    for file in files:
        if not file.path.endswith(PYTHON):
            continue
        tree = _parse(folder / file.path) if file.size <= MAX_SOURCE else None
        if tree is None:
            unreadable.append(file.path)
            continue
        for node in ast.walk(tree):
            hooks.update(_hooks(node))
            modules.update(_modules(node))
    return tuple(sorted(hooks)), tuple(sorted(modules & REACHING)), tuple(unreadable)


def remarks_on(folder: Path, files: Sequence[SheetFile], modules: Sequence[str], unreadable: Sequence[str]) -> Iterator[str]:
    """What whoever agrees has to know, in sentences."""
    paths = {file.path for file in files}
    if ENTRY not in paths and (folder / A1111_FOLDER).is_dir():
        yield f"It is written for A1111, and has no {ENTRY}: its scripts/ will not be run here."
    if INSTALL_SCRIPT in paths:
        yield f"Its {INSTALL_SCRIPT} is not run; what it would have installed is not there."
    if modules:
        yield f"It can reach beyond this program: it imports {', '.join(modules)}."
    if native := [file.path for file in files if file.path.endswith(NATIVE)]:
        yield f"It brings machine code that nobody can read: {_some(native)}."
    if unreadable:
        yield f"These files cannot be read as Python, so what they do is not told here: {_some(unreadable)}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _parse(file: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _hooks(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(_last_name(one) == "hookimpl" for one in node.decorator_list):
        yield node.name
    if isinstance(node, ast.ClassDef) and any(_last_name(base) == "Script" for base in node.bases):
        methods = (one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
        yield from (f"Script.{method}" for method in methods if not method.startswith("_"))


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def _last_name(node: ast.AST) -> str:
    """Of `hookimpl`, `hookspecs.hookimpl` and `hookimpl(...)`: "hookimpl"."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
